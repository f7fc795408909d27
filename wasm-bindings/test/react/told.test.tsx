// @vitest-environment jsdom
/** What does not work is said in words, and nothing that was written is lost. */

import { act, fireEvent, render, screen, waitFor, within } from "@testing-library/react";
import { describe, expect, test, vi } from "vitest";

import type { ConnectionStatus as Status, Problem, Storage } from "../../ts/index.js";
import { CollaborativeText, ConnectionStatus, LikeButton, RealTimeComments, SynclineProvider } from "../../ts/react/index.js";
import { Ago } from "../../ts/react/components/parts.js";
import { client, until } from "../support/clients.js";
import { newSpace, person, show, theServer, useServer } from "./support.js";

useServer();

const write = (field: HTMLElement, value: string) => act(() => { fireEvent.change(field, { target: { value } }); });
const click = (element: HTMLElement) => act(() => { fireEvent.click(element); });
const said = (words: string | RegExp) => waitFor(() => {
  const alerts = screen.queryAllByRole("alert").map(({ textContent }) => textContent ?? "");
  expect(alerts.filter((alert) => (typeof words === "string" ? alert.includes(words) : words.test(alert)))).not.toEqual([]);
});

/** A store that takes nothing any more once `full` says so. */
function disk() {
  const stored = new Map<string, Uint8Array>();
  const is = { full: false };
  const key = (bytes: Uint8Array) => [...bytes].map((byte) => String.fromCharCode(byte)).join("");
  const storage: Storage = {
    async read(prefix) {
      const all = [...stored].filter(([name]) => name.startsWith(key(prefix))).sort(([a], [b]) => (a < b ? -1 : 1));
      return all.map(([name, value]) => [Uint8Array.from(name, (one) => one.charCodeAt(0)), value]);
    },
    async write(entries) {
      if (is.full) throw new Error("the disk is full");
      for (const [name, value] of entries) {
        if (value === null) stored.delete(key(name));
        else stored.set(key(name), value);
      }
    },
    async close() {},
  };
  return { is, storage };
}

/** A client whose connection stands like this. */
export function standing<T extends object>(of: T, status: Status): T {
  const connection = { getSnapshot: () => status, getServerSnapshot: () => status, subscribe: () => () => {} };
  return new Proxy(of, {
    get(target, name) {
      if (name === "connection") return connection;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

describe("comments", () => {
  test("that the store could not take are shown with the reason, and nothing more can be written", async () => {
    const { is, storage } = disk();
    const ada = client(theServer().url, "ada", { storage, shareTabs: false });
    const at = `${newSpace()}/one`;
    show(ada, <><RealTimeComments address={at} /><LikeButton address={at} labels={{ group: "Post" }} /></>);
    await until(ada.comments(at).status, ({ live }) => live);
    const field = screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Write a comment" });
    write(field, "Precious");
    is.full = true;
    click(screen.getByRole("button", { name: "Comment" }));
    await said("Not posted");
    const card = within(screen.getByRole("list", { name: "Not posted" }));
    expect(card.getByText("Precious")).toBeTruthy();
    await waitFor(() => expect([field.disabled, (card.getByRole("button", { name: "Try again" }) as HTMLButtonElement).disabled]).toEqual([true, true]));
    const post = within(screen.getByRole("group", { name: "Post" }));
    expect((post.getByRole("button", { name: /^Like/ }) as HTMLButtonElement).disabled).toBe(true);
  });

  test("of a client that is closed are kept, and those of before in the field", async () => {
    const ada = person("ada");
    const at = `${newSpace()}/one`;
    const of = (one: typeof ada) => <SynclineProvider client={one}><RealTimeComments address={at} /><LikeButton address={at} labels={{ group: "Post" }} /></SynclineProvider>;
    await until(ada.comments(at).status, ({ live }) => live);
    // A component that has not been told yet.
    const page = render(of(standing(ada, ada.connection.getSnapshot())));
    await ada.close();
    write(screen.getByRole("textbox", { name: "Write a comment" }), "Precious");
    click(screen.getByRole("button", { name: "Comment" }));
    await said("Not posted");
    expect(within(screen.getByRole("list", { name: "Not posted" })).getByText("Precious")).toBeTruthy();
    page.rerender(of(ada));
    await waitFor(() => expect(screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Write a comment" }).disabled).toBe(true));
    await said("takes nothing on any more");
  });

  test("and likes say that they were not taken", async () => {
    const ada = person("ada");
    const at = `${newSpace()}/one`;
    await until(ada.likes(at).status, ({ live }) => live);
    const { connection } = ada;
    show(standing(ada, connection.getSnapshot()), <LikeButton address={at} />);
    await ada.close();
    click(screen.getByRole("button", { name: /^Like/ }));
    await said("It was not counted.");
  });

  test("stay with their post: a draft, an answer and a picker that are open do not follow to another", async () => {
    const ada = person("ada");
    const space = newSpace();
    const of = (id: string) => <SynclineProvider client={ada}><RealTimeComments address={`${space}/${id}`} /><LikeButton address={`${space}/${id}`} labels={{ group: "Post" }} /></SynclineProvider>;
    const page = render(of("a"));
    await until(ada.comments(`${space}/a`).status, ({ live }) => live);
    await act(() => ada.comments(`${space}/a`).add("First"));
    await screen.findByRole("article");
    write(screen.getByRole("textbox", { name: "Write a comment" }), "About A");
    click(screen.getByRole("button", { name: "Reply" }));
    click(within(screen.getByRole("group", { name: "Post" })).getByRole("button", { name: "Add a reaction" }));
    page.rerender(of("b"));
    expect([screen.getByRole<HTMLTextAreaElement>("textbox").value, screen.queryByRole("toolbar")]).toEqual(["", null]);
    page.rerender(of("a"));
    await screen.findByRole("article");
    expect(screen.queryByRole("textbox", { name: "Reply to ada" })).toBeNull();
  });

  test("that are too long, or blank, say why they can’t be sent", async () => {
    const ada = person("ada");
    const at = `${newSpace()}/one`;
    show(ada, <RealTimeComments address={at} />);
    await until(ada.comments(at).status, ({ ready }) => ready);
    const field = screen.getByRole("textbox", { name: "Write a comment" });
    const send = screen.getByRole<HTMLButtonElement>("button", { name: "Comment" });
    const described = (one: HTMLElement) => document.getElementById(one.getAttribute("aria-describedby") ?? "")?.textContent;
    await waitFor(() => expect((field as HTMLTextAreaElement).disabled).toBe(false));
    write(field, "x".repeat((32 << 10) + 1));
    expect([send.disabled, described(field), described(send)]).toEqual([true, expect.stringContaining("too long"), expect.stringContaining("too long")]);
    write(field, " \n\u200b\t");
    expect([send.disabled, described(field)]).toEqual([true, "Write something that can be read."]);
    write(field, "Hi");
    expect([send.disabled, described(field)]).toEqual([false, undefined]);
  });
});

describe("a text", () => {
  const type = (field: HTMLTextAreaElement, letter: string) => act(() => {
    field.setRangeText(letter, 0, 0, "end");
    fireEvent.input(field);
  });

  test("of a post that somebody else wrote is to be read, and says why, until its author makes this user an editor", async () => {
    const [ada, bob] = [person("ada"), person("bob")];
    const at = `${newSpace()}/one`;
    await until(ada.post(at).status, ({ live }) => live);
    await ada.post(at).create({ title: "T", body: "Ours" });
    show(bob, <CollaborativeText address={at} field="body" label="Body" />);
    const field = screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Body" });
    await waitFor(() => expect(field.value).toBe("Ours"));
    await screen.findByText("Only its author and editors may change this.");
    expect(field.readOnly).toBe(true);
    await act(() => ada.post(at).addEditor("bob"));
    await waitFor(() => expect(field.readOnly).toBe(false));
    expect(screen.getByText("", { selector: "p[hidden]" })).toBeTruthy();
  });

  test("of no post is to be read, and says so, until there is one", async () => {
    const ada = person("ada");
    const at = `${newSpace()}/one`;
    show(ada, <CollaborativeText address={at} field="body" label="Body" />);
    const field = screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Body" });
    await screen.findByText("There is nothing to edit here yet.");
    expect(field.readOnly).toBe(true);
    await act(() => ada.post(at).create({ title: "T", body: "Mine" }));
    await waitFor(() => expect([field.value, field.readOnly]).toEqual(["Mine", false]));
  });

  test("says that an edit was not taken, until the next", async () => {
    const ada = person("ada");
    const at = `${newSpace()}/one`;
    await until(ada.document(at).status, ({ live }) => live);
    await ada.document(at).putText(["notes"], "abc");
    // Whoever the rules of the space bar is told so by the engine, as this one is.
    const told = vi.spyOn(ada, "on");
    show(ada, <CollaborativeText address={at} path={["notes"]} label="Notes" />);
    const field = screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Notes" });
    await waitFor(() => expect([field.value, field.readOnly]).toEqual(["abc", false]));
    const tell = (address: string) => act(() => {
      for (const [event, listener] of told.mock.calls) {
        if (event === "problem") (listener as (detail: Problem) => void)({ address, code: "forbidden", message: "you may not edit here" });
      }
    });
    tell(`${at}/comments`);
    expect(screen.queryByRole("alert")).toBeNull();
    tell(`${at}/json`);
    await said("Your edit was not taken. You are not allowed to do this here.");
    type(field, "d");
    await waitFor(() => expect(screen.queryByRole("alert")).toBeNull());
    await until(ada.document(at), (view) => (view as { notes: string }).notes === "dabc");
  });
});

describe("a connection", () => {
  const BUTTONS = ["Reconnect now", "Go online", "Go offline"];
  const stands = (status: Partial<Status>) => {
    const page = show(standing(person("ada"), { phase: "failed", leads: false, ...status }), <><ConnectionStatus /><ConnectionStatus variant="detailed" /></>);
    const answer = {
      text: page.container.textContent ?? "",
      buttons: BUTTONS.filter((name) => screen.queryAllByRole("button", { name }).length > 0),
    };
    page.unmount();
    return answer;
  };

  test("that failed says what failed, and offers to try again only where that can help", () => {
    const failures: [string, string, string[]][] = [
      ["local_store", "What this device stores can’t be used.", []],
      ["no_webassembly", "no WebAssembly", []],
      ["engine_unavailable", "The engine could not be loaded.", []],
      ["engine_failed", "The engine has stopped.", []],
      ["unauthenticated", "The server does not let this device in", ["Reconnect now"]],
      ["token_expired", "sign in again", ["Reconnect now"]],
    ];
    for (const [code, words, buttons] of failures) {
      const { text, buttons: offered } = stands({ code, message: "so it went" });
      expect([code, text.includes(words), text.includes("so it went"), offered]).toEqual([code, true, true, buttons]);
      if (!code.startsWith("un") && code !== "token_expired") expect(text).not.toContain("let this device in");
    }
    const other = stands({ code: "bad_command", message: "a user’s name has no blanks" });
    expect(other.text.split("a user’s name has no blanks").length, "once").toBe(2);
    expect(other.text).not.toContain("let this device in");
  });

  test("of a client that is closed is closed, and can’t be opened again", () => {
    const { text, buttons } = stands({ phase: "idle", code: "closed" });
    expect(text).toContain("Closed");
    expect([text.includes("until you connect"), buttons]).toEqual([false, []]);
  });
});

test("how long ago something was is right within seconds", async () => {
  const ada = person("ada");
  const now = vi.spyOn(Date, "now");
  const ages: [number, string][] = [[4_000, "now"], [59_000, "now"], [61_000, "1 min. ago"], [125_000, "2 min. ago"], [3_700_000, "1 hr. ago"]];
  try {
    // A moment that is as far from a whole minute as can be.
    now.mockReturnValue(1_800_000_058_000);
    for (const [age, words] of ages) {
      const page = render(<SynclineProvider client={ada} locale="en"><Ago at={1_800_000_058_000 - age} /></SynclineProvider>);
      expect([age, page.container.textContent]).toEqual([age, words]);
      page.unmount();
    }
  } finally {
    now.mockRestore();
  }
});

test("a post that can’t be opened can’t be liked, and says why", async () => {
  show(person("ada"), <LikeButton address="not an address" />);
  await waitFor(() => expect(screen.queryAllByRole("alert")).toHaveLength(1));
  expect(screen.getAllByRole<HTMLButtonElement>("button").every(({ disabled }) => disabled)).toBe(true);
});
