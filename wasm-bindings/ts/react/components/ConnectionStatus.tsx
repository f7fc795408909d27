/** How it stands with the server: a pill, or a card with everything and what to do about it. */
import type { ReactNode } from "react";
import type { ConnectionPhase, SyncStatus } from "../../types.js";
import { useLabels, useLocale } from "../context.js";
import { useConnectionStatus, type UsedConnection } from "../hooks/useConnectionStatus.js";
import { useSyncStatus } from "../hooks/useSyncStatus.js";
import { overOf } from "../over.js";
import { reason, type Labels, type LabelsOf } from "../labels.js";
import { Ago, Dot, Icon, Spoken, classes, type Tone } from "./parts.js";

export interface ConnectionStatusProps {
  /** Default `"compact"`. */
  readonly variant?: "compact" | "detailed";
  readonly labels?: LabelsOf<"connection">;
  readonly className?: string;
}

const TONES: Readonly<Record<ConnectionPhase, Tone>> = {
  idle: "quiet", offline: "quiet", paused: "quiet", connecting: "busy", authenticating: "busy",
  connected: "good", reconnecting: "busy", failed: "bad",
};

export function ConnectionStatus({ variant = "compact", labels: own, className }: ConnectionStatusProps) {
  const labels = useLabels("connection", own);
  const connection = useConnectionStatus();
  const sync = useSyncStatus();
  const parts = { connection, sync, labels, className: classes("syncline", className) };
  return variant === "detailed" ? <Detailed {...parts} /> : <Compact {...parts} />;
}

interface Parts {
  readonly connection: UsedConnection;
  readonly sync: SyncStatus;
  readonly labels: Labels["connection"];
  readonly className: string;
}

/** Said once for each phase: the seconds that are counted down are for the eyes. */
function Said({ connection, labels }: Parts) {
  return <Spoken role="status">{phaseOf(connection, labels)}</Spoken>;
}

/** Whether there is something that a click may speed up. */
function stuck(connection: UsedConnection): boolean {
  const { phase } = connection;
  return overOf(connection) === undefined && (phase === "reconnecting" || phase === "failed" || phase === "offline");
}

function phaseOf({ phase, code }: UsedConnection, labels: Labels["connection"]): string {
  return code === "closed" ? labels.closed : labels.phases[phase];
}

function hintOf({ phase, code, message }: UsedConnection, labels: Labels["connection"]): string {
  if (code === "closed") return labels.closedHint;
  return phase === "failed" ? reason(labels.failures, code, message ?? labels.hints.failed) : labels.hints[phase];
}

function Compact(parts: Parts) {
  const { connection, sync, labels, className } = parts;
  const { phase, retryIn, reconnect } = connection;
  return (
    <div className={classes("syncline-connection", className)} data-phase={phase} role="group" aria-label={labels.region}>
      <Said {...parts} />
      <Dot tone={phase === "connected" && sync.problem !== undefined ? "bad" : TONES[phase]} />
      <span className="syncline-connection-phase" aria-hidden="true">{phaseOf(connection, labels)}</span>
      {retryIn !== undefined && <span className="syncline-quiet syncline-figures" aria-hidden="true">{labels.retryIn(retryIn)}</span>}
      {sync.pending > 0 && <span className="syncline-badge syncline-figures">{labels.unsent(sync.pending)}</span>}
      {stuck(connection) && (
        <button type="button" className="syncline-icon-button" onClick={reconnect} aria-label={labels.reconnect} title={labels.reconnect}>
          <Icon name="reconnect" />
        </button>
      )}
    </div>
  );
}

function Detailed(parts: Parts) {
  const { connection, sync, labels, className } = parts;
  const { phase, connected, trying, reconnect, connect, disconnect, code, message } = connection;
  const over = overOf(connection) !== undefined;
  // Beside the words for a code, what exactly went wrong.
  const detail = phase !== "failed" ? undefined : code !== undefined && labels.failures[code] !== undefined ? message : undefined;
  const problem = phase === "failed" || over ? undefined : sync.problem;
  return (
    <section className={classes("syncline-connection-card", className)} data-phase={phase} aria-label={labels.region}>
      <Said {...parts} />
      <header>
        <Dot tone={TONES[phase]} />
        <div>
          <p className="syncline-connection-phase" aria-hidden="true">{phaseOf(connection, labels)}</p>
          <p className="syncline-quiet">{hintOf(connection, labels)}</p>
        </div>
      </header>
      {(detail || problem) && (
        <p className="syncline-problem"><Icon name="alert" /><span>{problem === undefined ? detail : reason(labels.reasons, problem.code, problem.message)}</span></p>
      )}
      <Facts {...parts} />
      <footer>
        {!connected && !over && (
          <button type="button" className="syncline-button" data-primary="" onClick={phase === "idle" ? connect : reconnect}>
            <Icon name="reconnect" />{phase === "idle" ? labels.connect : labels.reconnect}
          </button>
        )}
        {(connected || trying) && (
          <button type="button" className="syncline-button" onClick={disconnect}>{labels.disconnect}</button>
        )}
      </footer>
    </section>
  );
}

function Facts({ connection, sync, labels }: Parts) {
  const locale = useLocale();
  const number = new Intl.NumberFormat(locale);
  const { phase, attempt, retryIn, transport, leads } = connection;
  const through = transport === undefined ? undefined : labels.transports[transport];
  return (
    <dl className="syncline-facts syncline-figures">
      {phase === "reconnecting" && retryIn !== undefined && (
        <Fact term={labels.nextAttempt}><span aria-hidden="true">{labels.retryIn(retryIn)}</span></Fact>
      )}
      {phase === "reconnecting" && attempt !== undefined && <Fact term={labels.attempt}>{number.format(attempt)}</Fact>}
      {through !== undefined && <Fact term={labels.transport}>{through}{leads ? "" : ` ${labels.otherTab}`}</Fact>}
      <Fact term={labels.pending}>
        {sync.pending === 0 ? (sync.synced ? labels.synced : number.format(0)) : number.format(sync.pending)}
      </Fact>
      <Fact term={labels.lastDurable}>{sync.lastDurableAt === undefined ? labels.never : <Ago at={sync.lastDurableAt} />}</Fact>
      <Fact term={labels.documents}>{number.format(sync.liveDocuments)} / {number.format(sync.openDocuments)}</Fact>
      <Fact term={labels.traffic}>{bytes(sync.bytesSent, locale)} / {bytes(sync.bytesReceived, locale)}</Fact>
    </dl>
  );
}

function Fact({ term, children }: { readonly term: string; readonly children: ReactNode }) {
  return <div><dt>{term}</dt><dd>{children}</dd></div>;
}

function bytes(count: number, locale: string | undefined): string {
  const [unit, size] = count < 1_000 ? ["byte", 1] : count < 1_000_000 ? ["kilobyte", 1_000] : ["megabyte", 1_000_000];
  const digits = size === 1 || count / size >= 100 ? 0 : 1;
  return new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "narrow", maximumFractionDigits: digits }).format(count / size);
}
