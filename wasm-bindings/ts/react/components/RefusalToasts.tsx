/** What was rolled back, with its reason, until somebody has seen it. */
import type { KeyboardEvent } from "react";
import type { RefusedCommand } from "../../types.js";
import { useLabels } from "../context.js";
import { useRefused } from "../hooks/useSyncStatus.js";
import { reason, type Labels, type LabelsOf } from "../labels.js";
import { Icon, classes } from "./parts.js";

export interface RefusalToastsProps {
  /** Where on the screen. Default `"bottom-right"`. */
  readonly position?: "bottom-right" | "bottom-left" | "bottom" | "top-right" | "top-left" | "top";
  /** How many are shown before the rest is counted. Default 3. */
  readonly max?: number;
  readonly labels?: LabelsOf<"refusals">;
  readonly className?: string;
}

/** They do not go away by themselves: each holds what a user wrote. */
export function RefusalToasts({ position = "bottom-right", max = 3, labels: own, className }: RefusalToastsProps) {
  const labels = useLabels("refusals", own);
  const { refused, dismiss, dismissAll, retry } = useRefused();
  const shown = refused.slice(-max);
  const rest = refused.length - shown.length;
  return (
    <section className={classes("syncline", "syncline-toasts", className)} data-position={position} aria-label={labels.region} aria-live="polite" aria-relevant="additions">
      {shown.map((one) => <Toast key={one.id} {...{ one, labels, dismiss, retry }} />)}
      {refused.length > 1 && (
        <p className="syncline-toasts-rest">
          {rest > 0 && <span className="syncline-quiet">{labels.more(rest)}</span>}
          <button type="button" className="syncline-button" onClick={dismissAll}>{labels.dismissAll}</button>
        </p>
      )}
    </section>
  );
}

interface ToastProps {
  readonly one: RefusedCommand;
  readonly labels: Labels["refusals"];
  dismiss(id: string): void;
  retry(one: RefusedCommand): unknown;
}

function Toast({ one, labels, dismiss, retry }: ToastProps) {
  const { name, text } = described(one);
  const { resolution } = one;
  const why = resolution.type === "refused" ? reason(labels.reasons, resolution.code, resolution.message) : reason(labels.reasons, resolution.type, undefined);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") dismiss(one.id);
  };
  return (
    <div className="syncline-toast" role="group" aria-label={labels.commands[name] ?? labels.title} onKeyDown={onKeyDown}>
      <Icon name="alert" />
      <div>
        <p className="syncline-toast-title">{labels.commands[name] ?? labels.title}</p>
        <p className="syncline-quiet">{why}</p>
        {text !== undefined && <blockquote>{text}</blockquote>}
        <p className="syncline-actions">
          <button type="button" className="syncline-link" onClick={() => retry(one)}>{labels.tryAgain}</button>
        </p>
      </div>
      <button type="button" className="syncline-icon-button" aria-label={labels.dismiss} title={labels.dismiss} onClick={() => dismiss(one.id)}>
        <Icon name="close" />
      </button>
    </div>
  );
}

/** A command's name such as `comments.add`, and the text that it carries. */
function described({ command }: RefusedCommand): { readonly name: string; readonly text: string | undefined } {
  const [facet, inner] = Object.entries(command)[0] ?? ["", undefined];
  if (typeof inner !== "object" || inner === null) return { name: facet, text: undefined };
  const [verb, fields] = Object.entries(inner)[0] ?? ["", undefined];
  const { body, title, insert } = (typeof fields === "object" && fields !== null ? fields : {}) as Record<string, unknown>;
  const text = [body, title, insert].find((one): one is string => typeof one === "string" && one !== "");
  return { name: `${facet}.${verb}`, text };
}
