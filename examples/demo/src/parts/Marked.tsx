/** A text with its marks, for those who read. */
import type { ReactNode } from "react";
import type { Span } from "syncline";

export function Marked({ spans }: { spans: readonly Span[] }) {
  return <p>{spans.map((span, index) => <span key={index}>{marked(span)}</span>)}</p>;
}

function marked({ text, marks }: Span): ReactNode {
  let shown: ReactNode = text;
  if (marks.code) shown = <code>{shown}</code>;
  if (marks.bold) shown = <strong>{shown}</strong>;
  if (marks.italic) shown = <em>{shown}</em>;
  if (typeof marks.link === "string" && isWeb(marks.link)) shown = <a href={marks.link} rel="noreferrer noopener" target="_blank">{shown}</a>;
  return shown;
}

/** Anybody may have written the address: `javascript:` is one too. */
export function isWeb(address: string): boolean {
  return URL.canParse(address) && /^https?:$/.test(new URL(address).protocol);
}
