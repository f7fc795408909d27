/** Two people side by side in one page: each in a frame of its own, with a client, a store and a network of its own. */
import { useState } from "react";
import { useHere } from "../space.js";
import { suggestions } from "../who.js";

export function Together() {
  const { user, space } = useHere();
  const others = [...new Set([...suggestions(), user])];
  const [left, setLeft] = useState(user);
  const [right, setRight] = useState(others.find((other) => other !== user) ?? user);
  return (
    <>
      <h1 className="sr-only">Two clients side by side</h1>
      <p className="quiet">Each side is somebody else with a store and a network of his own. Take one offline, write on both, bring it back.</p>
      <div className="together">
        <Frame side="Left" user={left} space={space} others={others} choose={setLeft} />
        <Frame side="Right" user={right} space={space} others={others} choose={setRight} />
      </div>
    </>
  );
}

interface FrameProps {
  side: string;
  user: string;
  space: string;
  others: readonly string[];
  choose(user: string): void;
}

function Frame({ side, user, space, others, choose }: FrameProps) {
  const query = new URLSearchParams({ user, space, framed: "" });
  return (
    <section className="frame">
      <label className="row">{side}:
        <select value={user} onChange={(event) => choose(event.target.value)}>
          {others.map((other) => <option key={other}>{other}</option>)}
        </select>
      </label>
      <iframe title={`${side}: ${user}`} src={`/?${query}#/`} />
    </section>
  );
}
