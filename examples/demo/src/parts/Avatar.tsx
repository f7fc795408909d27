/** A person as a coloured initial: the same colour everywhere, also in the package's components. */
import type { CSSProperties } from "react";

export function hueStyle(name: string): CSSProperties {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at += 1) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  return { "--hue": (hash >>> 0) % 360 } as CSSProperties;
}

export function Avatar({ user, size = "m" }: { user: string; size?: "s" | "m" }) {
  return <span className={`avatar avatar-${size}`} style={hueStyle(user)} aria-hidden="true">{user.slice(0, 1).toUpperCase()}</span>;
}
