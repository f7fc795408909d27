/** A post's comments: threads, replies, edits, who is typing, what is on its way and what was refused. */
import { useCallback, useMemo, useRef, useState } from "react";
import type { Comment } from "../../types.js";
import { useClient, useLabels } from "../context.js";
import { useComments } from "../hooks/useDocuments.js";
import { useConnectionStatus } from "../hooks/useConnectionStatus.js";
import { useTypingIn } from "../hooks/useTypingIndicators.js";
import { useKey } from "../identity.js";
import { reason, type LabelsOf } from "../labels.js";
import { overOf } from "../over.js";
import { CommentItem, type CommentActions } from "./comments/CommentItem.js";
import { Composer } from "./comments/Composer.js";
import { NewComments } from "./comments/NewComments.js";
import { RefusedComments, editsOf } from "./comments/RefusedComments.js";
import { shownThread } from "./comments/thread.js";
import { useGiven } from "./comments/useGiven.js";
import { Icon, classes } from "./parts.js";
import { Typing } from "./TypingIndicators.js";

export interface RealTimeCommentsProps {
  /** The post, `space/id`. */
  readonly address: string;
  /** Whether each comment can be liked. Default `true`. */
  readonly likes?: boolean;
  /** Whether nothing can be written. Default `false`. */
  readonly readOnly?: boolean;
  /** Who may edit and delete a comment, as far as the app knows; the server decides. Default: its author. */
  readonly mayChange?: (comment: Comment) => boolean;
  readonly labels?: LabelsOf<"comments">;
  readonly className?: string;
}

/** What is written and open in it belongs to the address, and is gone with it. */
export function RealTimeComments(props: RealTimeCommentsProps) {
  return <Thread key={useKey(props.address)} {...props} />;
}

function Thread({ address, likes = true, readOnly = false, mayChange, labels: own, className }: RealTimeCommentsProps) {
  const labels = useLabels("comments", own);
  const client = useClient();
  const { view, status, handle } = useComments(address);
  const connection = useConnectionStatus({ countdown: false });
  const over = overOf(connection);
  const { typing, setTyping } = useTypingIn(handle.address);
  const { refused, give, retry, dismiss } = useGiven(handle);
  const edits = useMemo(() => editsOf(refused), [refused]);
  const thread = useMemo(() => shownThread(view.thread), [view.thread]);
  const [open, setOpen] = useState<{ readonly id: string; readonly as: "reply" | "edit" | "delete" } | null>(null);
  const list = useRef<HTMLOListElement>(null);

  const send = useCallback((body: string) => give({ comments: { add: { body } } }), [give]);
  const mine = useCallback((comment: Comment) => comment.author === client.user, [client]);
  const may = mayChange ?? mine;
  const actions = useMemo<CommentActions>(() => ({
    open: (id, as) => setOpen(as === null ? null : { id, as }),
    reply(parent, body) {
      give({ comments: { add: { body, parent } } });
      setOpen(null);
    },
    edit(id, body) {
      give({ comments: { edit: { id, body } } });
      setOpen(null);
    },
    delete(id) {
      give({ comments: { delete: { id } } });
      setOpen(null);
      list.current?.focus();
    },
    retry, dismiss, setTyping,
  }), [give, retry, dismiss, setTyping]);

  return (
    <section className={classes("syncline", "syncline-comments", className)} aria-label={labels.region} aria-busy={!status.ready}>
      <h2 className="syncline-figures">{status.ready ? labels.heading(view.count) : labels.loading}</h2>
      {status.problem !== undefined && (
        <p className="syncline-problem"><Icon name="alert" /><span>{reason(labels.reasons, status.problem.code, status.problem.message)}</span></p>
      )}
      {over !== undefined && <p className="syncline-problem" role="alert"><Icon name="alert" /><span>{reason(labels.reasons, over.code, over.message)}</span></p>}
      {!readOnly && <Composer kind="comment" label={labels.field} labels={labels} disabled={!status.ready} over={over !== undefined} setTyping={setTyping} send={send} />}
      {status.ready && thread.length === 0 && <p className="syncline-empty">{labels.empty}</p>}
      <ol ref={list} role="list" tabIndex={-1} aria-label={labels.region}>
        {thread.map(({ comment, to }) => (
          <CommentItem
            key={comment.id} comment={comment} to={to} self={client.user} address={address} likes={likes} connected={connection.connected} over={over !== undefined}
            mayChange={!readOnly && may(comment)} mayReply={!readOnly} refusedEdit={edits.get(comment.id)}
            openAs={open?.id === comment.id ? open.as : null} actions={actions} labels={labels}
          />
        ))}
      </ol>
      <RefusedComments refused={refused} again={over === undefined} labels={labels} retry={retry} dismiss={dismiss} />
      <Typing users={typing} />
      <NewComments thread={view.thread} live={status.live} self={client.user} labels={labels} />
    </section>
  );
}
