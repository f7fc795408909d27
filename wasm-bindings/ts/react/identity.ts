/** A name for each client, by which what belongs to one is told from what belongs to another. */
import type { Client } from "../types.js";
import { useClient } from "./context.js";

const numbers = new WeakMap<Client, number>();
let clients = 0;

/** A key for a component whose state belongs to a client and whatever these parts name: another one begins anew. */
export function useKey(...parts: readonly unknown[]): string {
  const client = useClient();
  let number = numbers.get(client);
  if (number === undefined) numbers.set(client, (number = clients += 1));
  return JSON.stringify([number, ...parts]);
}
