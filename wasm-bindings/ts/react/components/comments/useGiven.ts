/**
 * Commands about comments, with those that did not stand: rolled back by the server, or not even taken on by this
 * device, which knows the rules as it last heard them. Either way what was written is kept until it is dismissed.
 */
import { useCallback, useMemo, useState } from "react";
import type { Command, Comments, RefusedCommand } from "../../../types.js";
import { useRefused, type UsedRefused } from "../../hooks/useSyncStatus.js";

export interface UsedGiven extends Pick<UsedRefused, "refused" | "dismiss"> {
  give(command: Command): void;
  retry(one: RefusedCommand): void;
}

export function useGiven(handle: Comments): UsedGiven {
  const rolledBack = useRefused(handle.address);
  const [notTaken, setNotTaken] = useState<readonly RefusedCommand[]>([]);
  const forget = useCallback((id: string) => setNotTaken((all) => all.filter((one) => one.id !== id)), []);
  const give = useCallback((command: Command) => {
    const given = handle.command(command);
    given.then(undefined, ({ code, message }: { code: string; message: string }) => {
      setNotTaken((all) => [...all, { id: given.id, address: handle.address, command, resolution: { type: "refused", code, message } }]);
    });
  }, [handle]);
  const retry = useCallback((one: RefusedCommand) => {
    rolledBack.retry(one).then(() => forget(one.id), () => {});
  }, [rolledBack, forget]);
  const dismiss = useCallback((id: string) => {
    forget(id);
    rolledBack.dismiss(id);
  }, [rolledBack, forget]);
  const refused = useMemo(
    () => [...rolledBack.refused, ...notTaken.filter(({ address }) => address === handle.address)],
    [rolledBack.refused, notTaken, handle],
  );
  return useMemo(() => ({ refused, give, retry, dismiss }), [refused, give, retry, dismiss]);
}
