// All components in their states, one beneath the other; `?view=NAME` shows one alone. The tests come to them by the
// names of their sections.
import { EditorState } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { StrictMode, useEffect, useRef } from "react";
import { createRoot } from "react-dom/client";
import {
  CollaborativeText, ConnectionStatus, LikeButton, ParticipantsList, RealTimeComments, RefusalToasts, StreamingResponse,
  SynclineProvider, TypingIndicators,
} from "syncline/react";
import { synclineText } from "syncline/codemirror";
import "syncline/react/styles.css";
import "./gallery.css";
import { person, told, until } from "./people.js";
import { POST, SPACE, settle } from "./town.js";

const MINUTE_MS = 60_000;

function Section({ name, client = person("ada"), children }) {
  return <section aria-label={name} className="section"><h2>{name}</h2><SynclineProvider client={client}>{children}</SynclineProvider></section>;
}

/** How the connection may stand, beside connected. */
const CONNECTIONS = [
  { phase: "connecting" }, { phase: "offline" }, { phase: "idle" }, { phase: "paused" },
  { phase: "reconnecting", attempt: 4, nextAttemptAt: Date.now() + MINUTE_MS },
  { phase: "failed", code: "unauthenticated", message: "the token is not valid" },
  { name: "without a store", phase: "failed", code: "local_store", message: "the disk is full" },
  { name: "closed", phase: "idle", code: "closed" },
];

function Connections() {
  return (
    <div className="tiles">
      <Section name="Connected"><ConnectionStatus /><ConnectionStatus variant="detailed" /></Section>
      {CONNECTIONS.map(({ name, ...status }) => {
        const sync = { ...person("ada").sync.getSnapshot(), pending: 3, synced: false };
        return (
          <Section key={name ?? status.phase} name={`Connection ${name ?? status.phase}`} client={told(person("ada"), { connection: { leads: true, ...status }, sync })}>
            <ConnectionStatus /><ConnectionStatus variant="detailed" />
          </Section>
        );
      })}
    </div>
  );
}

const VIEWS = {
  connections: Connections,
  comments: () => (
    <>
      <Section name="Comments"><RealTimeComments address={POST} /></Section>
      <Section name="Comments, offline" client={person("lou")}><RealTimeComments address={POST} /></Section>
      <Section name="Comments, refused" client={person("kim")}><RealTimeComments address={POST} /></Section>
      <Section name="Comments, none"><RealTimeComments address={`${SPACE}/quiet`} /></Section>
      <Section name="Comments, to read"><RealTimeComments address={POST} readOnly likes={false} /></Section>
    </>
  ),
  likes: () => (
    <>
      <Section name="Likes"><LikeButton address={POST} /></Section>
      <Section name="Likes, none and not to be given"><LikeButton address={`${SPACE}/quiet`} disabled /></Section>
    </>
  ),
  people: () => (
    <>
      <Section name="Typing"><TypingIndicators address={`${POST}/comments`} /><TypingIndicators address={`${POST}/post`} /></Section>
      <Section name="People"><ParticipantsList space={SPACE} /></Section>
      <Section name="People, as faces"><ParticipantsList space={SPACE} variant="stack" max={2} /></Section>
    </>
  ),
  streams: () => (
    <div className="tiles">
      {["streaming", "finished", "failed", "stopped", "never"].map((id) => (
        <Section key={id} name={`Answer ${id}`}><StreamingResponse address={`${SPACE}/${id}`} /></Section>
      ))}
      <Section name="Answer to scroll"><StreamingResponse address={`${SPACE}/scrolling`} /></Section>
      <Section name="Answer unreadable"><StreamingResponse address="locked/answer" /></Section>
    </div>
  ),
  texts: () => (
    <>
      <Section name="Text"><CollaborativeText address={POST} field="body" label="Text of the post" /></Section>
      <Section name="Text to the edge"><CollaborativeText address={`${SPACE}/edge`} field="body" label="Full lines" /></Section>
      <Section name="Title"><CollaborativeText address={POST} field="title" label="Title" multiline={false} /></Section>
      <Section name="Text to read"><CollaborativeText address={POST} field="body" label="Text to read" readOnly /></Section>
      <Section name="Text that is nowhere"><CollaborativeText address="not an address" field="body" label="Nowhere" placeholder="Write" /></Section>
    </>
  ),
  refusals: () => <Section name="Refusals" client={person("kim")}><RefusalToasts /></Section>,
};

const TAB = `${SPACE}/tab`;

/** An editor of the same text, as an app makes one. */
function Editor() {
  const parent = useRef(null);
  useEffect(() => {
    const post = person("ada").post(TAB);
    let close = () => {};
    let over = false;
    post.ready.then(() => {
      if (over) return;
      const binding = post.text("body");
      const extensions = [synclineText(binding, { history: post }), EditorView.contentAttributes.of({ "aria-label": "Editor" })];
      const view = new EditorView({ parent: parent.current, state: EditorState.create({ doc: binding.text, extensions }) });
      close = () => {
        view.destroy();
        binding.close();
      };
    });
    return () => {
      over = true;
      close();
    };
  }, []);
  return <div ref={parent} />;
}

/** One of several tabs of the same person. */
const Tab = () => <Section name="Tab"><CollaborativeText address={TAB} field="body" label="Shared" /><Editor /></Section>;

const view = new URLSearchParams(location.search).get("view");
const shown = view === null ? Object.values(VIEWS) : [VIEWS[view] ?? Tab];
if (view !== "tab") await settle();
await until(person("ada").connection, ({ phase }) => phase === "connected");
createRoot(document.getElementById("gallery")).render(
  <StrictMode><h1>Syncline’s components</h1>{shown.map((View, index) => <View key={index} />)}</StrictMode>,
);
document.documentElement.dataset.settled = "";
