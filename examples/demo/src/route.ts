/** Which page is shown: in the fragment of the address, so that the server needs to know one page only. */
import { useSyncExternalStore } from "react";

export type Route =
  | { readonly page: "feed" }
  | { readonly page: "post"; readonly id: string }
  | { readonly page: "together" };

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => location.hash, () => "");
  return read(hash);
}

export function read(hash: string): Route {
  const [, page, id] = hash.split("/");
  if (page === "post" && id !== undefined && /^[0-9A-Za-z_-]{1,64}$/.test(id)) return { page, id };
  if (page === "together") return { page };
  return { page: "feed" };
}

export const links = {
  feed: "#/",
  together: "#/together",
  post: (id: string): string => `#/post/${id}`,
};

function subscribe(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => removeEventListener("hashchange", listener);
}
