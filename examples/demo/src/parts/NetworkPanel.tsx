/** A bad network at the turn of a knob, and what the client makes of it. */
import { useSyncExternalStore } from "react";
import { useConnectionStatus, useSyncStatus } from "syncline/react";
import { network } from "../network.js";
import { Icon } from "./Icon.js";

export function NetworkPanel() {
  const connection = useConnectionStatus();
  const sync = useSyncStatus();
  const weather = useSyncExternalStore(network.subscribe, network.getSnapshot);
  const offline = connection.phase === "idle";
  return (
    <section className="card network" aria-label="Network">
      <h2><Icon name="network" />Network</h2>
      <Switch label="Online" on={!offline} change={(on) => (on ? connection.connect() : connection.disconnect())} />
      <Switch label="WebSocket blocked" on={weather.blockWebSocket} change={(blockWebSocket) => network.set({ blockWebSocket })} />
      <div className="slider"><label htmlFor="latency">Latency</label><output htmlFor="latency">{weather.latencyMs} ms</output>
        <input id="latency" type="range" min={0} max={2_000} step={50} value={weather.latencyMs} onChange={(event) => network.set({ latencyMs: event.target.valueAsNumber })} /></div>
      <button type="button" className="button" onClick={network.drop} disabled={offline}>Drop the connection</button>
      <dl className="facts">
        <div><dt>State</dt><dd data-fact="phase">{connection.phase}{connection.retryIn !== undefined && `, again in ${connection.retryIn} s`}</dd></div>
        <div><dt>Way</dt><dd data-fact="transport">{connection.transport ?? "none"}</dd></div>
        <div><dt>This tab</dt><dd data-fact="leads">{connection.leads ? "holds the connection" : "shares another tab's"}</dd></div>
        <div><dt>Pending</dt><dd data-fact="pending">{sync.pending}</dd></div>
        <div><dt>Sent, received</dt><dd>{size(sync.bytesSent)}, {size(sync.bytesReceived)}</dd></div>
      </dl>
    </section>
  );
}

function Switch({ label, on, change }: { label: string; on: boolean; change(on: boolean): void }) {
  return (
    <label className="switch"><span>{label}</span>
      <input type="checkbox" role="switch" checked={on} onChange={(event) => change(event.target.checked)} /></label>
  );
}

function size(bytes: number): string {
  return bytes < 1_024 ? `${bytes} B` : bytes < 1_048_576 ? `${(bytes / 1_024).toFixed(1)} KB` : `${(bytes / 1_048_576).toFixed(1)} MB`;
}
