/** Who types in a document, and telling others that this user does. */
import { useCallback, useEffect, useMemo } from "react";
import { spaceOf } from "../address.js";
import { useStore } from "../store.js";
import { useEntered, type PresenceOptions } from "./usePresence.js";

export interface UsedTyping {
  /** The others who type, as it was first heard of them. */
  readonly typing: readonly string[];
  setTyping(typing: boolean): void;
  /** For an input: `<textarea {...inputProps} />`. */
  readonly inputProps: { onInput(): void; onBlur(): void };
}

/** `address` is a document's, `space/id/facet`. Enters its space. */
export function useTypingIndicators(address: string, options?: PresenceOptions): UsedTyping {
  const space = useEntered(spaceOf(address), options);
  const typing = useStore(useMemo(() => space.typing(address), [space, address]));
  const setTyping = useCallback((is: boolean) => space.setTyping(address, is), [space, address]);
  useEffect(() => () => space.setTyping(address, false), [space, address]);
  const inputProps = useMemo(
    () => ({ onInput: () => setTyping(true), onBlur: () => setTyping(false) }),
    [setTyping],
  );
  return useMemo(() => ({ typing, setTyping, inputProps }), [typing, setTyping, inputProps]);
}
