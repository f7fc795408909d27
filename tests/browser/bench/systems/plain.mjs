// No system at all, as the floor: the same page from one record in IndexedDB, which nobody else changes.
import { comment } from "../page/content.mjs";

export async function create({ title, body }) {
  // Everything is in the address, which the first visit stores.
  return { address: JSON.stringify({ title, body }), leave: async () => {} };
}

export async function open({ user, address, disk }, view, changed) {
  const database = disk ? await opened() : undefined;
  const record = (database && await load(database)) ?? { ...JSON.parse(address), comments: [] };
  return {
    title: () => record.title,
    body: () => record.body,
    length: () => record.body.length,
    comments: () => record.comments,
    edit(index, deleted, inserted) {
      record.body = record.body.slice(0, index) + inserted + record.body.slice(index + deleted);
    },
    add(body) {
      record.comments.push({ id: crypto.randomUUID(), author: user, created: Date.now(), body });
    },
    connect() {},
    isSettled: () => true,
    stored: async () => {
      if (database) await done(database.transaction("posts", "readwrite").objectStore("posts").put(record, "post"));
    },
    leave: async () => database?.close(),
    /** Nobody else writes: the first visit makes the comments itself. */
    fill(count, authors) {
      for (let number = 0; number < count; number++) {
        record.comments.push({
          id: crypto.randomUUID(), author: `author${Math.floor((number / count) * authors)}`, created: Date.now(), body: comment(number),
        });
      }
    },
  };
}

function opened() {
  const request = indexedDB.open("bench", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("posts");
  return done(request);
}

function load(database) {
  return done(database.transaction("posts").objectStore("posts").get("post"));
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
