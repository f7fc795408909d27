/** One comment of a thread. Drawn again only when it, or what is open at it, has changed. */
import { memo, useEffect, useRef, type CSSProperties } from "react";
import type { Comment, RefusedCommand } from "../../../types.js";
import { reason, type Labels } from "../../labels.js";
import { LikeButton } from "../LikeButton.js";
import { Ago, Avatar, Icon, classes } from "../parts.js";
import { Composer } from "./Composer.js";
import { Copy } from "./Copy.js";
import { wordsOf } from "./RefusedComments.js";

export interface CommentActions {
  open(id: string, as: "reply" | "edit" | "delete" | null): void;
  reply(parent: string, body: string): void;
  edit(id: string, body: string): void;
  delete(id: string): void;
  retry(refused: RefusedCommand): void;
  dismiss(id: string): void;
  setTyping(typing: boolean): void;
}

interface ItemProps {
  readonly comment: Comment;
  readonly to: string | null;
  readonly self: string;
  readonly address: string;
  readonly likes: boolean;
  readonly connected: boolean;
  /** Whether nothing is taken on any more. */
  readonly over: boolean;
  readonly mayChange: boolean;
  readonly mayReply: boolean;
  readonly refusedEdit: RefusedCommand | undefined;
  readonly openAs: "reply" | "edit" | "delete" | null;
  readonly actions: CommentActions;
  readonly labels: Labels["comments"];
}

export const CommentItem = memo(function CommentItem(props: ItemProps) {
  const { comment, to, self, openAs, labels } = props;
  const { id, author, body, depth } = comment;
  return (
    <li style={{ "--_depth": depth } as CSSProperties} aria-level={depth + 1} data-depth={depth}>
      <article
        className={classes("syncline-comment", comment.pending && "syncline-comment-pending")}
        aria-label={to === null ? labels.by(author) : labels.replyBy(author, to)} data-comment={id}
      >
        <Avatar user={author} small={depth > 0} />
        <div className="syncline-comment-main">
          <p className="syncline-comment-head">
            <span className="syncline-name">{author}</span>
            {author === self && <span className="syncline-quiet">({labels.you})</span>}
            <span className="syncline-quiet"><Ago at={comment.created} /></span>
            {comment.edited !== null && comment.deleted === null && <span className="syncline-quiet">{labels.edited}</span>}
            <Mark {...props} />
          </p>
          {openAs === "edit" && body !== null ? <Edit {...props} body={body} /> : <Body body={body} labels={labels} />}
          <RefusedEdit {...props} />
          {comment.deleted === null && openAs !== "edit" && <Actions {...props} />}
          {openAs === "reply" && (
            <Composer
              kind="reply" label={labels.replyField(author)} labels={labels} over={props.over} setTyping={props.actions.setTyping}
              send={(text) => props.actions.reply(id, text)} cancel={() => props.actions.open(id, null)}
            />
          )}
        </div>
      </article>
    </li>
  );
});

function Body({ body, labels }: { readonly body: string | null; readonly labels: Labels["comments"] }) {
  if (body === null) return <p className="syncline-comment-body syncline-quiet">{labels.deleted}</p>;
  return <p className="syncline-comment-body" dir="auto">{body}</p>;
}

function Mark({ comment, connected, labels }: ItemProps) {
  if (!comment.pending) return null;
  const says = connected ? labels.pending : labels.offline;
  return <span className="syncline-mark" title={says}><Icon name="clock" /><span className="syncline-mark-text">{says}</span></span>;
}

function Edit({ comment, body, over, actions, labels }: ItemProps & { readonly body: string }) {
  return (
    <Composer
      kind="edit" first={body} label={labels.editField} labels={labels} over={over} setTyping={actions.setTyping}
      send={(text) => (text === body ? actions.open(comment.id, null) : actions.edit(comment.id, text))}
      cancel={() => actions.open(comment.id, null)}
    />
  );
}

function RefusedEdit({ refusedEdit, over, actions, labels }: ItemProps) {
  if (refusedEdit === undefined) return null;
  const { resolution } = refusedEdit;
  const words = wordsOf(refusedEdit);
  const why = resolution.type === "refused" ? reason(labels.reasons, resolution.code, resolution.message) : reason(labels.reasons, resolution.type, undefined);
  return (
    <div className="syncline-refused-edit">
      <div>
        <p className="syncline-problem" role="alert"><Icon name="alert" /><span>{words === undefined ? labels.refusedDelete : labels.refusedEdit}: {why}</span></p>
        {words !== undefined && <p className="syncline-comment-body" dir="auto">{words}</p>}
      </div>
      <div className="syncline-actions">
        <button type="button" className="syncline-link" disabled={over} onClick={() => actions.retry(refusedEdit)}>{labels.tryAgain}</button>
        {words !== undefined && <Copy text={words} labels={labels} />}
        <button type="button" className="syncline-link" onClick={() => actions.dismiss(refusedEdit.id)}>{labels.dismiss}</button>
      </div>
    </div>
  );
}

function Actions(props: ItemProps) {
  const { comment: { id }, address, likes, over, mayChange, mayReply, openAs, actions, labels } = props;
  const row = useRef<HTMLDivElement>(null);
  const before = useRef(openAs);
  useEffect(() => {
    // What was open took the focus along, so it goes back to the button that opened it.
    const was = before.current;
    before.current = openAs;
    const lost = document.activeElement === null || document.activeElement === document.body;
    if (openAs === null && was !== null && lost) row.current?.querySelector<HTMLElement>(`[data-action="${was}"]`)?.focus();
  }, [openAs]);
  if (openAs === "delete") {
    return (
      <div className="syncline-actions" role="group" aria-label={labels.deleteQuestion} onKeyDown={(event) => { if (event.key === "Escape") actions.open(id, null); }}>
        <span>{labels.deleteQuestion}</span>
        <button type="button" className="syncline-link" data-danger="" autoFocus disabled={over} onClick={() => actions.delete(id)}>{labels.delete}</button>
        <button type="button" className="syncline-link" onClick={() => actions.open(id, null)}>{labels.cancel}</button>
      </div>
    );
  }
  return (
    <div className="syncline-actions" ref={row}>
      {likes && <LikeButton address={address} target={id} />}
      {mayReply && (
        <button
          type="button" className="syncline-link" data-action="reply" aria-expanded={openAs === "reply"}
          onClick={() => actions.open(id, openAs === "reply" ? null : "reply")}
        >
          {labels.reply}
        </button>
      )}
      {mayChange && <button type="button" className="syncline-link" data-action="edit" onClick={() => actions.open(id, "edit")}>{labels.edit}</button>}
      {mayChange && <button type="button" className="syncline-link" data-action="delete" onClick={() => actions.open(id, "delete")}>{labels.delete}</button>}
    </div>
  );
}
