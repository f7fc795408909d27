/** Who is here, and where: from the address of the page, else from the last visit. */

const SUGGESTED = ["ada", "bob", "eve", "kim"];
const NAME = /^[a-z0-9][a-z0-9._-]{0,31}$/;

export interface Place {
  readonly user: string;
  readonly space: string;
  /** Shown within another page: without what surrounds it there. */
  readonly framed: boolean;
}

export function place(): Place | undefined {
  const query = new URLSearchParams(location.search);
  const user = query.get("user") ?? localStorage.getItem("syncline-demo-user") ?? "";
  const space = query.get("space") ?? "town";
  if (!NAME.test(user) || !NAME.test(space)) return undefined;
  return { user, space, framed: query.has("framed") };
}

export function suggestions(): readonly string[] {
  return SUGGESTED;
}

export function isName(name: string): boolean {
  return NAME.test(name);
}

/** Goes on as somebody else. The page starts anew: nothing of one person is shown to another. */
export function become(user: string | undefined): void {
  const query = new URLSearchParams(location.search);
  query.delete("user");
  if (user === undefined) localStorage.removeItem("syncline-demo-user");
  else {
    localStorage.setItem("syncline-demo-user", user);
    query.set("user", user);
  }
  const rest = query.toString();
  location.assign(`${location.pathname}${rest ? `?${rest}` : ""}${location.hash}`);
}
