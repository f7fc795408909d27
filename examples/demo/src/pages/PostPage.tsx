/** One post: its live text, what people think of it, and what they say. */
import { useState } from "react";
import { LikeButton, RealTimeComments, useClient, usePost, usePresence } from "syncline/react";
import { AGENT } from "../agent/agent.js";
import { Ago } from "../parts/Ago.js";
import { AgentPanel } from "../parts/AgentPanel.js";
import { Avatar } from "../parts/Avatar.js";
import { Icon } from "../parts/Icon.js";
import { Inspector } from "../parts/Inspector.js";
import { BodyEditor } from "../parts/BodyEditor.js";
import { Marked } from "../parts/Marked.js";
import { links } from "../route.js";
import { LOOK, useHere } from "../space.js";
import { quietly } from "../quietly.js";
import { REACTIONS } from "../reactions.js";

export function PostPage({ id }: { id: string }) {
  const { space, user } = useHere();
  const address = `${space}/${id}`;
  const { view: post, status, handle } = usePost(address);
  const [inspecting, setInspecting] = useState(false);
  const role = usePresence(space, LOOK).role ?? "member";
  if (!status.ready || post.author === null) return <Waiting problem={status.problem?.message} live={status.live} />;
  const moderates = role === "owner" || role === "moderator";
  const mayEdit = post.author === user || post.editors.includes(user) || moderates;
  return (
    <>
      <a className="back" href={links.feed}><Icon name="back" />All posts</a>
      <article className="card post">
        <header className="byline">
          <Avatar user={post.author} /><div><span className="strong">{post.author}</span><br /><span className="quiet">{post.created !== null && <Ago at={post.created} />}</span></div>
          <span className="grow" />
          {status.pending > 0 && <span className="chip pending" role="status">{status.pending} not sent yet</span>}
          <button type="button" className="round" aria-expanded={inspecting} aria-label="Inspector" title="Inspector" onClick={() => setInspecting(!inspecting)}><Icon name="inspect" /></button>
        </header>
        {post.status !== "published" && <p className="notice">This post is {post.status}.</p>}
        <h1>{post.title}</h1>
        {mayEdit
          ? <BodyEditor handle={handle} />
          : <div className="body" data-testid="body">{post.body === "" ? <p className="quiet">No text yet.</p> : <Marked spans={post.spans} />}</div>}
        <div className="reactions"><LikeButton address={address} reactions={REACTIONS} /></div>
        <Editors address={address} owner={post.author} editors={post.editors} mayChange={post.author === user || moderates} />
      </article>
      {inspecting && <Inspector address={address} />}
      <div className="card comments">
        <AgentPanel address={address} />
        <RealTimeComments address={address} />
      </div>
    </>
  );
}

function Waiting({ problem, live }: { problem: string | undefined; live: boolean }) {
  return (
    <>
      <a className="back" href={links.feed}><Icon name="back" />All posts</a>
      <div className="card empty" role="status">
        <Icon name="network" />
        <p>{problem ?? (live ? "There is no such post." : "The post comes with the next contact to the server.")}</p>
      </div>
    </>
  );
}

interface EditorsProps {
  address: string;
  owner: string;
  editors: readonly string[];
  mayChange: boolean;
}

/** Who may write in the text: the author, and whom he lets. */
function Editors({ address, owner, editors, mayChange }: EditorsProps) {
  const client = useClient();
  const { space } = useHere();
  const { members } = usePresence(space, LOOK);
  const post = client.post(address);
  const candidates = members.map(({ user }) => user).filter((user) => user !== owner && user !== AGENT && !editors.includes(user));
  if (!mayChange && editors.length === 0) return null;
  return (
    <div className="editors">
      <span className="quiet">Writing:</span>
      <span className="chip">{owner}</span>
      {editors.map((user) => (
        <span key={user} className="chip">{user}
          {mayChange && <button type="button" aria-label={`Let ${user} write no more`} onClick={() => quietly(post.removeEditor(user))}><Icon name="close" /></button>}
        </span>
      ))}
      {mayChange && candidates.map((user) => (
        <button key={user} type="button" className="chip add" onClick={() => quietly(post.addEditor(user))}><Icon name="plus" />let {user} write</button>
      ))}
    </div>
  );
}
