/** What every part of the page knows: who is here, in which space, and the agent of this page. */
import { createContext, use } from "react";
import type { Agent } from "./agent/agent.js";

export interface Here {
  readonly space: string;
  readonly user: string;
  readonly framed: boolean;
  readonly agent: Agent;
}

export const SpaceContext = createContext<Here | null>(null);

export function useHere(): Here {
  const here = use(SpaceContext);
  if (here === null) throw new Error("outside of the page");
  return here;
}
/** For who only looks at who is in the space: the page has entered it already. */
export const LOOK = { enter: false };
