// @vitest-environment jsdom
/** The components, as users meet them: by roles, names and keys. */

import { act, fireEvent, screen, waitFor, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";

import {
  CollaborativeText, ConnectionStatus, LikeButton, ParticipantsList, RealTimeComments, RefusalToasts, StreamingResponse,
  TypingIndicators,
} from "../../ts/react/index.js";
import { until } from "../support/clients.js";
import { newSpace, person, show, useServer } from "./support.js";

useServer();

const write = (field: HTMLElement, value: string) => act(() => { fireEvent.change(field, { target: { value } }); });
const click = (element: HTMLElement) => act(() => { fireEvent.click(element); });

test("the connection is told in words, with what waits to be sent, and can be ended and begun", async () => {
  const ada = person("ada");
  const at = `${newSpace()}/one`;
  show(ada, <><ConnectionStatus /><ConnectionStatus variant="detailed" labels={{ region: "Details", connect: "Los" }} /></>);
  const details = within(screen.getByRole("region", { name: "Details" }));
  await waitFor(() => expect(details.getByRole("status").textContent).toBe("Connected"));
  click(details.getByRole("button", { name: "Go offline" }));
  await waitFor(() => expect(details.getByRole("status").textContent).toBe("Not connected"));
  act(() => void ada.post(at).create({ title: "A" }));
  await screen.findByText("1 unsent");
  click(details.getByRole("button", { name: "Los" }));
  await waitFor(() => expect(details.getByRole("status").textContent).toBe("Connected"));
  await waitFor(() => expect(screen.queryByText("1 unsent")).toBeNull());
});

describe("comments", () => {
  test("are written, answered, edited and deleted by keyboard, and seen by others", async () => {
    const [ada, bob] = [person("ada"), person("bob")];
    const at = `${newSpace()}/one`;
    show(ada, <RealTimeComments address={at} />);
    await screen.findByRole("heading", { name: "0 comments" });
    const field = screen.getByRole("textbox", { name: "Write a comment" });
    write(field, "First");
    act(() => { fireEvent.keyDown(field, { key: "Enter", ctrlKey: true }); });
    const first = await screen.findByRole("article", { name: "Comment by ada" });
    expect(within(first).getByText("First")).toBeTruthy();
    const { thread } = await until(bob.comments(at), ({ count }) => count === 1);

    await act(() => bob.comments(at).add("Answer", { parent: thread[0]!.id }));
    const answer = await screen.findByRole("article", { name: "Reply by bob to ada" });
    expect(within(answer).queryByRole("button", { name: "Edit" }), "not hers").toBeNull();
    await screen.findByText("bob commented: Answer");

    click(within(answer).getByRole("button", { name: "Reply" }));
    const reply = screen.getByRole("textbox", { name: "Reply to bob" });
    expect(document.activeElement).toBe(reply);
    act(() => { fireEvent.keyDown(reply, { key: "Escape" }); });
    expect(document.activeElement).toBe(within(answer).getByRole("button", { name: "Reply" }));

    click(within(first).getByRole("button", { name: "Edit" }));
    write(screen.getByRole("textbox", { name: "Edit your comment" }), "Edited");
    click(screen.getByRole("button", { name: "Save" }));
    await until(bob.comments(at), ({ thread }) => thread[0]?.body === "Edited");
    await within(first).findByText("edited");

    click(within(first).getByRole("button", { name: "Delete" }));
    click(within(first).getByRole("button", { name: "Delete" }));
    await screen.findByText("This comment was deleted.");
    expect(screen.getByRole("heading", { name: "1 comment" })).toBeTruthy();
  });

  test("are liked one by one", async () => {
    const [ada, bob] = [person("ada"), person("bob")];
    const at = `${newSpace()}/one`;
    await until(bob.comments(at).status, ({ live }) => live);
    const id = bob.newId();
    await bob.comments(at).add("First", { id });
    show(ada, <RealTimeComments address={at} />);
    const comment = within(await screen.findByRole("article", { name: "Comment by bob" }));
    await until(ada.likes(at).status, ({ live }) => live);
    click(comment.getByRole("button", { name: /^Like/ }));
    await comment.findByRole("button", { name: "Like, 1 person", pressed: true });
    await until(bob.likes(at), ({ targets }) => targets[id]?.["like"]?.count === 1);
    click(comment.getByRole("button", { name: "Like, 1 person" }));
    await until(bob.likes(at), ({ targets }) => targets[id] === undefined);
  });

  test("say who types, and what is not sent yet", async () => {
    const [ada, bob] = [person("ada"), person("bob")];
    const space = newSpace();
    const at = `${space}/one`;
    show(ada, <><RealTimeComments address={at} /><TypingIndicators address={`${at}/post`} /><ParticipantsList space={space} /></>);
    const leave = bob.space(space).enter();
    await screen.findByText("2 people here");
    await until(bob.space(space), ({ phase }) => phase === "inside");
    bob.space(space).setTyping(`${at}/comments`, true);
    await screen.findByText("bob is typing");
    expect(screen.getByText("typing")).toBeTruthy();
    leave();
    await screen.findByText("1 person here");
    await until(ada.comments(at).status, ({ live }) => live);
    act(() => ada.disconnect());
    await until(ada.connection, ({ phase }) => phase === "idle");
    const field = screen.getByRole("textbox", { name: "Write a comment" });
    write(field, "Offline");
    click(screen.getByRole("button", { name: "Comment" }));
    expect(await screen.findByText("Sent when you are online")).toBeTruthy();
    act(() => ada.connect());
    await waitFor(() => expect(screen.queryByText("Sent when you are online")).toBeNull());
  });
});

test("a like is a toggle, and the picker is a toolbar of more of them", async () => {
  const [ada, bob] = [person("ada"), person("bob")];
  const at = `${newSpace()}/one`;
  show(ada, <LikeButton address={at} />);
  await until(ada.likes(at).status, ({ live }) => live);
  const like = () => screen.getByRole("button", { name: /^Like/ });
  click(like());
  await waitFor(() => expect(like().getAttribute("aria-pressed")).toBe("true"));
  await until(bob.likes(at), ({ targets }) => targets["post"]?.["like"]?.count === 1);
  await act(() => bob.likes(at).like("post", "🎉"));
  await screen.findByRole("button", { name: "🎉, 1 person" });
  const add = screen.getByRole("button", { name: "Add a reaction" });
  click(add);
  const toolbar = screen.getByRole("toolbar", { name: "Choose a reaction" });
  const [first, second] = within(toolbar).getAllByRole("button");
  expect(document.activeElement).toBe(first);
  act(() => { fireEvent.keyDown(first!, { key: "ArrowRight" }); });
  expect(document.activeElement).toBe(second);
  act(() => { fireEvent.keyDown(second!, { key: "Escape" }); });
  expect([screen.queryByRole("toolbar"), document.activeElement]).toEqual([null, add]);
  click(add);
  click(screen.getByRole("button", { name: "Love" }));
  await until(bob.likes(at), ({ targets }) => targets["post"]?.["love"]?.count === 1);
});

test("a stream is shown as it grows and can be stopped", async () => {
  const [ada, bob] = [person("ada"), person("bob")];
  const at = `${newSpace()}/answer`;
  const writer = await bob.createStream(at, { askedBy: "ada" });
  show(ada, <StreamingResponse address={at}>{(text) => <em>{text}</em>}</StreamingResponse>);
  await writer.append("Once upon");
  await screen.findByText("Once upon");
  click(screen.getByRole("button", { name: "Stop" }));
  expect(await writer.interrupted).toBe("ada");
  await writer.finish();
  await waitFor(() => expect(screen.queryByRole("button", { name: "Stop" })).toBeNull());
  await screen.findByText("Stopped by ada");
});

describe("a text that several write", () => {
  test("shows others’ edits and carets, keeps the caret, and undoes only what is one’s own", async () => {
    const [ada, bob] = [person("ada"), person("bob")];
    const space = newSpace();
    const at = `${space}/one`;
    await until(ada.post(at).status, ({ live }) => live);
    await ada.post(at).create({ title: "T", body: "hello world" });
    await ada.post(at).addEditor("bob");
    const page = show(ada, <CollaborativeText address={at} field="body" label="Body" />);
    const field = screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Body" });
    await waitFor(() => expect([field.value, field.readOnly]).toEqual(["hello world", false]));
    act(() => field.focus());
    field.setSelectionRange(5, 5);
    await until(bob.post(at), ({ editors }) => editors.includes("bob"));
    await act(() => bob.post(at).splice("body", 0, 0, ">> "));
    await waitFor(() => expect([field.value, field.selectionStart]).toEqual([">> hello world", 8]));

    act(() => {
      field.setRangeText("!", 8, 8, "end");
      fireEvent.input(field);
    });
    await until(bob.post(at), ({ body }) => body === ">> hello! world");
    act(() => { fireEvent.keyDown(field, { key: "z", ctrlKey: true }); });
    await waitFor(() => expect(field.value).toBe(">> hello world"));
    await until(bob.post(at), ({ body }) => body === ">> hello world");

    bob.space(space).enter();
    await until(bob.space(space), ({ phase }) => phase === "inside");
    bob.post(at).select("body", { anchor: 3, head: 8 });
    await waitFor(() => expect(page.container.querySelector(".syncline-flag")?.textContent).toBe("bob"));
    expect(page.container.querySelector("mark")?.textContent).toBe("hello");
    expect(screen.getByText("bob also here")).toBeTruthy();
  });

  test("works at a place of a schemaless document", async () => {
    const ada = person("ada");
    const at = `${newSpace()}/one`;
    await until(ada.document(at).status, ({ live }) => live);
    await ada.document(at).putText(["notes"], "abc");
    show(ada, <CollaborativeText address={at} path={["notes"]} label="Notes" />);
    const field = screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Notes" });
    await waitFor(() => expect([field.value, field.readOnly]).toEqual(["abc", false]));
    act(() => {
      field.setRangeText("d", 3, 3, "end");
      fireEvent.input(field);
      field.blur();
    });
    await until(ada.document(at), (view) => (view as { notes: string }).notes === "abcd");
  });
});

test("what was refused is shown with its reason and what was written, until it is dismissed", async () => {
  const [ada, bob] = [person("ada"), person("bob")];
  const at = `${newSpace()}/one`;
  show(bob, <RefusalToasts />);
  const post = ada.post(at);
  await until(post.status, ({ live }) => live);
  await post.create({ title: "T", body: "Ours" });
  await post.addEditor("bob");
  await until(bob.post(at), ({ editors }) => editors.includes("bob"));
  const stay = bob.post(at).subscribe(() => {});
  bob.disconnect();
  await until(bob.connection, ({ phase }) => phase === "idle");
  await act(() => bob.post(at).splice("body", 4, 0, " and mine").stored);
  await post.removeEditor("bob");
  bob.connect();
  const toasts = within(screen.getByRole("region", { name: "What was not accepted" }));
  const toast = await toasts.findByRole("group", { name: "Your edit was not taken" });
  expect(within(toast).getByText("and mine")).toBeTruthy();
  expect(within(toast).getByText("Only its author may change this.")).toBeTruthy();
  expect(bob.post(at).getSnapshot().body).toBe("Ours");
  // By an editor again it may be done.
  await post.addEditor("bob");
  await until(bob.post(at), ({ editors }) => editors.includes("bob"));
  click(within(toast).getByRole("button", { name: "Try again" }));
  await until(post, ({ body }) => body === "Ours and mine");
  await waitFor(() => expect(toasts.queryByRole("group")).toBeNull());

  bob.disconnect();
  await until(bob.connection, ({ phase }) => phase === "idle");
  await act(() => bob.post(at).splice("body", 0, 0, "Not ").stored);
  await post.removeEditor("bob");
  bob.connect();
  const again = await toasts.findByRole("group", { name: "Your edit was not taken" });
  act(() => { fireEvent.keyDown(again, { key: "Escape" }); });
  await waitFor(() => expect(toasts.queryByRole("group")).toBeNull());
  expect(bob.refused.getSnapshot()).toEqual([]);
  stay();
});
