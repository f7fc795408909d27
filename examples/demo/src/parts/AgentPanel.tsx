/** Asking the demo agent, and its answers while they are being said. */
import { useMemo, useState, type FormEvent } from "react";
import type { Comment } from "syncline";
import { StreamingResponse, useClient, useComments, usePresence } from "syncline/react";
import { AGENT, ANSWERING, answersTo, isBrokenOff } from "../agent/agent.js";
import { quietly } from "../quietly.js";
import { LOOK, useHere } from "../space.js";
import { Icon } from "./Icon.js";

export function AgentPanel({ address }: { address: string }) {
  const client = useClient();
  const { space, agent } = useHere();
  const { view } = useComments(address);
  const { members } = usePresence(space, LOOK);
  const [question, setQuestion] = useState("");
  const [problem, setProblem] = useState<string>();
  const said = members.find(({ user }) => user === AGENT)?.says[ANSWERING];
  const answers = useMemo(() => answersTo(address, said), [address, said]);
  const brokenOff = goneOnWith(view.thread);

  const ask = async (about: Comment) => {
    setProblem(undefined);
    try {
      await agent.ask(address, about, view.thread);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const body = question.trim();
    if (body === "") return;
    setQuestion("");
    const id = client.newId();
    quietly(client.comments(address).add(body, { id }));
    void ask({ id, depth: 0, parent: null, author: client.user, created: Date.now(), edited: null, deleted: null, body, pending: true });
  };
  return (
    <div className="agent">
      <form className="row" onSubmit={submit} aria-label="Ask the demo agent">
        <label className="grow"><span className="sr-only">Question to the demo agent</span>
          <input value={question} onChange={(event) => setQuestion(event.target.value)} placeholder="Ask the demo agent" maxLength={300} /></label>
        <button className="button" disabled={question.trim() === ""}><Icon name="spark" />Ask</button>
      </form>
      <p className="quiet small">A demo agent: canned sentences, said by this page word by word, without any network but this server.</p>
      {problem !== undefined && <p className="notice" role="alert">{problem}</p>}
      {brokenOff !== undefined && answers.every(({ parent }) => parent !== brokenOff.id) && (
        <button type="button" className="button" onClick={() => void ask(brokenOff)}><Icon name="redo" />Let the agent go on</button>
      )}
      {answers.map(({ stream }) => (
        <div key={stream} className="answer"><StreamingResponse address={stream} /></div>
      ))}
    </div>
  );
}

/** The newest answer that was broken off and not gone on with. */
function goneOnWith(thread: readonly Comment[]): Comment | undefined {
  const answered = new Set(thread.filter(({ author }) => author === AGENT).map(({ parent }) => parent));
  return thread.findLast((comment) => isBrokenOff(comment) && !answered.has(comment.id));
}
