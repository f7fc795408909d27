/** Where each change of a graph lies. Draws nothing. */
import type { ChangeInfo } from "syncline";

export const STEP = { x: 22, y: 26 };

export interface Node {
  readonly change: ChangeInfo;
  readonly x: number;
  readonly y: number;
}

export interface Graph {
  readonly nodes: readonly Node[];
  readonly edges: readonly { readonly key: string; readonly path: string }[];
  /** The writers, from above. */
  readonly lanes: readonly string[];
}

/** `changes` come oldest first, as the client tells them: what a change builds on lies to its left. */
export function layout(changes: readonly ChangeInfo[]): Graph {
  const lanes: string[] = [];
  const nodes = new Map<string, Node>();
  for (const [index, change] of changes.entries()) {
    let lane = lanes.indexOf(change.actor);
    if (lane < 0) lane = lanes.push(change.actor) - 1;
    nodes.set(change.hash, { change, x: STEP.x * (index + 1), y: STEP.y * (lane + 1) });
  }
  const edges = [...nodes.values()].flatMap((node) => node.change.deps.flatMap((dep) => {
    const from = nodes.get(dep);
    return from === undefined ? [] : [{ key: `${dep}-${node.change.hash}`, path: curve(from, node) }];
  }));
  return { nodes: [...nodes.values()], edges, lanes };
}

function curve(from: Node, to: Node): string {
  if (from.y === to.y && to.x - from.x <= STEP.x) return `M${from.x} ${from.y}H${to.x}`;
  // Over others in its lane, a line bows, so that it does not seem to touch them.
  const bow = from.y === to.y ? -STEP.y / 2 : 0;
  const middle = (from.x + to.x) / 2;
  return `M${from.x} ${from.y}C${middle} ${from.y + bow} ${middle} ${to.y + bow} ${to.x} ${to.y}`;
}
