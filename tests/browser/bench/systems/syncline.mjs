// Syncline: a post, its comments, and a binding for the text.
import { createClient } from "syncline";

function client({ server, user, disk, connected = true }) {
  return createClient({
    url: server, user, name: "bench", storage: disk ? "indexeddb" : "memory", online: connected, wasm: "/syncline.wasm",
  });
}

export async function create({ server, user, title, body, editors }) {
  const author = client({ server, user });
  const post = author.post("town/bench");
  await post.create({ title, body });
  for (const editor of editors) await post.addEditor(editor);
  return { address: "town/bench", leave: () => author.close() };
}

export async function open(options, view, changed) {
  const { address, connected } = options;
  const reader = client(options);
  const post = reader.post(address);
  const comments = reader.comments(address);
  let shown;
  post.subscribe(() => view.title(post.getSnapshot().title));
  comments.subscribe(() => {
    if (shown === undefined) return;
    const { thread } = comments.getSnapshot();
    follow(shown, thread, view);
    shown = thread;
    changed.comments();
  });
  await Promise.all([post.ready, comments.ready]);
  if (connected) await Promise.all([live(post), live(comments)]);
  const text = post.text("body");
  text.onSplices((splices) => {
    if (shown === undefined) return;
    for (const { index, deleted, inserted } of splices) view.splice(index, deleted, inserted);
    changed.text();
  });
  return {
    title: () => post.getSnapshot().title,
    body: () => text.text,
    length: () => text.text.length,
    comments: () => (shown = comments.getSnapshot().thread),
    edit: (index, deleted, inserted) => text.splice(index, deleted, inserted),
    add: (body) => void comments.add(body),
    connect: () => reader.connect(),
    isSettled: () => reader.sync.getSnapshot().synced,
    // Own changes that are in sync are stored; for what others made `leave` waits.
    stored: async () => {},
    leave: () => reader.close(),
  };
}

function live({ status }) {
  return new Promise((resolve) => {
    const stop = status.subscribe(look);
    function look() {
      if (!status.getSnapshot().live) return;
      stop?.();
      resolve();
    }
    look();
  });
}

/** Brings the view from one thread to the next: what did not change is the same object in both. */
function follow(old, now, view) {
  let head = 0;
  for (; head < old.length && old[head].id === now[head]?.id; head++) {
    if (old[head] !== now[head]) view.replace(head, now[head]);
  }
  let tail = 0;
  for (; tail < Math.min(old.length, now.length) - head && old.at(-1 - tail).id === now.at(-1 - tail).id; tail++) {
    if (old.at(-1 - tail) !== now.at(-1 - tail)) view.replace(old.length - 1 - tail, now.at(-1 - tail));
  }
  for (let at = old.length - tail - 1; at >= head; at--) view.remove(at);
  for (let at = head; at < now.length - tail; at++) view.insert(at, now[at]);
}
