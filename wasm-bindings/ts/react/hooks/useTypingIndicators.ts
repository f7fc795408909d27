/** Who types in a document, and telling others that this user does. */
import { useCallback, useEffect, useMemo } from "react";
import { documentName, spaceOf } from "../address.js";
import { useClient } from "../context.js";
import { useStore } from "../store.js";
import { useEntered, type PresenceOptions } from "./usePresence.js";

export interface UsedTyping {
  /** The others who type, as it was first heard of them. */
  readonly typing: readonly string[];
  setTyping(typing: boolean): void;
  /** For an input: `<textarea {...inputProps} />`. */
  readonly inputProps: { onInput(): void; onBlur(): void };
}

/** `address` is a document's, `space/id/facet`; of `space/id` the comments are meant. Enters its space. */
export function useTypingIndicators(address: string, options?: PresenceOptions): UsedTyping {
  return useTypingIn(documentName(address, "comments"), options);
}

/** The same for a document whose address is known to name one, or told to be wrong by somebody else. */
export function useTypingIn(address: string, options?: PresenceOptions): UsedTyping {
  const client = useClient();
  const name = spaceOf(address);
  // Before the space is left: effects end in the order in which they stand here.
  useEffect(() => () => client.space(name).setTyping(address, false), [client, name, address]);
  const space = useEntered(name, options);
  const typing = useStore(useMemo(() => space.typing(address), [space, address]));
  const setTyping = useCallback((is: boolean) => space.setTyping(address, is), [space, address]);
  const inputProps = useMemo(
    () => ({ onInput: () => setTyping(true), onBlur: () => setTyping(false) }),
    [setTyping],
  );
  return useMemo(() => ({ typing, setTyping, inputProps }), [typing, setTyping, inputProps]);
}
