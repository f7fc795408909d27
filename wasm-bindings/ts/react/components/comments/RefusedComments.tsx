/** Comments that were rolled back, with what was written: they are in no thread any more. */
import type { RefusedCommand } from "../../../types.js";
import { reason, type Labels } from "../../labels.js";
import { Icon } from "../parts.js";
import { Copy } from "./Copy.js";

type Fields = Readonly<Record<string, unknown>>;

function fields({ command }: RefusedCommand, verb: "add" | "edit" | "delete"): Fields | undefined {
  const found = (command as { comments?: Readonly<Record<string, Fields>> }).comments?.[verb];
  return typeof found === "object" ? found : undefined;
}

/** What a refused command was to say; nothing for one that deletes. */
export function wordsOf(one: RefusedCommand): string | undefined {
  const body = (fields(one, "add") ?? fields(one, "edit"))?.["body"];
  return typeof body === "string" ? body : undefined;
}

/** The newest refused edit or deletion of each comment. */
export function editsOf(refused: readonly RefusedCommand[]): ReadonlyMap<string, RefusedCommand> {
  const edits = new Map<string, RefusedCommand>();
  for (const one of refused) {
    const id = (fields(one, "edit") ?? fields(one, "delete"))?.["id"];
    if (typeof id === "string") edits.set(id, one);
  }
  return edits;
}

interface RefusedProps {
  readonly refused: readonly RefusedCommand[];
  /** Whether it makes sense to try again. */
  readonly again: boolean;
  readonly labels: Labels["comments"];
  retry(refused: RefusedCommand): void;
  dismiss(id: string): void;
}

export function RefusedComments({ refused, again, labels, retry, dismiss }: RefusedProps) {
  const added = refused.filter((one) => fields(one, "add") !== undefined);
  return (
    <ul role="list" className="syncline-refused" aria-label={labels.refused} hidden={added.length === 0}>
      {added.map((one) => {
        const { resolution } = one;
        const why = resolution.type === "refused" ? reason(labels.reasons, resolution.code, resolution.message) : reason(labels.reasons, resolution.type, undefined);
        return (
          <li key={one.id}>
            <p className="syncline-problem" role="alert"><Icon name="alert" /><span><strong>{labels.refused}.</strong> {why}</span></p>
            <p className="syncline-comment-body" dir="auto">{wordsOf(one)}</p>
            <div className="syncline-actions">
              <button type="button" className="syncline-link" disabled={!again} onClick={() => retry(one)}>{labels.tryAgain}</button>
              <Copy text={wordsOf(one) ?? ""} labels={labels} />
              <button type="button" className="syncline-link" onClick={() => dismiss(one.id)}>{labels.dismiss}</button>
            </div>
          </li>
        );
      })}
    </ul>
  );
}
