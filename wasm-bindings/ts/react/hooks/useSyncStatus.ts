/** What this device still has to send. */
import type { RefusedCommand, SyncStatus } from "../../types.js";
import { useCallback, useMemo } from "react";
import { documentAt, isAt } from "../address.js";
import { useClient } from "../context.js";
import { useStore } from "../store.js";

/** Pending commands, when something was confirmed last, whether all is in sync. */
export function useSyncStatus(): SyncStatus {
  return useStore(useClient().sync);
}

export interface UsedRefused {
  /** Commands that were rolled back, with their content, until they are dismissed. */
  readonly refused: readonly RefusedCommand[];
  dismiss(id: string): void;
  dismissAll(): void;
  /**
   * Gives the command once more, as a new one, and dismisses the old as soon as the new one is stored. If it is not
   * taken on, the old one stays, and the promise is rejected with the reason; nobody has to wait for it.
   */
  retry(refused: RefusedCommand): Promise<void>;
}

/** What was rolled back; `address` (`space/id`, or with its facet) leaves only one document's. */
export function useRefused(address?: string): UsedRefused {
  const client = useClient();
  const all = useStore(client.refused);
  const mine = useCallback(
    // Of `space/id` all facets are meant.
    (one: RefusedCommand) => address === undefined || isAt(one.address, address),
    [address],
  );
  const refused = useMemo(() => (address === undefined ? all : all.filter(mine)), [all, address, mine]);
  const dismiss = useCallback((id: string) => client.dismiss(id), [client]);
  const dismissAll = useCallback(() => client.refused.getSnapshot().filter(mine).forEach(({ id }) => client.dismiss(id)), [client, mine]);
  const retry = useCallback((one: RefusedCommand) => {
    const dismissed = documentAt(client, one.address).command(again(one.command)).stored.then(() => client.dismiss(one.id));
    dismissed.catch(() => {});
    return dismissed;
  }, [client]);
  return useMemo(() => ({ refused, dismiss, dismissAll, retry }), [refused, dismiss, dismissAll, retry]);
}

/** A comment's id is used once, so one that is added again gets a new one. */
function again(command: RefusedCommand["command"]): RefusedCommand["command"] {
  const add = (command as { comments?: { add?: Record<string, unknown> } }).comments?.add;
  if (add === undefined) return command;
  const { id: _used, created: _then, ...rest } = add;
  return { comments: { add: rest } };
}
