// A sync server of automerge-repo as its documentation has it: a Repo with files and WebSockets. Says its address.
import { NodeWSServerAdapter } from "@automerge/automerge-repo-network-websocket";
import { NodeFSStorageAdapter } from "@automerge/automerge-repo-storage-nodefs";
import { Repo } from "@automerge/automerge-repo";
import { WebSocketServer } from "ws";

const sockets = new WebSocketServer({ host: "127.0.0.1", port: 0 });
new Repo({
  network: [new NodeWSServerAdapter(sockets)],
  storage: new NodeFSStorageAdapter(process.argv[2]),
  // It offers nothing by itself, and gives what it is asked for.
  sharePolicy: async () => false,
});
sockets.on("listening", () => console.log(`ws://127.0.0.1:${sockets.address().port}`));
