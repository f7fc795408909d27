/** Structural sharing: of a new value, everything that equals the old one is the old one. */

/**
 * Answers a value that equals `next` and in which every part that equals the same part of `old` is that
 * object. Elements of lists that have an `id` are compared by it, others by their place. Only plain JSON.
 */
export function share<T>(old: unknown, next: T): T {
  if (Object.is(old, next)) return next;
  if (typeof old !== "object" || typeof next !== "object" || old === null || next === null) return next;
  if (Array.isArray(old) !== Array.isArray(next)) return next;
  return (Array.isArray(next) ? shareList(old as unknown[], next) : shareMap(old as Map_, next as Map_)) as T;
}

type Map_ = Record<string, unknown>;

function shareList(old: unknown[], next: unknown[]): unknown[] {
  let same = old.length === next.length;
  const byId = same && old.every((item, at) => idOf(item) === idOf(next[at])) ? undefined : index(old);
  const list = next.map((item, at) => {
    const id = idOf(item);
    const shared = share(id !== undefined && byId ? byId.get(id) : old[at], item);
    same &&= Object.is(shared, old[at]);
    return shared;
  });
  return same ? old : list;
}

function index(list: unknown[]): Map<string, unknown> {
  const byId = new Map<string, unknown>();
  for (const item of list) {
    const id = idOf(item);
    if (id !== undefined) byId.set(id, item);
  }
  return byId;
}

function idOf(item: unknown): string | undefined {
  if (typeof item !== "object" || item === null) return undefined;
  const id = (item as { id?: unknown }).id;
  return typeof id === "string" ? id : undefined;
}

function shareMap(old: Map_, next: Map_): Map_ {
  const keys = Object.keys(next);
  let same = Object.keys(old).length === keys.length;
  const map: Map_ = {};
  for (const key of keys) {
    const shared = share(Object.hasOwn(old, key) ? old[key] : undefined, next[key]);
    same &&= Object.hasOwn(old, key) && Object.is(shared, old[key]);
    // A key such as `__proto__` is data here.
    if (key === "__proto__") Object.defineProperty(map, key, { value: shared, enumerable: true });
    else map[key] = shared;
  }
  return same ? old : map;
}
