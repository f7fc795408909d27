// What an app says to the package, for the compiler alone. It is a module or CommonJS as its copy is named.
import { createClient, SynclineError, type Resolution } from "syncline";
import { synclineText } from "syncline/codemirror";
import { RealTimeComments, SynclineProvider, usePost } from "syncline/react";
import "syncline/react/styles.css";
import address from "syncline/wasm";
import engine from "syncline/wasm/inline";

export const client = createClient({ url: "ws://127.0.0.1:9", user: "ada", wasm: Math.random() > 1 ? engine : address });
export const ended: PromiseLike<Resolution> = client.comments("town/square").add("Hello");
export const code: string = new SynclineError("bad_command", "no").code;
export const binding = synclineText;

export function Page() {
  const { view } = usePost("town/square");
  return <SynclineProvider client={client}><h1>{view.title}</h1><RealTimeComments address="town/square" /></SynclineProvider>;
}
