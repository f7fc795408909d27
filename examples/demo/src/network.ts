/** Bad networks on demand: a WebSocket that is slow, breaks, or is not to be had, to give to a client instead of the browser's. */

export interface Weather {
  /** Added to each message, in each direction. */
  readonly latencyMs: number;
  /** Whether opening a WebSocket fails, as behind some proxies. */
  readonly blockWebSocket: boolean;
}

const FAIR: Weather = { latencyMs: 0, blockWebSocket: false };

let weather = FAIR;
const listeners = new Set<() => void>();
const open = new Set<ShapedWebSocket>();
const replayed = new WeakSet<Event>();

export class ShapedWebSocket extends WebSocket {
  /** When the last message of each direction is due: they stay in order when the latency falls. */
  readonly #due = { in: 0, out: 0 };

  constructor(url: string | URL, protocols?: string | string[]) {
    // Where a proxy lets no WebSocket through, its handshake fails. Nobody shakes hands there.
    super(weather.blockWebSocket ? new URL("/no-websocket-here", url) : url, protocols);
    open.add(this);
    this.addEventListener("close", () => open.delete(this));
    // The first listener, so that nobody else hears a message before its time.
    this.addEventListener("message", (event) => {
      if (replayed.has(event) || !this.#late("in")) return;
      event.stopImmediatePropagation();
      this.#later("in", () => {
        const again = new MessageEvent("message", { data: event.data });
        replayed.add(again);
        this.dispatchEvent(again);
      });
    });
  }

  override send(data: Parameters<WebSocket["send"]>[0]): void {
    if (!this.#late("out")) return super.send(data);
    // The caller may use its buffer again.
    const copy = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice() : data;
    this.#later("out", () => super.send(copy));
  }

  #late(direction: "in" | "out"): boolean {
    return weather.latencyMs > 0 || this.#due[direction] > performance.now();
  }

  #later(direction: "in" | "out", deliver: () => void): void {
    const now = performance.now();
    const due = Math.max(this.#due[direction], now + weather.latencyMs);
    this.#due[direction] = due;
    setTimeout(() => {
      if (this.readyState === WebSocket.OPEN) deliver();
    }, due - now);
  }
}

let channel: BroadcastChannel | undefined;

/** The tabs of a user have one weather, since one of them holds the connection for all. */
export function shareWeather(user: string): void {
  channel = new BroadcastChannel(`syncline-demo-weather:${user}`);
  channel.onmessage = ({ data }: MessageEvent<Weather | "drop">) => {
    if (data === "drop") dropHere();
    else change(data);
  };
}

function change(next: Weather): void {
  weather = next;
  for (const listener of listeners) listener();
}

function dropHere(): void {
  for (const socket of open) socket.close();
}

export const network = {
  getSnapshot: (): Weather => weather,
  subscribe(listener: () => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  set(next: Partial<Weather>): void {
    const { blockWebSocket } = weather;
    change({ ...weather, ...next });
    channel?.postMessage(weather);
    // Who is connected by WebSocket must notice.
    if (weather.blockWebSocket && !blockWebSocket) network.drop();
  },
  /** Cuts all connections; the client comes back by itself. */
  drop(): void {
    dropHere();
    channel?.postMessage("drop");
  },
};
