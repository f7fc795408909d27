// Who is in the gallery: clients of one page, each as apart from the others as if it were another device.
import { createClient } from "syncline";

const asked = new URLSearchParams(location.search);
const server = asked.get("server");
/** In a view of tabs they share a store and a connection, as an app's tabs do. */
const apart = asked.get("view") === "tab" ? {} : { storage: "memory", shareTabs: false };
const people = new Map();

/** Somebody's client, the same each time. */
export function person(user) {
  if (!people.has(user)) people.set(user, createClient({ url: server, user, ...apart }));
  return people.get(user);
}

/** Waits until a store shows what is wanted. */
export function until(store, wanted) {
  return new Promise((resolve) => {
    const look = () => {
      if (!wanted(store.getSnapshot())) return;
      queueMicrotask(() => stop());
      resolve(store.getSnapshot());
    };
    const stop = store.subscribe(look);
    look();
  });
}

/** A client of which some stores are told by hand: for what can't be kept standing, such as an attempt that lasts. */
export function told(client, stores) {
  const constant = (value) => ({ getSnapshot: () => value, getServerSnapshot: () => value, subscribe: () => () => {} });
  const own = new Map(Object.entries(stores).map(([name, value]) => [name, constant(value)]));
  return new Proxy(client, {
    get(target, name) {
      if (own.has(name)) return own.get(name);
      const value = target[name];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

globalThis.person = person;
globalThis.until = until;
