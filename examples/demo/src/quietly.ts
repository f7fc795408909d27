/** For commands that nobody waits for: how they end is shown by the toasts, for all of them alike. */
export function quietly(pending: PromiseLike<unknown>): void {
  pending.then(undefined, () => undefined);
}
