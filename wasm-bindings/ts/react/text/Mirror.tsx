/**
 * Draws others' selections over a text field: a copy of its text, laid out like it and unseen, in which carets and
 * marked stretches stand. Takes no input and is silent to screen readers.
 */
import { useEffect, useMemo, useRef } from "react";
import type { RemoteSelection } from "../../types.js";
import { hueStyle } from "../components/parts.js";
import { positionShown, shown } from "./edits.js";
import { followWidth } from "./flags.js";

interface MirrorProps {
  readonly text: string;
  readonly selections: readonly RemoteSelection[];
}

export function Mirror({ text, selections }: MirrorProps) {
  const pieces = useMemo(() => cut(text, selections), [text, selections]);
  const mirror = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const { current } = mirror;
    return current === null || selections.length === 0 ? undefined : followWidth(current);
  }, [pieces, selections]);
  return (
    <div ref={mirror} className="syncline-mirror" aria-hidden="true">
      {pieces.map((piece) => (
        <Stretch key={piece.key} piece={piece} />
      ))}
      {/* So that an empty last line has a height. */}
      {"\u200b"}
    </div>
  );
}

function Stretch({ piece }: { readonly piece: Piece }) {
  const { text, within, carets } = piece;
  const user = within.at(-1);
  return (
    <>
      {carets.map(({ device, user, head }) => (
        // With a new place comes a new flag, so that it shows itself again.
        <span key={device} className="syncline-caret" style={hueStyle(user)}><span key={head} className="syncline-flag">{user}</span></span>
      ))}
      {user === undefined ? text : <mark style={hueStyle(user)}>{text}</mark>}
    </>
  );
}

interface Piece {
  readonly key: string;
  readonly text: string;
  /** Whose selections it lies in. */
  readonly within: readonly string[];
  /** Whose carets stand before it. */
  readonly carets: readonly RemoteSelection[];
}

/** Cuts a text where selections begin and end. */
export function cut(text: string, selections: readonly RemoteSelection[]): readonly Piece[] {
  const view = shown(text);
  const place = (position: number) => Math.min(view.length, Math.max(0, positionShown(text, position)));
  const placed = selections.map((one) => ({ one, anchor: place(one.anchor), head: place(one.head) }));
  const cuts = [...new Set([0, view.length, ...placed.flatMap(({ anchor, head }) => [anchor, head])])].sort((a, b) => a - b);
  return cuts.map((from, index) => {
    const to = cuts[index + 1] ?? view.length;
    return {
      key: String(index),
      text: view.slice(from, to),
      within: placed.filter(({ anchor, head }) => Math.min(anchor, head) <= from && to <= Math.max(anchor, head) && from < to).map(({ one }) => one.user),
      carets: placed.filter(({ head }) => head === from).map(({ one }) => one),
    };
  });
}
