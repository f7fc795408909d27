/**
 * What clients and the host say to each other: plain objects that can be cloned, so that it makes no difference
 * whether the host is in this tab or in another.
 */

import type { Op } from "../ot.js";
import type { Problem, RefusedCommand, Resolution, Command } from "../types.js";

/**
 * Something that a client can watch, by kind and names:
 * `connection`, `sync`, `refused`; `status`, `view`, `undoable`, `typing` of an address; `selections` of an address and
 * a place; `space` and `feed` of a space; `stream` and `writer` of a stream's address.
 */
export type Topic = readonly [kind: TopicKind, ...names: string[]];
export type TopicKind =
  | "connection" | "sync" | "refused" | "status" | "view" | "undoable" | "typing" | "selections" | "space" | "feed"
  | "stream" | "writer";

export function keyOf(topic: Topic): string {
  return JSON.stringify(topic);
}

/** How a command ended, on its way to the app. */
export interface Ending {
  readonly id: string;
  readonly address: string;
  readonly command: Command;
  readonly resolution: Resolution;
}

export type How = "plain" | "undo" | "redo";

/** One edit of a text, and what its command is called. */
export interface Edit {
  readonly id: string;
  readonly op: Op;
}

export type Question =
  | { ask: "history" | "heads"; address: string }
  | { ask: "interrupt"; address: string }
  | { ask: "write"; address: string; create: boolean; askedBy?: string | undefined }
  | { ask: "append"; address: string; text: string }
  | { ask: "end"; address: string; outcome: string }
  | { ask: "comment"; address: string; created: number };

export type ToHost =
  /** `wants` is how many newest posts of a feed. */
  | { type: "watch"; topic: Topic; wants?: number | undefined }
  | { type: "unwatch"; topic: Topic }
  | { type: "open" | "close"; address: string }
  | { type: "execute"; id: string; address: string; command: string; how: How }
  /** Commands of this client that are stored and have no end yet. */
  | { type: "expect"; ids: string[] }
  | { type: "read_text"; address: string; place: string; known: string[] }
  | { type: "leave_text"; address: string; place: string }
  /** Edits made when the client knew the host's text up to `version`, each on top of the one before. */
  | { type: "edit"; address: string; place: string; version: number; edits: Edit[] }
  | { type: "flush"; address: string }
  | { type: "select"; address: string; place: string; anchor: number; head: number }
  | { type: "unselect"; address: string }
  /** The app was told how a command ended. */
  | { type: "heard"; id: string }
  | { type: "dismiss"; id: string }
  | { type: "enter"; space: string; visible: boolean }
  | { type: "leave"; space: string }
  | { type: "announce"; space: string; key: string; value?: string | undefined; ttlMs?: number | undefined }
  | { type: "kick"; space: string; user: string; forMs: number }
  | { type: "resume_stream"; address: string }
  | { type: "leave_writing"; address: string }
  | { type: "question"; number: number; question: Question }
  | { type: "visible"; visible: boolean }
  /** The app connects or disconnects; `asked` if it said so in so many words, which then counts for all clients. */
  | { type: "online"; online: boolean; asked: boolean }
  /** Whether to be told of each frame. */
  | { type: "frames"; wanted: boolean }
  | { type: "token"; token: string }
  | { type: "active" | "reconnect" | "tick" | "bye" };

export type FromHost =
  /** Something that is watched may show something else: read it. Only to a client in the same tab. */
  | { type: "dirty"; topic: Topic }
  /** What is watched shows this. */
  | { type: "update"; topic: Topic; value: unknown }
  /** A command was not taken on. */
  | { type: "failed"; id: string; code: string; message: string }
  | { type: "stored"; id: string }
  /** `live` where a client is there whose command it was; otherwise it is of a session before. */
  | { type: "ending"; ending: Ending; live: boolean }
  | { type: "dropped"; refused: RefusedCommand }
  /** How a text is, and which of the edits that were asked about are in it; `edited`: all that became versions. */
  | { type: "text"; address: string; place: string; version: number; text: string | null; known: readonly string[] | "edited" }
  /** An operation on a watched text, which makes it the next version. */
  /** What happened to a text; `turned` if it is what an undo or redo of the client did. */
  | { type: "op"; address: string; place: string; version: number; op: Op; turned: boolean }
  /** The client's own edit has become this version, and is part of this command. */
  | { type: "edited"; address: string; place: string; version: number; id: string; command: string }
  | { type: "answer"; number: number; value?: unknown; code?: string; message?: string }
  | { type: "problem"; problem: Problem }
  | { type: "token_wanted" }
  /** One of the clients was told to connect or to disconnect. */
  | { type: "online"; online: boolean }
  | { type: "frame"; direction: "in" | "out"; bytes: number; at: number }
  /** The host can't go on; another will. */
  | { type: "ended"; code: string; message: string };

/** What a client has of its host. */
export interface HostPort {
  /** The host is in this tab: what is said has happened when `send` returns, and `read` is allowed. */
  readonly local: boolean;
  send(message: ToHost): void;
  /** What is new about a watched topic since it was read last. */
  read(topic: Topic): unknown;
}

/** What a host has of a client. */
export interface ClientPort {
  readonly local: boolean;
  receive(message: FromHost): void;
}
