/** Copies what somebody wrote, so that it can be kept elsewhere. */
import { useEffect, useState } from "react";
import type { Labels } from "../../labels.js";

interface CopyProps {
  readonly text: string;
  readonly labels: Labels["comments"];
}

/** Nothing where pages may not write to the clipboard, as without a secure context; the text can be marked there too. */
export function Copy({ text, labels }: CopyProps) {
  const [copied, setCopied] = useState(false);
  useEffect(() => setCopied(false), [text]);
  if (typeof navigator === "undefined" || navigator.clipboard === undefined) return null;
  const copy = () => {
    navigator.clipboard.writeText(text).then(() => setCopied(true), () => setCopied(false));
  };
  return <button type="button" className="syncline-link" onClick={copy}>{copied ? labels.copied : labels.copy}</button>;
}
