/** Small things that change, in the shape of the public `Store`, and how a component reads one. */
import { useCallback, useMemo, useRef, useSyncExternalStore } from "react";
import type { Store } from "../types.js";

/** A store with one value that whoever holds it may replace. */
export interface Cell<T> extends Store<T> {
  set(value: T): void;
}

/** Makes a {@link Cell}. A server renders its first value. */
export function cell<T>(first: T): Cell<T> {
  let value = first;
  const listeners = new Set<() => void>();
  return {
    getSnapshot: () => value,
    getServerSnapshot: () => first,
    subscribe(listener) {
      // An own function for each call, so that one listener may be given twice.
      const told = () => listener();
      listeners.add(told);
      return () => void listeners.delete(told);
    },
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const told of [...listeners]) told();
    },
  };
}

const nothing = () => () => {};

/** A store that never changes. */
export function constant<T>(value: T): Store<T> {
  return { getSnapshot: () => value, getServerSnapshot: () => value, subscribe: nothing };
}

/** What a store shows; the component is drawn again when that changes. */
export function useStore<T>(store: Store<T>): T {
  const subscribe = useCallback((listener: () => void) => store.subscribe(listener), [store]);
  const snapshot = useCallback(() => store.getSnapshot(), [store]);
  const onServer = useCallback(() => store.getServerSnapshot(), [store]);
  return useSyncExternalStore(subscribe, snapshot, onServer);
}

/**
 * A part of what a store shows: the component is drawn again only when that part is another (`same`, by default
 * `Object.is`).
 */
export function useSelected<T, S>(store: Store<T>, select: (value: T) => S, same: (a: S, b: S) => boolean = Object.is): S {
  const last = useRef<{ readonly part: S } | undefined>(undefined);
  const selected = useMemo<Store<S>>(() => {
    const memo = (read: () => T) => {
      let seen: { readonly of: T; readonly part: S } | undefined;
      return () => {
        const of = read();
        if (seen !== undefined && Object.is(seen.of, of)) return seen.part;
        const before = seen ?? last.current;
        const fresh = select(of);
        const part = before !== undefined && same(before.part, fresh) ? before.part : fresh;
        seen = { of, part };
        last.current = seen;
        return part;
      };
    };
    return {
      getSnapshot: memo(() => store.getSnapshot()),
      getServerSnapshot: memo(() => store.getServerSnapshot()),
      subscribe: (listener) => store.subscribe(listener),
    };
  }, [store, select, same]);
  return useStore(selected);
}
