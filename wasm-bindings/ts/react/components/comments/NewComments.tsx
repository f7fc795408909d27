/** Says to screen readers what others comment while one reads. */
import { useEffect, useRef, useState } from "react";
import type { Comment } from "../../../types.js";
import { commentsChanges } from "../../changes.js";
import type { Labels } from "../../labels.js";
import { Spoken } from "../parts.js";

interface NewCommentsProps {
  readonly thread: readonly Comment[];
  readonly live: boolean;
  readonly self: string;
  readonly labels: Labels["comments"];
}

const SPOKEN_CHARACTERS = 200;

export function NewComments({ thread, live, self, labels }: NewCommentsProps) {
  const [words, setWords] = useState("");
  const last = useRef<readonly Comment[] | undefined>(undefined);
  useEffect(() => {
    const before = last.current;
    // What comes while it catches up was there before.
    last.current = live ? thread : undefined;
    if (!live || before === undefined) return;
    const fresh = commentsChanges({ count: 0, thread: before }, { count: 0, thread })
      .flatMap((change) => (change.type === "comment_added" && change.comment.author !== self ? [change.comment] : []));
    const [one] = fresh;
    if (one === undefined) return;
    setWords(fresh.length > 1 ? labels.announceMany(fresh.length) : labels.announce(one.author, (one.body ?? "").slice(0, SPOKEN_CHARACTERS)));
  }, [thread, live, self, labels]);
  return <Spoken role="status">{words}</Spoken>;
}
