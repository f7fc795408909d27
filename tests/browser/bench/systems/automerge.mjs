// automerge-repo: one document, of which the body is a text and everything in a comment a plain value, as in Syncline.
import { ImmutableString, splice } from "@automerge/automerge/slim";
import { WebSocketClientAdapter } from "@automerge/automerge-repo-network-websocket";
import { IndexedDBStorageAdapter } from "@automerge/automerge-repo-storage-indexeddb";
import { Repo, initializeWasm } from "@automerge/automerge-repo/slim";

let wasm;

async function repo({ server, disk, connected = true }) {
  await (wasm ??= initializeWasm(fetch("/automerge.wasm")));
  return new Repo({
    storage: disk ? new IndexedDBStorageAdapter("bench") : undefined,
    network: connected ? [new WebSocketClientAdapter(server)] : [],
  });
}

export async function create({ server, title, body }) {
  const author = await repo({ server });
  const handle = author.create({ title: new ImmutableString(title), body, comments: [] });
  // Who asks a server for what it does not have yet is told that there is no such document.
  await new Promise((resolve) => {
    const look = setInterval(() => {
      if (!isSettled(author, handle)) return;
      clearInterval(look);
      resolve();
    }, 10);
  });
  return { address: handle.url, leave: () => author.shutdown() };
}

export async function open(options, view, changed) {
  const { server, user, address } = options;
  const reader = await repo(options);
  const handle = await reader.find(address);
  let mine = false;
  handle.on("change", ({ doc, patches }) => {
    let texts = false;
    /** Rows that are filled once all patches were walked through, in the order of the list. */
    const touched = new Set();
    for (const patch of patches) {
      const [field, index] = patch.path;
      if (field === "title") view.title(doc.title.val);
      if (field === "body" && !mine) {
        texts = true;
        if (patch.action === "splice") view.splice(index, 0, patch.value);
        if (patch.action === "del") view.splice(index, patch.length ?? 1, "");
      }
      if (field !== "comments") continue;
      if (patch.action === "insert" && patch.path.length === 2) {
        patch.values.forEach((_, at) => view.insert(index + at, { author: "", created: 0, body: "" }));
      } else if (patch.action === "del" && patch.path.length === 2) {
        for (let left = patch.length ?? 1; left > 0; left--) view.remove(index);
      } else {
        touched.add(index);
      }
    }
    for (const index of touched) view.replace(index, plain(doc.comments[index]));
    if (texts) changed.text();
    if (touched.size > 0) changed.comments();
  });
  return {
    title: () => handle.doc().title.val,
    body: () => handle.doc().body,
    length: () => handle.doc().body.length,
    comments: () => handle.doc().comments.map(plain),
    edit(index, deleted, inserted) {
      mine = true;
      handle.change((doc) => splice(doc, ["body"], index, deleted, inserted));
      mine = false;
    },
    add: (body) => handle.change(({ comments }) => comments.push({
      id: new ImmutableString(crypto.randomUUID()), author: new ImmutableString(user), created: Date.now(), body: new ImmutableString(body),
    })),
    connect: () => reader.networkSubsystem.addNetworkAdapter(new WebSocketClientAdapter(server)),
    isSettled: () => isSettled(reader, handle),
    stored: () => (options.disk ? reader.flush() : Promise.resolve()),
    leave: () => reader.shutdown(),
  };
}

/** Whether the server has said that it has all that is here. */
function isSettled(repo, handle) {
  const ours = [...handle.heads()].sort().join();
  return repo.peers.some((peer) => {
    const info = handle.getSyncInfo(repo.getStorageIdOfPeer(peer));
    return info !== undefined && [...info.lastHeads].sort().join() === ours;
  });
}

function plain({ author, created, body }) {
  return { author: author.val, created, body: body.val };
}
