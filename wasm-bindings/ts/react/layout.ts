/** Effects between the drawing of a component and its being seen. */
import { useEffect, useLayoutEffect } from "react";

/** React 18 warns of layout effects on a server, where none of this has anything to do. */
export const useIsomorphicLayoutEffect = typeof window === "undefined" ? useEffect : useLayoutEffect;
