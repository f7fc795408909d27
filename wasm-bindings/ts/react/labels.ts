/** Every word that a component shows or says, in English. All can be replaced. */
import type { ConnectionPhase } from "../types.js";

/** Why something did not stand, by code; a code that is not here is told in the server's own sentence. */
export const reasons: Readonly<Record<string, string>> = {
  forbidden: "You are not allowed to do this here.",
  not_author: "Only its author may change this.",
  not_found: "It is not there any more.",
  superseded: "Somebody else changed it at the same time.",
  no_effect: "Somebody else has done it already.",
  too_old: "This device was offline for too long to send it.",
  document_full: "There is no room left here.",
  change_too_large: "It is too large.",
  dropped_after_refusal: "It builds on something that was refused.",
  outbox_full: "Too much is waiting to be sent from this device.",
  local_store: "This device can’t store it.",
  unauthenticated: "You are not signed in.",
  token_expired: "You have to sign in again.",
  rate_limited: "Too much at once. Try again in a moment.",
  no_webassembly: "This browser can’t run Syncline: it has no WebAssembly.",
};

/** A sentence about a code. */
export function reason(of: Readonly<Record<string, string>>, code: string | undefined, message: string | undefined): string {
  return (code === undefined ? undefined : of[code]) ?? message ?? code ?? "";
}

const names = (users: readonly string[], others: (count: number) => string, and: string): string => {
  const [a, b, c] = users;
  if (b === undefined) return a ?? "";
  if (c === undefined) return `${a} ${and} ${b}`;
  return users.length === 3 ? `${a}, ${b} ${and} ${c}` : `${a}, ${b} ${and} ${others(users.length - 2)}`;
};

export const english = {
  connection: {
    region: "Connection",
    phases: {
      idle: "Not connected",
      offline: "Offline",
      paused: "Paused",
      connecting: "Connecting",
      authenticating: "Signing in",
      connected: "Connected",
      reconnecting: "Reconnecting",
      failed: "Disconnected",
    } as Readonly<Record<ConnectionPhase, string>>,
    hints: {
      idle: "Changes stay on this device until you connect.",
      offline: "You can go on: changes are kept on this device and sent when the network is back.",
      paused: "This page is in the background. It catches up when you come back.",
      connecting: "Getting in touch with the server.",
      authenticating: "The server checks who you are.",
      connected: "Everything you do is sent at once.",
      reconnecting: "You can go on: changes are kept on this device until the server is back.",
      failed: "The server does not let this device in.",
    } as Readonly<Record<ConnectionPhase, string>>,
    reconnect: "Reconnect now",
    connect: "Go online",
    disconnect: "Go offline",
    unsent: (count: number) => (count === 1 ? "1 unsent" : `${count} unsent`),
    synced: "All changes saved",
    syncing: "Syncing",
    retryIn: (seconds: number) => (seconds === 0 ? "now" : `in ${seconds} s`),
    attempt: "Attempt",
    nextAttempt: "Next attempt",
    pending: "Waiting to be sent",
    lastDurable: "Last confirmed",
    documents: "Documents in sync",
    traffic: "Sent / received",
    transport: "Connected by",
    transports: { websocket: "WebSocket", sse: "Server-sent events" },
    otherTab: "through another tab",
    never: "not yet",
    reasons,
  },
  likes: {
    group: "Reactions",
    like: "Like",
    reactions: { like: "Like", love: "Love", laugh: "Funny", wow: "Surprising", sad: "Sad" } as Readonly<Record<string, string>>,
    add: "Add a reaction",
    picker: "Choose a reaction",
    count: (name: string, count: number) => (count === 1 ? `${name}, 1 person` : `${name}, ${count} people`),
  },
  comments: {
    heading: (count: number) => (count === 1 ? "1 comment" : `${count} comments`),
    region: "Comments",
    empty: "No comments yet. Say the first word.",
    loading: "Loading comments",
    field: "Write a comment",
    replyField: (author: string) => `Reply to ${author}`,
    editField: "Edit your comment",
    send: "Comment",
    reply: "Reply",
    edit: "Edit",
    delete: "Delete",
    deleteQuestion: "Delete this comment?",
    save: "Save",
    cancel: "Cancel",
    you: "you",
    edited: "edited",
    deleted: "This comment was deleted.",
    pending: "Sending",
    offline: "Sent when you are online",
    refused: "Not posted",
    refusedEdit: "Your edit was not taken",
    refusedDelete: "It could not be deleted",
    tryAgain: "Try again",
    copy: "Copy",
    copied: "Copied",
    dismiss: "Dismiss",
    by: (author: string) => `Comment by ${author}`,
    replyBy: (author: string, to: string) => `Reply by ${author} to ${to}`,
    announce: (author: string, body: string) => `${author} commented: ${body}`,
    announceMany: (count: number) => `${count} new comments`,
    shortcut: "Ctrl + Enter",
    reasons,
  },
  typing: {
    one: (user: string) => `${user} is typing`,
    many: (users: readonly string[]) => `${names(users, (count) => `${count} others`, "and")} are typing`,
  },
  participants: {
    region: "People here",
    heading: (count: number) => (count === 1 ? "1 person here" : `${count} people here`),
    you: "you",
    active: "active",
    idle: "away",
    typing: "typing",
    in: (text: string) => `in ${text}`,
    texts: { title: "the title", body: "the text" } as Readonly<Record<string, string>>,
    devices: (count: number) => `on ${count} devices`,
    roles: { owner: "Owner", moderator: "Moderator", writer: "Writer", member: "Member", viewer: "Viewer", reader: "Reader", guest: "Guest" } as Readonly<Record<string, string>>,
    more: (count: number) => `and ${count} more`,
    entering: "Entering",
    outside: "You are not in this space.",
    reasons,
  },
  stream: {
    region: "Answer",
    waiting: "Waiting for an answer",
    streaming: "Writing",
    stalled: "Paused: waiting for more",
    interrupting: "Stopping",
    finished: "Complete",
    stopped: (user: string) => `Stopped by ${user}`,
    wasStopped: "Stopped",
    abandoned: "It was left unfinished.",
    failed: "It failed",
    unreadable: "The answer can’t be read at the moment.",
    stop: "Stop",
    resume: "Read on",
    newest: "Jump to the newest",
    reasons,
  },
  text: {
    others: (users: readonly string[]) => `${names(users, (count) => `${count} others`, "and")} also here`,
    loading: "Loading",
    reasons,
  },
  refusals: {
    region: "What was not accepted",
    title: "Not accepted",
    commands: {
      "comments.add": "Your comment was not posted",
      "comments.edit": "Your edit of a comment was not taken",
      "comments.delete": "The comment was not deleted",
      "likes.like": "Your reaction was not counted",
      "likes.unlike": "Your reaction was not taken back",
      "post.create": "Your post was not published",
      "post.splice": "Your edit was not taken",
    } as Readonly<Record<string, string>>,
    tryAgain: "Try again",
    dismiss: "Dismiss",
    dismissAll: "Dismiss all",
    more: (count: number) => `and ${count} more`,
    reasons,
  },
};

export type Labels = typeof english;
/** What the `labels` property of a component takes. */
export type LabelsOf<K extends keyof Labels> = Partial<Labels[K]>;
