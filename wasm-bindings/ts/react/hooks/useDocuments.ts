/** Hooks for the four kinds of documents. */
import { useCallback, useEffect, useMemo } from "react";
import type { Comments, CommentsView, DocumentHandle, DocumentStatus, Json, JsonDocument, Likes, LikesView, Post, PostView } from "../../types.js";
import { nameOf } from "../address.js";
import { useClient } from "../context.js";
import { useStore } from "../store.js";
import { arrived, suspendUntilReady } from "../suspense.js";

export interface DocumentOptions {
  /** Throws while the document is not read from the device's store, for a `<Suspense>` above. Default `false`. */
  readonly suspense?: boolean;
}

/** A document in a component: what it shows, how it stands, and what can be done with it. */
export interface Used<View, Handle> {
  readonly view: View;
  readonly status: DocumentStatus;
  /** The commands. The same object as long as the client and the address are the same. */
  readonly handle: Handle;
}

function useHandle<View, Handle extends DocumentHandle<View>>(handle: Handle, options: DocumentOptions | undefined): Used<View, Handle> {
  const client = useClient();
  if (options?.suspense === true) suspendUntilReady(client, handle);
  const view = useStore<View>(handle);
  const status = useStore(handle.status);
  useEffect(() => arrived(client, handle.address), [client, handle]);
  return useMemo(() => ({ view, status, handle }), [view, status, handle]);
}

/** A post by its address `space/id`. */
export function usePost(address: string, options?: DocumentOptions): Used<PostView, Post> {
  const client = useClient();
  return useHandle(useMemo(() => client.post(nameOf(address, "a post", "post")), [client, address]), options);
}

/** What a post's readers like, by its address `space/id`. */
export function useLikes(address: string, options?: DocumentOptions): Used<LikesView, Likes> {
  const client = useClient();
  return useHandle(useMemo(() => client.likes(nameOf(address, "a post with likes", "post", "likes")), [client, address]), options);
}

/** A post's comments, by its address `space/id`. */
export function useComments(address: string, options?: DocumentOptions): Used<CommentsView, Comments> {
  const client = useClient();
  return useHandle(useMemo(() => client.comments(nameOf(address, "a post with comments", "post", "comments")), [client, address]), options);
}

/** A schemaless document by its address `space/id`. What it holds is taken for a `T` unchecked. */
export function useDocument<T extends Json = Json>(address: string, options?: DocumentOptions): Used<T, JsonDocument> {
  const client = useClient();
  const used = useHandle(useMemo(() => client.document(nameOf(address, "a schemaless document", "json")), [client, address]), options);
  return used as Used<T, JsonDocument>;
}

/** How many of this user's steps can be undone and redone. */
export function useUndo(handle: DocumentHandle<unknown>) {
  const { undo: undoable, redo: redoable } = useStore(handle.undoable);
  const undo = useCallback(() => handle.undo(), [handle]);
  const redo = useCallback(() => handle.redo(), [handle]);
  return useMemo(() => ({ undoable, redoable, undo, redo }), [undoable, redoable, undo, redo]);
}
