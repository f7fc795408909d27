/** The space's posts by activity, with live counts, and a place to write one. */
import { useState, type FormEvent } from "react";
import type { PostSummary } from "syncline";
import { useClient, useFeed } from "syncline/react";
import { Ago } from "../parts/Ago.js";
import { Avatar } from "../parts/Avatar.js";
import { Icon } from "../parts/Icon.js";
import { quietly } from "../quietly.js";
import { REACTIONS } from "../reactions.js";
import { links } from "../route.js";
import { useHere } from "../space.js";

const NEWEST = 30;

export function FeedPage() {
  const { space } = useHere();
  const feed = useFeed(space, { newest: NEWEST });
  const posts = feed.posts.filter((post) => post.status === "published");
  return (
    <>
      <h1 className="sr-only">The feed of {space}</h1>
      <Composer />
      {feed.phase === "ended" && <p className="notice" role="status">The feed is not to be had: {feed.message ?? feed.code}</p>}
      {posts.length === 0 && feed.phase !== "ended" && (
        <div className="empty">
          <Icon name={feed.phase === "live" ? "spark" : "network"} />
          <p>{feed.phase === "live" ? "Nobody has written anything yet. Begin." : "The feed comes with the first contact to the server. What you write before is kept."}</p>
        </div>
      )}
      <ol className="feed" aria-label="Posts">
        {posts.map((post) => <li key={post.id}><Card post={post} /></li>)}
      </ol>
    </>
  );
}

function Composer() {
  const client = useClient();
  const { space, user } = useHere();
  const [title, setTitle] = useState("");
  const [body, setBody] = useState("");
  const clean = title.trim();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (clean === "") return;
    const id = client.newId();
    // Shown where it lives: the page of the post has it before the server does.
    quietly(client.post(`${space}/${id}`).create({ title: clean, body: body.trim() }));
    setTitle("");
    setBody("");
    location.hash = links.post(id);
  };
  return (
    <form className="card composer" onSubmit={submit} aria-label="New post">
      <Avatar user={user} />
      <div className="grow stack">
        <label><span className="sr-only">Title</span>
          <input className="bare strong" value={title} onChange={(event) => setTitle(event.target.value)} placeholder={`What is on your mind, ${user}?`} maxLength={200} /></label>
        {clean !== "" && (
          <label><span className="sr-only">Text</span>
            <textarea className="bare" value={body} onChange={(event) => setBody(event.target.value)} placeholder="Say more, or leave it for later: it can be edited by several at once." rows={3} /></label>
        )}
      </div>
      <button className="button primary" disabled={clean === ""}>Post</button>
    </form>
  );
}

function Card({ post }: { post: PostSummary }) {
  const others = Object.entries(post.reactions).filter(([name, count]) => name !== "like" && count > 0);
  return (
    <article className="card post-card">
      <div className="byline"><Avatar user={post.author} size="s" /><span className="strong">{post.author}</span><span className="quiet"><Ago at={post.created} /></span></div>
      <h2><a href={links.post(post.id)} className="cover">{post.title}</a></h2>
      <p className="counts">
        <span className="count" data-count="likes" aria-label={`${post.likes} likes`}><Icon name="heart" />{post.likes}</span>
        <span className="count" data-count="comments" aria-label={`${post.comments} comments`}><Icon name="comment" />{post.comments}</span>
        {others.map(([name, count]) => <span key={name} className="count" aria-label={`${count} ${name}`}>{REACTIONS[name] ?? name} {count}</span>)}
        <span className="grow" />
        {post.active > post.created + 60_000 && <span className="quiet">active <Ago at={post.active} /></span>}
      </p>
    </article>
  );
}
