// What is going on in the gallery: a post with everything at it that a component can show. Done by real clients, so that
// it comes about as it does in an app.
import { person, until } from "./people.js";

export const SPACE = "town";
export const POST = `${SPACE}/garden`;
export const LONG = "There is a yard behind the library, with walls on three sides and sun from nine to four. The council gives it to us for one summer. ";

/** Leaves, as if the line was cut; answers once that is known. */
async function leave(client) {
  client.disconnect();
  await until(client.connection, ({ phase }) => phase === "idle");
}

async function discussion() {
  const [ada, bob] = [person("ada"), person("bob")];
  await ada.post(POST).create({ title: "A garden behind the library", body: `${LONG}Who has time on Saturdays?` });
  await ada.post(POST).addEditor("bob");
  await ada.post(`${SPACE}/edge`).create({ title: "Lines that are full", body: LONG.repeat(3) });
  const add = async (who, body, parent) => {
    const id = who.newId();
    await who.comments(POST).add(body, parent === undefined ? { id } : { id, parent });
    return id;
  };
  const question = await add(bob, "Saturdays are fine. What about water?");
  await until(ada.comments(POST), ({ count }) => count === 1);
  const answer = await add(ada, "The library lets us use theirs.", question);
  await until(bob.comments(POST), ({ count }) => count === 2);
  await add(bob, "Then I bring the hose.", answer);
  const mistake = await add(ada, "Wrong thread, sorry.");
  await until(bob.comments(POST), ({ count }) => count === 4);
  await add(bob, "No harm done.", mistake);
  await ada.comments(POST).edit(answer, "The library lets us use theirs, and has a tap outside.");
  await ada.comments(POST).delete(mistake);
  await Promise.all([ada, bob].map((who) => who.likes(POST).like()));
  await Promise.all([bob.likes(POST).like("post", "🎉"), bob.likes(POST).like(question)]);
}

/** Kim, who may write no more since she is offline, and does not know it: refused when she comes back. */
async function refusals() {
  const [owner, kim] = [person("owner"), person("kim")];
  const comments = kim.comments(POST);
  const own = kim.newId();
  await comments.add("I can bring tomatoes.", { id: own });
  await comments.add("And basil.", { id: kim.newId() });
  const stay = [comments, kim.post(POST)].map((one) => one.subscribe(() => {}));
  await leave(kim);
  await Promise.all([comments.edit(own, "I can bring tomatoes and beans.").stored, comments.add("And who waters them in August?").stored]);
  await owner.document(`${SPACE}/rules`).put(["members", "kim"], "viewer");
  kim.connect();
  await until(kim.refused, ({ length }) => length === 2);
  stay.forEach((stop) => stop());
}

/** Lou, who writes offline. */
async function unsent() {
  const lou = person("lou");
  const comments = lou.comments(POST);
  await until(comments, ({ count }) => count >= 4);
  const stay = comments.subscribe(() => {});
  await leave(lou);
  await Promise.all([comments.add("Written in a tunnel.").stored, comments.add("And another one.").stored]);
  stay();
}

async function answers() {
  const bob = person("bob");
  const write = async (id, text) => {
    const writer = await bob.createStream(`${SPACE}/${id}`, { askedBy: "ada" });
    await writer.append(text);
    return writer;
  };
  globalThis.writer = await bob.createStream(`${SPACE}/scrolling`, { askedBy: "ada" });
  await write("streaming", "Beans want sun and something to climb");
  await (await write("finished", "Beans want sun and something to climb on.")).finish();
  await (await write("failed", "Beans want")).fail("the model is out of breath");
  const stopped = await write("stopped", "Beans want sun, and while we are at it, let me tell you about the history of");
  await person("ada").stream(`${SPACE}/stopped`).interrupt();
  await stopped.interrupted;
  await stopped.finish();
}

/** A space that only its owner may read. */
async function locked() {
  const owner = person("owner");
  await owner.document("locked/rules").put(["private"], true);
  await (await owner.createStream("locked/answer")).append("For my eyes only.");
}

/** Who is about: bob types and has his caret in the text, eve has marked a word. */
async function presence() {
  const names = ["bob", "eve", "gil"];
  for (const name of names) {
    const who = person(name);
    who.space(SPACE).enter();
    await until(who.space(SPACE), ({ phase }) => phase === "inside");
    await until(who.post(POST), ({ body }) => body.startsWith(LONG));
  }
  const [bob, eve, gil] = names.map(person);
  eve.post(POST).select("body", { anchor: 11, head: 15 });
  bob.post(POST).select("body", { anchor: LONG.length, head: LONG.length });
  const type = () => {
    bob.space(SPACE).setTyping(`${POST}/comments`, true);
    for (const one of [eve, gil]) one.space(SPACE).setTyping(`${POST}/post`, true);
  };
  type();
  // It lapses by itself.
  setInterval(type, 1_000);
}

/** Makes everything of it; answers when all is there. */
export async function settle() {
  await discussion();
  await Promise.all([refusals(), unsent(), answers(), locked()]);
  await presence();
}
