// Yjs: a shared text, a shared list of shared maps.
import { IndexeddbPersistence } from "y-indexeddb";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

const ROOM = "bench";

export async function create({ server, title, body }) {
  const doc = new Y.Doc();
  const provider = new WebsocketProvider(server, ROOM, doc);
  await synced(provider);
  doc.transact(() => {
    doc.getMap("post").set("title", title);
    doc.getText("body").insert(0, body);
  });
  return { address: ROOM, leave: () => provider.destroy() };
}

export async function open({ server, user, address, disk, connected }, view, changed) {
  const doc = new Y.Doc();
  const persistence = disk ? new IndexeddbPersistence(address, doc) : undefined;
  const provider = new WebsocketProvider(server, address, doc, { connect: connected });
  await persistence?.whenSynced;
  if (connected) await synced(provider);
  const post = doc.getMap("post");
  const text = doc.getText("body");
  const comments = doc.getArray("comments");
  post.observe(() => view.title(post.get("title")));
  text.observe(({ delta }, { local }) => {
    if (local) return;
    let at = 0;
    for (const { retain, insert, delete: deleted } of delta) {
      if (retain !== undefined) at += retain;
      if (deleted !== undefined) view.splice(at, deleted, "");
      if (insert !== undefined) {
        view.splice(at, 0, insert);
        at += insert.length;
      }
    }
    changed.text();
  });
  comments.observeDeep((events) => {
    for (const event of events) {
      if (event.target !== comments) {
        view.replace(event.path[0], event.target.toJSON());
        continue;
      }
      let at = 0;
      for (const { retain, insert, delete: deleted } of event.delta) {
        if (retain !== undefined) at += retain;
        for (let left = deleted ?? 0; left > 0; left--) view.remove(at);
        for (const comment of insert ?? []) view.insert(at++, comment.toJSON());
      }
    }
    changed.comments();
  });
  return {
    title: () => post.get("title"),
    body: () => text.toString(),
    length: () => text.length,
    comments: () => comments.toJSON(),
    edit(index, deleted, inserted) {
      doc.transact(() => {
        if (deleted > 0) text.delete(index, deleted);
        if (inserted !== "") text.insert(index, inserted);
      });
    },
    add: (body) => comments.push([
      new Y.Map(Object.entries({ id: crypto.randomUUID(), author: user, created: Date.now(), body })),
    ]),
    connect: () => provider.connect(),
    // The server acknowledges nothing: this is as much as can be known here.
    isSettled: () => provider.synced && provider.ws?.bufferedAmount === 0,
    // Transactions of IndexedDB end in the order in which they began.
    async stored() {
      if (persistence === undefined) return;
      await new Promise((resolve, reject) => {
        const transaction = persistence.db.transaction("updates", "readwrite");
        transaction.oncomplete = resolve;
        transaction.onabort = reject;
      });
    },
    async leave() {
      provider.destroy();
      await persistence?.destroy();
    },
  };
}

function synced(provider) {
  return new Promise((resolve) => {
    if (provider.synced) return resolve();
    provider.on("sync", (is) => {
      if (is) resolve();
    });
  });
}
