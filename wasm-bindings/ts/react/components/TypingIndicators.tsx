/** Who types in a document. */
import { useLabels } from "../context.js";
import { useTypingIndicators } from "../hooks/useTypingIndicators.js";
import type { LabelsOf } from "../labels.js";
import { Avatar, classes } from "./parts.js";

export interface TypingIndicatorsProps {
  /** The document, `space/id/facet`; of `space/id` the comments are meant. Its space is entered. */
  readonly address: string;
  readonly labels?: LabelsOf<"typing">;
  readonly className?: string;
}

/** Takes its room also while nobody types, so that nothing jumps. */
export function TypingIndicators({ address, labels, className }: TypingIndicatorsProps) {
  const { typing } = useTypingIndicators(address);
  return <Typing users={typing} {...(labels === undefined ? {} : { labels })} {...(className === undefined ? {} : { className })} />;
}

/** The same for users who are known. */
export function Typing({ users, labels: own, className }: { readonly users: readonly string[]; readonly labels?: LabelsOf<"typing">; readonly className?: string }) {
  const labels = useLabels("typing", own);
  const [first] = users;
  return (
    <div className={classes("syncline", "syncline-typing", className)} role="status" data-empty={users.length === 0 ? "" : undefined}>
      {first !== undefined && (
        <>
          <span className="syncline-avatars">{users.slice(0, 3).map((user) => <Avatar key={user} user={user} small />)}</span>
          <span>{users.length === 1 ? labels.one(first) : labels.many(users)}</span>
          <span className="syncline-typing-dots" aria-hidden="true"><i /><i /><i /></span>
        </>
      )}
    </div>
  );
}
