/** A connection by WebSocket: one binary message is one frame. */

import { messageOf } from "../errors.js";
import type { Endpoint, Link, LinkEvents, WebSocketConstructor } from "./transport.js";

const SUBPROTOCOL = "syncline.v1";
const OPEN = 1;

export function dialSocket(endpoint: Endpoint, Socket: WebSocketConstructor, events: LinkEvents): Link {
  let socket: WebSocket;
  let over = false;
  const end = (code: number | undefined, reason: string) => {
    if (over) return;
    over = true;
    events.closed(code, reason);
  };
  try {
    socket = new Socket(endpoint.socket, SUBPROTOCOL);
  } catch (error) {
    queueMicrotask(() => end(undefined, messageOf(error)));
    return { send: () => {}, close: () => {} };
  }
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    if (!over) events.opened("websocket");
  };
  socket.onmessage = ({ data }) => {
    if (over) return;
    // Not by its class: where a page is simulated, as tests do, a socket may have another one's.
    if (typeof data === "string") socket.close();
    else events.received(new Uint8Array(data as ArrayBuffer));
  };
  // What went wrong is not told to pages; `close` follows.
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }) => {
    // 1005 and 1006 stand for a close without a code.
    const said = code === 1005 || code === 1006 ? undefined : code;
    end(said, reason || "the connection ended");
  };
  return {
    send: (message) => {
      if (!over && socket.readyState === OPEN) socket.send(message as BufferSource);
    },
    close: () => socket.close(),
  };
}
