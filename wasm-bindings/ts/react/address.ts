/** The names of documents: `space/id`, and with its facet `space/id/facet`. */
import { SynclineError } from "../errors.js";
import type { Client, Comments, DocumentHandle, JsonDocument, Likes, Post } from "../types.js";

export type Facet = "post" | "likes" | "comments" | "json";

/** Any document's handle. */
export type AnyHandle = Post | Likes | Comments | JsonDocument;

const FACETS: readonly string[] = ["post", "likes", "comments", "json"];

/** The space of an address of either form. */
export function spaceOf(address: string): string {
  const end = address.indexOf("/");
  return end === -1 ? address : address.slice(0, end);
}

/** `what` is expected, as in `example`, where `given` is. */
export function badAddress(what: string, example: string, given: unknown): SynclineError {
  return new SynclineError("bad_address", `expected ${what}, such as ${JSON.stringify(example)}, not ${JSON.stringify(given) ?? String(given)}`);
}

/**
 * `space/id` of an address that may name its facet, as long as that is one of these. What else is wrong with it the
 * engine finds, which tells it by the document's status.
 */
export function nameOf(address: string, what: string, ...facets: readonly string[]): string {
  const [space, id, facet, ...rest] = typeof address === "string" ? address.split("/") : [undefined, undefined, ""];
  if (facet === undefined) return address;
  if (rest.length > 0 || !facets.includes(facet)) throw badAddress(`the address of ${what}`, "town/hello", address);
  return `${space}/${id}`;
}

/** `space/id/facet` of an address that may leave out its facet, where that goes without saying. */
export function documentName(address: string, otherwise?: Facet): string {
  const [space, id, facet = otherwise, ...rest] = typeof address === "string" ? address.split("/") : [];
  if (!space || !id || facet === undefined || !FACETS.includes(facet) || rest.length > 0) {
    const example = `town/hello/${otherwise ?? "post"}`;
    throw badAddress("the address of a document with what of it is meant (post, likes, comments or json)", example, address);
  }
  return `${space}/${id}/${facet}`;
}

/** The handle behind `space/id/facet`. */
export function documentAt(client: Client, address: string): AnyHandle & DocumentHandle<unknown> {
  const [space, id, facet] = documentName(address).split("/");
  const name = `${space}/${id}`;
  switch (facet as Facet) {
    case "post": return client.post(name);
    case "likes": return client.likes(name);
    case "comments": return client.comments(name);
    case "json": return client.document(name);
  }
}

/** Whether a document is the one with this address, or, where the address names no facet, one of those. */
export function isAt(document: string, address: string): boolean {
  return document === address || document.startsWith(`${address}/`);
}
