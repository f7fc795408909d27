/** One connection to the server: dials by the ways that are allowed, and says which one it is. */

import type { ClientOptions, Transport } from "../types.js";
import { SynclineError } from "../errors.js";
import { dialEvents } from "./sse.js";
import { dialSocket } from "./websocket.js";

/** What a connection tells. After `closed` comes nothing. */
export interface LinkEvents {
  opened(way: Exclude<Transport, "auto">): void;
  received(message: Uint8Array): void;
  closed(code: number | undefined, reason: string): void;
}

/** A connection, or an attempt at one. */
export interface Link {
  send(message: Uint8Array): void;
  /** Closes after what was sent. */
  close(): void;
}

export interface Endpoint {
  /** `http://host/v1` */
  readonly http: string;
  /** `ws://host/v1/sync` */
  readonly socket: string;
}

export type WebSocketConstructor = NonNullable<ClientOptions["webSocket"]>;

/** How long a socket may take to open before the other way is tried. */
const SOCKET_WAIT_MS = 8_000;

/** Where the server is, as the app says it: like the native clients, `/v1` is appended to the path. */
export function endpointOf(url: string): Endpoint {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new SynclineError("bad_address", `${JSON.stringify(url)} is not a server's address; one looks like wss://sync.example`);
  }
  const secure = /^(wss|https):$/.test(parsed.protocol);
  if (!secure && !/^(ws|http):$/.test(parsed.protocol)) {
    throw new SynclineError("bad_address", `the scheme of a server's address is ws, wss, http or https, not ${parsed.protocol}`);
  }
  if (parsed.username || parsed.password || parsed.search || parsed.hash) {
    throw new SynclineError("bad_address", "a server's address has a host, a port and a path, and nothing else");
  }
  const rest = parsed.host + parsed.pathname.replace(/\/+$/, "").replace(/\/v1(\/sync)?$/, "");
  return {
    http: `${secure ? "https" : "http"}://${rest}/v1`,
    socket: `${secure ? "wss" : "ws"}://${rest}/v1/sync`,
  };
}

/** Dials connections of one client. */
export class Dialler {
  /** A socket that did not answer: something swallows it, and asking again costs as long again. */
  #swallowed = false;

  constructor(
    private readonly endpoint: Endpoint,
    private readonly transport: Transport,
    private readonly webSocket: WebSocketConstructor | undefined,
  ) {}

  dial(events: LinkEvents): Link {
    const { endpoint, transport, webSocket } = this;
    if (transport === "sse" || (transport === "auto" && (!webSocket || this.#swallowed))) {
      return dialEvents(endpoint, {
        ...events,
        closed: (code, reason) => {
          // It may be well again by then.
          this.#swallowed = false;
          events.closed(code, reason);
        },
      });
    }
    if (!webSocket) {
      queueMicrotask(() => events.closed(undefined, "there is no WebSocket on this platform"));
      return { send: () => {}, close: () => {} };
    }
    return transport === "websocket" ? dialSocket(endpoint, webSocket, events) : this.#either(webSocket, events);
  }

  /** By socket, and where none opens by events. */
  #either(webSocket: WebSocketConstructor, events: LinkEvents): Link {
    let link: Link;
    let opened = false;
    let over = false;
    const byEvents = () => {
      if (opened || over) return;
      opened = true;
      clearTimeout(timer);
      link.close();
      link = dialEvents(this.endpoint, events);
    };
    const timer = setTimeout(() => {
      this.#swallowed = true;
      byEvents();
    }, SOCKET_WAIT_MS);
    link = dialSocket(this.endpoint, webSocket, {
      opened: (way) => {
        if (opened) return;
        opened = true;
        clearTimeout(timer);
        events.opened(way);
      },
      received: events.received,
      closed: (code, reason) => {
        if (over) return;
        if (!opened) return byEvents();
        if (link === socket) events.closed(code, reason);
      },
    });
    const socket = link;
    return {
      send: (message) => link.send(message),
      close: () => {
        clearTimeout(timer);
        // An attempt that is given up is not followed by another.
        if (!opened) over = true;
        link.close();
        if (over) events.closed(undefined, "given up");
      },
    };
  }
}
