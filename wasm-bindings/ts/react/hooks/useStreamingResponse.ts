/** A text that somebody, mostly a program, is writing this moment. */
import { useCallback, useEffect, useMemo, useState } from "react";
import type { Store, StreamReader, StreamView } from "../../types.js";
import { nameOf } from "../address.js";
import { useClient } from "../context.js";
import { constant, useStore } from "../store.js";

export interface UsedStream {
  readonly content: string;
  readonly phase: StreamView["phase"];
  /** Whether more may come: it streams, or stalls until its writer is back. */
  readonly isStreaming: boolean;
  /** Whether this user has asked for it to stop and it has not stopped yet. */
  readonly isInterrupting: boolean;
  readonly view: StreamView;
  /** Asks whoever writes it to stop; resolves when that is stored. */
  interrupt(): Promise<void>;
  /** After reading failed: reads on from where it is. */
  resume(): void;
}

const waiting: Store<StreamView> = constant<StreamView>({ phase: "waiting", text: "" });

/** Reads a stream by its address `space/id`; `null` while there is none. */
export function useStreamingResponse(address: string | null): UsedStream {
  const client = useClient();
  const reader = useMemo(() => (address === null ? undefined : client.stream(nameOf(address, "a stream", "stream"))), [client, address]);
  const view = useStore<StreamView>(reader ?? waiting);
  const [asked, setAsked] = useState<StreamReader | undefined>(undefined);
  const interrupt = useCallback(async () => {
    if (reader === undefined) return;
    setAsked(reader);
    try {
      await reader.interrupt();
    } catch (error) {
      setAsked(undefined);
      throw error;
    }
  }, [reader]);
  const resume = useCallback(() => reader?.resume(), [reader]);
  const isStreaming = reader !== undefined && (view.phase === "streaming" || view.phase === "stalled" || view.phase === "interrupted");
  const isInterrupting = isStreaming && (view.phase === "interrupted" || asked === reader);
  useEffect(() => { if (!isStreaming) setAsked(undefined); }, [isStreaming]);
  return useMemo(
    () => ({ content: view.text, phase: view.phase, isStreaming, isInterrupting, view, interrupt, resume }),
    [view, isStreaming, isInterrupting, interrupt, resume],
  );
}
