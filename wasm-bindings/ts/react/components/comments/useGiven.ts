/**
 * Commands about comments, with those that did not stand: rolled back by the server, or not even taken on by this
 * device, which knows the rules as it last heard them. Either way what was written is kept until it is dismissed.
 */
import { useCallback, useMemo } from "react";
import type { Client, Command, Comments, RefusedCommand } from "../../../types.js";
import { useClient } from "../../context.js";
import { useRefused, type UsedRefused } from "../../hooks/useSyncStatus.js";
import { cell, useStore, type Cell } from "../../store.js";

export interface UsedGiven extends Pick<UsedRefused, "refused" | "dismiss"> {
  give(command: Command): void;
  retry(one: RefusedCommand): void;
}

/** The oldest go first: a page that goes on for hours without its store must not grow for ever. */
const NOT_TAKEN_MAX = 100;

interface NotTaken {
  readonly commands: readonly RefusedCommand[];
  /** Why trying again did not help, by the names of commands that the server rolled back. */
  readonly again: Readonly<Record<string, RefusedCommand["resolution"]>>;
}

/** A client's, and no component's: what was written outlives the component that it was written in. */
const cells = new WeakMap<Client, Cell<NotTaken>>();

function notTakenBy(client: Client): Cell<NotTaken> {
  let known = cells.get(client);
  if (known === undefined) cells.set(client, (known = cell<NotTaken>({ commands: [], again: {} })));
  return known;
}

export function useGiven(handle: Comments): UsedGiven {
  const client = useClient();
  const { refused: rolledBack, dismiss: dismissRefused, retry: retryRefused } = useRefused(handle.address);
  const kept = notTakenBy(client);
  const { commands, again } = useStore(kept);
  const forget = useCallback((id: string) => {
    const { commands, again: { [id]: _forgotten, ...again } } = kept.getSnapshot();
    kept.set({ commands: commands.filter((one) => one.id !== id), again });
  }, [kept]);
  const give = useCallback((command: Command) => {
    const { address } = handle;
    const given = handle.command(command);
    given.then(undefined, (error: { code: string; message: string }) => {
      const { commands, again } = kept.getSnapshot();
      kept.set({ commands: [...commands, { id: given.id, address, command, resolution: refusal(error) }].slice(-NOT_TAKEN_MAX), again });
    });
  }, [handle, kept]);
  const retry = useCallback((one: RefusedCommand) => {
    retryRefused(one).then(() => forget(one.id), (error: { code: string; message: string }) => {
      const { commands, again } = kept.getSnapshot();
      kept.set({ commands, again: { ...again, [one.id]: refusal(error) } });
    });
  }, [retryRefused, forget, kept]);
  const dismiss = useCallback((id: string) => {
    forget(id);
    dismissRefused(id);
  }, [dismissRefused, forget]);
  const refused = useMemo(() => [...rolledBack, ...commands.filter(({ address }) => address === handle.address)].map((one) => {
    const resolution = again[one.id];
    return resolution === undefined ? one : { ...one, resolution };
  }), [rolledBack, commands, again, handle]);
  return useMemo(() => ({ refused, give, retry, dismiss }), [refused, give, retry, dismiss]);
}

function refusal({ code, message }: { code: string; message: string }): RefusedCommand["resolution"] {
  return { type: "refused", code, message };
}
