/** A person as a coloured initial: the same colour everywhere. */
const HUES = 12;

export function hue(user: string): number {
  let sum = 7;
  for (const character of user) sum = (sum * 31 + character.charCodeAt(0)) % 997;
  return sum % HUES;
}

export function Avatar({ user, size = "m" }: { user: string; size?: "s" | "m" }) {
  return <span className={`avatar avatar-${size} hue-${hue(user)}`} aria-hidden="true">{user.slice(0, 1).toUpperCase()}</span>;
}
