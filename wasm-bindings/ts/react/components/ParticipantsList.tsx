/** The people in a space: who they are, whether they are active, and where they are at work. */
import { isAt } from "../address.js";
import { useLabels } from "../context.js";
import { useSessionParticipants, type Participant } from "../hooks/usePresence.js";
import { reason, type Labels, type LabelsOf } from "../labels.js";
import { Ago, Avatar, classes } from "./parts.js";

export interface ParticipantsListProps {
  /** The space, which is entered. */
  readonly space: string;
  /** Where people are is said of this document alone (`space/id`, or with its facet). Default: of any. */
  readonly address?: string;
  /** `"stack"` shows faces only. Default `"list"`. */
  readonly variant?: "list" | "stack";
  /** How many are shown before the rest is counted. Default 50, or 5 in a stack. */
  readonly max?: number;
  readonly labels?: LabelsOf<"participants">;
  readonly className?: string;
}

export function ParticipantsList({ space, address, variant = "list", max, labels: own, className }: ParticipantsListProps) {
  const labels = useLabels("participants", own);
  const { participants, crowd, phase, code, message } = useSessionParticipants(space);
  const shown = participants.slice(0, max ?? (variant === "list" ? 50 : 5));
  const count = Math.max(crowd?.users ?? 0, participants.length);
  const rest = count - shown.length;
  const heading = phase === "outside" ? reason(labels.reasons, code, message ?? labels.outside)
    : phase === "inside" ? labels.heading(count) : labels.entering;
  if (variant === "stack") {
    return (
      <div className={classes("syncline", "syncline-stack", className)}>
        <ul role="list" aria-label={heading}>
          {shown.map((one) => <Face key={one.user} one={one} labels={labels} />)}
        </ul>
        {rest > 0 && <span className="syncline-quiet syncline-figures" title={labels.more(rest)}>+{rest}</span>}
      </div>
    );
  }
  return (
    <section className={classes("syncline", "syncline-participants", className)} aria-label={labels.region}>
      <h2 role="status">{heading}</h2>
      <ul role="list">
        {shown.map((one) => <Person key={one.user} one={one} address={address} labels={labels} />)}
      </ul>
      {rest > 0 && <p className="syncline-quiet">{labels.more(rest)}</p>}
    </section>
  );
}

interface FaceProps {
  readonly one: Participant;
  readonly labels: Labels["participants"];
}

function Face({ one, labels }: FaceProps) {
  const says = `${one.user}, ${one.active ? labels.active : labels.idle}`;
  return (
    <li title={says} data-idle={one.active ? undefined : ""}>
      <Avatar user={one.user} />
      <span className="syncline-spoken">{says}</span>
    </li>
  );
}

function Person({ one, address, labels }: FaceProps & { readonly address: string | undefined }) {
  const role = labels.roles[one.role] ?? one.role;
  return (
    <li data-idle={one.active ? undefined : ""}>
      <span className="syncline-face">
        <Avatar user={one.user} />
        <span className="syncline-activity" data-tone={one.active ? "good" : "quiet"} />
      </span>
      <span className="syncline-person">
        <span className="syncline-name">{one.user}{one.isSelf && <span className="syncline-quiet"> ({labels.you})</span>}</span>
        <span className="syncline-quiet syncline-doing"><Doing one={one} address={address} labels={labels} /></span>
      </span>
      {role !== "" && <span className="syncline-role">{role}</span>}
    </li>
  );
}

function Doing({ one, address, labels }: FaceProps & { readonly address: string | undefined }) {
  const here = (document: string | undefined) => document !== undefined && (address === undefined || isAt(document, address));
  // Who types elsewhere than where the caret is, types there.
  const { cursor, typingIn } = one;
  const at = here(cursor?.address) && (typingIn === undefined || typingIn === cursor?.address) ? cursor?.text : undefined;
  const where = at === undefined ? "" : ` ${labels.in(labels.texts[at] ?? at)}`;
  if (here(typingIn)) return <span className="syncline-is-typing">{labels.typing}{where}</span>;
  if (!one.active) return <>{labels.idle}{" · "}<Ago at={since(one)} /></>;
  return <>{labels.active}{where}{one.devices > 1 && ` · ${labels.devices(one.devices)}`}</>;
}

/** Since when somebody does nothing, which the session announces itself; anybody else may say anything there. */
function since({ says, since }: Participant): number {
  return typeof says["idle"] === "number" ? says["idle"] : since;
}
