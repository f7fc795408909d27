/** What lies under a post: its three documents with their log, what is pending, what was refused, and the graph of changes. */
import { useEffect, useMemo, useState, useSyncExternalStore } from "react";
import type { ChangeInfo, Client } from "syncline";
import { useClient, useRefused } from "syncline/react";
import { ChangeGraph } from "./ChangeGraph.js";
import { Icon } from "./Icon.js";
import { hueStyle } from "./Avatar.js";

const FACETS = ["post", "comments", "likes"] as const;
type Facet = (typeof FACETS)[number];

/** The newest changes that are listed and drawn. */
const SHOWN_MAX = 120;

export function Inspector({ address }: { address: string }) {
  const [facet, setFacet] = useState<Facet>("post");
  return (
    <section className="card inspector" aria-label="Inspector">
      <header className="row">
        <h2><Icon name="inspect" />Inspector</h2>
        <span className="grow" />
        <div className="segments" role="group" aria-label="Document">
          {FACETS.map((one) => <button key={one} type="button" aria-pressed={one === facet} onClick={() => setFacet(one)}>{one}</button>)}
        </div>
      </header>
      <Document key={`${address}/${facet}`} address={address} facet={facet} />
      <Frames />
    </section>
  );
}

function Document({ address, facet }: { address: string; facet: Facet }) {
  const client = useClient();
  const handle = useMemo(() => of(client, address, facet), [client, address, facet]);
  const status = useSyncExternalStore(useMemo(() => handle.status.subscribe.bind(handle.status), [handle]), () => handle.status.getSnapshot());
  const { history, heads } = useHistory(client, handle);
  const { refused } = useRefused(handle.address);
  const newest = history.slice(-SHOWN_MAX);
  return (
    <>
      <dl className="facts wide">
        <div><dt>Address</dt><dd><code>{handle.address}</code></dd></div>
        <div><dt>Cursor</dt><dd data-fact="seq">seq {status.seq}, {status.live ? "caught up" : "behind"}</dd></div>
        <div><dt>Changes</dt><dd data-fact="changes">{history.length}{history.length > newest.length && `, the newest ${newest.length} shown`}</dd></div>
        <div><dt>Heads</dt><dd data-fact="heads">{heads.map((head) => <code key={head}>{head.slice(0, 8)} </code>)}</dd></div>
      </dl>
      <ChangeGraph changes={newest} />
      <div className="scroll" tabIndex={0} role="region" aria-label="Log">
        <table>
          <thead><tr><th>Change</th><th>Writer</th><th>Seq</th><th>Ops</th><th>When</th><th>State</th></tr></thead>
          <tbody>
            {newest.toReversed().map((change) => (
              <tr key={change.hash}>
                <td><code>{change.hash.slice(0, 8)}</code></td>
                <td><span className="dot" style={hueStyle(change.actor)} /><span title={change.actor}>{writer(change.actor)}</span></td>
                <td>{change.seq}</td><td>{change.ops}</td>
                <td>{change.at > 0 ? new Date(change.at).toLocaleTimeString() : "begin"}</td>
                <td>{change.pending ? <span className="chip pending">pending</span> : "accepted"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {refused.length > 0 && <h3>Refused</h3>}
      {refused.map(({ id, command, resolution }) => (
        <p key={id} className="notice"><code>{resolution.type === "refused" ? resolution.code : resolution.type}</code>{resolution.type === "refused" && ` ${resolution.message}: `}<code className="wrap">{JSON.stringify(command)}</code></p>
      ))}
    </>
  );
}

/** An actor is the term of a server and a slot that it leased; all zeros made the empty document, the same everywhere. */
function writer(actor: string): string {
  return /^0+$/.test(actor) ? "genesis" : `slot ${Number.parseInt(actor.slice(16, 24), 16)}`;
}

interface Known {
  readonly history: readonly ChangeInfo[];
  readonly heads: readonly string[];
}

/** Asked for again whenever something changed, one question at a time. */
function useHistory(client: Client, handle: ReturnType<typeof of>): Known {
  const [known, setKnown] = useState<Known>({ history: [], heads: [] });
  useEffect(() => {
    let [shown, asking, stale] = [true, false, false];
    const ask = async () => {
      if (asking) {
        stale = true;
        return;
      }
      asking = true;
      do {
        stale = false;
        try {
          const [history, heads] = await Promise.all([client.history(handle.address), client.heads(handle.address)]);
          if (shown) setKnown({ history, heads });
        } catch {
          // Not open yet, or closed already: the next change asks again.
        }
      } while (stale && shown);
      asking = false;
    };
    const stops = [handle.subscribe(ask), handle.status.subscribe(ask)];
    void handle.ready.then(ask, () => undefined);
    return () => {
      shown = false;
      for (const stop of stops) stop();
    };
  }, [client, handle]);
  return known;
}

function Frames() {
  const client = useClient();
  const [frames, setFrames] = useState<readonly { key: number; text: string }[]>([]);
  useEffect(() => {
    let key = 0;
    return client.on("frame", ({ direction, bytes, at }) => {
      const text = `${new Date(at).toLocaleTimeString()}  ${direction === "in" ? "←" : "→"}  ${bytes} bytes`;
      setFrames((before) => [...before, { key: key++, text }].slice(-30));
    });
  }, [client]);
  return (
    <details>
      <summary>Frames</summary>
      {frames.length === 0 ? <p className="quiet">None since this was opened.</p> : <ol className="frames" reversed>{frames.toReversed().map(({ key, text }) => <li key={key}><code>{text}</code></li>)}</ol>}
    </details>
  );
}

function of(client: Client, address: string, facet: Facet) {
  switch (facet) {
    case "post": return client.post(address);
    case "comments": return client.comments(address);
    case "likes": return client.likes(address);
  }
}
