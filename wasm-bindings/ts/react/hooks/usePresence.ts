/** Who is in a space, and what they do there. */
import { useCallback, useEffect, useMemo } from "react";
import type { Json, Member, Space, SpaceView } from "../../types.js";
import { useClient } from "../context.js";
import { useStore } from "../store.js";

export interface PresenceOptions {
  /** Whether others see this user. Default `true`. */
  readonly visible?: boolean;
  /** Whether to enter; `false` only looks at what is known. Default `true`. */
  readonly enter?: boolean;
}

export interface UsedPresence extends SpaceView {
  readonly space: Space;
  /** The members without this user. */
  readonly others: readonly Member[];
  /** Tells the others something under a key of the app; `undefined` takes it back. */
  announce(key: string, value: Json | undefined, options?: { ttlMs?: number }): void;
  /** Sends somebody out for a while; for those whose role allows it. */
  kick(user: string, forMs: number): void;
}

/** Is in a space as long as the component is there. */
export function usePresence(name: string, options?: PresenceOptions): UsedPresence {
  const client = useClient();
  const space = useEntered(name, options);
  const view = useStore(space);
  const others = useMemo(() => view.members.filter(({ user }) => user !== client.user), [view.members, client]);
  const announce = useCallback<Space["announce"]>((key, value, how) => space.announce(key, value, how), [space]);
  const kick = useCallback<Space["kick"]>((user, forMs) => space.kick(user, forMs), [space]);
  return useMemo(() => ({ ...view, space, others, announce, kick }), [view, space, others, announce, kick]);
}

/** The handle of a space, entered while the component is there. */
export function useEntered(name: string, options?: PresenceOptions): Space {
  const client = useClient();
  const space = useMemo(() => client.space(name), [client, name]);
  const [visible, wanted] = [options?.visible ?? true, options?.enter ?? true];
  useEffect(() => (wanted ? space.enter({ visible }) : undefined), [space, visible, wanted]);
  return space;
}

export interface Participant extends Member {
  readonly isSelf: boolean;
  /** The document in which this user types (`space/id/facet`). */
  readonly typingIn?: string;
  /** Where this user's caret is: the document, and which of its texts. */
  readonly cursor?: { readonly address: string; readonly text: string };
}

/** The people in a space: this user first, then who is active, by name. Enters it. */
export function useSessionParticipants(name: string, options?: PresenceOptions): UsedPresence & { readonly participants: readonly Participant[] } {
  const client = useClient();
  const presence = usePresence(name, options);
  const participants = useMemo(
    () => presence.members.map((member) => participant(member, client.user)).sort(inOrder),
    [presence.members, client],
  );
  return useMemo(() => ({ ...presence, participants }), [presence, participants]);
}

function participant(member: Member, self: string): Participant {
  const { typing, cursor } = member.says;
  const at = place(cursor);
  return {
    ...member,
    isSelf: member.user === self,
    ...(typeof typing === "string" ? { typingIn: typing } : {}),
    ...(at === undefined ? {} : { cursor: at }),
  };
}

/** What is announced under `cursor`, which anybody may fill with anything. */
function place(said: Json | undefined): Participant["cursor"] {
  if (typeof said !== "object" || said === null || Array.isArray(said)) return undefined;
  const { in: address, at: text } = said as { readonly [key: string]: Json };
  return typeof address === "string" && typeof text === "string" ? { address, text } : undefined;
}

function inOrder(a: Participant, b: Participant): number {
  return Number(b.isSelf) - Number(a.isSelf) || Number(b.active) - Number(a.active) || (a.user < b.user ? -1 : 1);
}
