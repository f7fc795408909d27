// The server of y-websocket, on a port of its own. With YPERSISTENCE it keeps what it gets in LevelDB. Says its address.
import { createServer } from "node:http";
import { setupWSConnection } from "@y/websocket-server/utils";
import { WebSocketServer } from "ws";

const server = createServer();
new WebSocketServer({ server }).on("connection", setupWSConnection);
server.listen(0, "127.0.0.1", () => console.log(`ws://127.0.0.1:${server.address().port}`));
