/** The names of documents: `space/id`, and with its facet `space/id/facet`. */
import type { Client, Comments, DocumentHandle, JsonDocument, Likes, Post } from "../types.js";

export type Facet = "post" | "likes" | "comments" | "json";

/** Any document's handle. */
export type AnyHandle = Post | Likes | Comments | JsonDocument;

/** The space of an address of either form. */
export function spaceOf(address: string): string {
  const end = address.indexOf("/");
  return end === -1 ? address : address.slice(0, end);
}

/** The handle behind `space/id/facet`, or `undefined` if it names no facet. */
export function handleAt(client: Client, address: string): AnyHandle | undefined {
  const [space, id, facet, ...rest] = address.split("/");
  if (!space || !id || rest.length > 0) return undefined;
  const name = `${space}/${id}`;
  switch (facet) {
    case "post": return client.post(name);
    case "likes": return client.likes(name);
    case "comments": return client.comments(name);
    case "json": return client.document(name);
    default: return undefined;
  }
}

/** The handle behind an address that must name a document. */
export function documentAt(client: Client, address: string): DocumentHandle<unknown> {
  const handle = handleAt(client, address);
  if (handle === undefined) throw new Error(`${address} is no address of a document: space/id/facet`);
  return handle;
}
