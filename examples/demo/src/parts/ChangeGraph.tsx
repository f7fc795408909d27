/** The changes of a document as a picture: a lane for each writer, time from left to right, a line to each change that it builds on. */
import { useMemo } from "react";
import type { ChangeInfo } from "syncline";
import { hueStyle } from "./Avatar.js";
import { layout, STEP } from "./graph.js";

export function ChangeGraph({ changes }: { changes: readonly ChangeInfo[] }) {
  const { nodes, edges, lanes } = useMemo(() => layout(changes), [changes]);
  if (nodes.length === 0) return <p className="quiet">No changes yet.</p>;
  const width = STEP.x * (nodes.length + 1);
  const height = STEP.y * (lanes.length + 1);
  const summary = `${nodes.length} changes by ${lanes.length} ${lanes.length === 1 ? "writer" : "writers"}`;
  return (
    <div className="scroll graph" tabIndex={0} role="region" aria-label="Graph of changes">
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={summary}>
        {lanes.map((actor, lane) => (
          <line key={actor} className="lane" x1={0} x2={width} y1={STEP.y * (lane + 1)} y2={STEP.y * (lane + 1)} />
        ))}
        {edges.map(({ key, path }) => <path key={key} className="edge" d={path} />)}
        {nodes.map(({ change, x, y }) => (
          <g key={change.hash} className={change.pending ? "node pending" : "node"} style={hueStyle(change.actor)}>
            <circle cx={x} cy={y} r={3.5 + Math.min(5, Math.log2(1 + change.ops) / 2)}>
              <title>{`${change.hash.slice(0, 8)}: ${change.ops} operations${change.pending ? ", pending" : ""}`}</title>
            </circle>
          </g>
        ))}
      </svg>
    </div>
  );
}
