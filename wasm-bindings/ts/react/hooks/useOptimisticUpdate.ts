/** One command of a component, from the moment it is shown to the moment it stands or is taken back. */
import { useCallback, useMemo, useState } from "react";
import type { Pending, Resolution, SynclineErrorLike } from "../../types.js";
import { useClient } from "../context.js";
import { useIsomorphicLayoutEffect } from "../layout.js";
import { cell, useStore } from "../store.js";

export type UpdatePhase = "idle" | "pending" | "confirmed" | "rolled_back";

export interface Update {
  readonly phase: UpdatePhase;
  /** The command's name, once it has one. */
  readonly id?: string;
  readonly resolution?: Resolution;
  /** Why it was rolled back: a code of the server's, `no_effect`, `superseded`, or an error's code. */
  readonly code?: string;
  readonly message?: string;
}

export interface UsedUpdate<Args extends readonly unknown[]> extends Update {
  /** Carries the command out; what is shown changes at once. */
  run(...args: Args): void;
  /** After a rollback: the same once more. */
  retry(): void;
  /** Forgets the end of it, also in the list of what was refused. */
  dismiss(): void;
}

const idle: Update = { phase: "idle" };

/** Runs a command such as `() => post.addTag("x")` and follows the newest one that was run. */
export function useOptimisticUpdate<Args extends readonly unknown[]>(command: (...args: Args) => Pending): UsedUpdate<Args> {
  const client = useClient();
  const [run] = useState(() => newRun<Args>());
  // After each drawing, and before any effect runs it: what is run is the command of what the user sees.
  useIsomorphicLayoutEffect(() => { run.command = command; });
  const update = useStore(run.update);
  const dismiss = useCallback(() => {
    const { id, phase } = run.update.getSnapshot();
    if (phase === "rolled_back" && id !== undefined) client.dismiss(id);
    run.forget();
  }, [client, run]);
  const retry = useCallback(() => {
    const args = run.args;
    if (args === undefined || run.update.getSnapshot().phase !== "rolled_back") return;
    dismiss();
    run.start(args);
  }, [run, dismiss]);
  const start = useCallback((...args: Args) => run.start(args), [run]);
  return useMemo(() => ({ ...update, run: start, retry, dismiss }), [update, start, retry, dismiss]);
}

function newRun<Args extends readonly unknown[]>() {
  const update = cell<Update>(idle);
  let newest = 0;
  const run = {
    update,
    command: undefined as ((...args: Args) => Pending) | undefined,
    args: undefined as Args | undefined,
    forget() {
      newest += 1;
      update.set(idle);
    },
    start(args: Args) {
      const number = (newest += 1);
      const end = (change: Update) => { if (number === newest) update.set(change); };
      run.args = args;
      let pending: Pending;
      try {
        if (run.command === undefined) throw new Error("the component is not shown yet");
        pending = run.command(...args);
      } catch (error) {
        end(failed(error));
        return;
      }
      const { id } = pending;
      update.set({ phase: "pending", id });
      pending.then((resolution) => end(ended(id, resolution)), (error: unknown) => end({ ...failed(error), id }));
    },
  };
  return run;
}

function ended(id: string, resolution: Resolution): Update {
  switch (resolution.type) {
    case "confirmed": return { phase: "confirmed", id, resolution };
    case "refused": return { phase: "rolled_back", id, resolution, code: resolution.code, message: resolution.message };
    case "no_effect": case "superseded": return { phase: "rolled_back", id, resolution, code: resolution.type };
  }
}

function failed(error: unknown): Update {
  const { code, message } = error as Partial<SynclineErrorLike>;
  return { phase: "rolled_back", code: code ?? "error", message: message ?? String(error) };
}
