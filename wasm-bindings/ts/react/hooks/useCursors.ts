/** Where others are in a text, and showing them where this user is. */
import { useCallback, useEffect, useMemo } from "react";
import type { Path, RemoteSelection, Store, TextBinding, TextField } from "../../types.js";
import { nameOf, spaceOf } from "../address.js";
import { useClient } from "../context.js";
import { useStore } from "../store.js";
import { useEntered, type PresenceOptions } from "./usePresence.js";

/** Which text: a field of a post, or a place in a schemaless document; `address` is `space/id`. */
export type TextPlace =
  | { readonly address: string; readonly field: TextField }
  | { readonly address: string; readonly path: Path };

/** One text of a document, whatever its kind. */
export interface PlacedText {
  /** `space/id/facet`. */
  readonly document: string;
  readonly selections: Store<readonly RemoteSelection[]>;
  bind(): TextBinding;
  select(selection: { anchor: number; head: number } | null): void;
}

export interface UsedCursors {
  readonly selections: readonly RemoteSelection[];
  select(selection: { anchor: number; head: number } | null): void;
}

/** The text at a place. */
export function usePlacedText(place: TextPlace) {
  const client = useClient();
  const { address } = place;
  // A path is made anew at each drawing; what it says is what counts.
  const key = "field" in place ? place.field : JSON.stringify(place.path);
  const isField = "field" in place;
  return useMemo(() => {
    if (isField) {
      const [post, field] = [client.post(nameOf(address, "a post", "post")), key as TextField];
      const text: PlacedText = {
        document: post.address,
        selections: post.selections(field),
        bind: () => post.text(field),
        select: (selection) => post.select(field, selection),
      };
      return { handle: post, text };
    }
    const [document, path] = [client.document(nameOf(address, "a schemaless document", "json")), JSON.parse(key) as Path];
    const text: PlacedText = {
      document: document.address,
      selections: document.selections(path),
      bind: () => document.text(path),
      select: (selection) => document.select(path, selection),
    };
    return { handle: document, text };
  }, [client, address, key, isField]);
}

/** Enters the space; takes this user's selection back when the component goes. */
export function useCursors(place: TextPlace, options?: PresenceOptions): UsedCursors {
  const { text } = usePlacedText(place);
  // Before the space is left: effects end in the order in which they stand here.
  useEffect(() => () => text.select(null), [text]);
  useEntered(spaceOf(place.address), options);
  const selections = useStore(text.selections);
  const select = useCallback<PlacedText["select"]>((selection) => text.select(selection), [text]);
  return useMemo(() => ({ selections, select }), [selections, select]);
}
