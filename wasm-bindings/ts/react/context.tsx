/** The provider: which client a tree of components speaks through, and in which words. */
import { createContext, useContext, useMemo, type ReactNode } from "react";
import type { Client } from "../types.js";
import { english, type Labels, type LabelsOf } from "./labels.js";

interface Surroundings {
  readonly client: Client;
  readonly labels: Labels;
  readonly locale: string | undefined;
}

const Context = createContext<Surroundings | null>(null);

/** The words of components: whichever are given replace the English ones. */
export type PartialLabels = { readonly [K in keyof Labels]?: Partial<Labels[K]> };

export interface SynclineProviderProps {
  readonly client: Client;
  /** Replaces words in all components; each also takes its own. */
  readonly labels?: PartialLabels;
  /** For dates and numbers, such as `de-CH`. Default: the browser's. */
  readonly locale?: string;
  readonly children?: ReactNode;
}

/** Gives the components within it a client. Who made the client closes it. */
export function SynclineProvider({ client, labels, locale, children }: SynclineProviderProps) {
  const value = useMemo(() => ({ client, labels: merged(labels), locale }), [client, labels, locale]);
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

function merged(own: PartialLabels | undefined): Labels {
  if (own === undefined) return english;
  const all: Record<string, object> = { ...english };
  for (const [name, words] of Object.entries(own)) all[name] = { ...all[name], ...words };
  return all as unknown as Labels;
}

function useSurroundings(): Surroundings {
  const found = useContext(Context);
  if (found === null) throw new Error("there is no <SynclineProvider client={…}> around this component");
  return found;
}

/** The client of the nearest provider. */
export function useClient(): Client {
  return useSurroundings().client;
}

/** The locale of the nearest provider. */
export function useLocale(): string | undefined {
  return useSurroundings().locale;
}

/** The words of one component: its own before the provider's before English. */
export function useLabels<K extends keyof Labels>(component: K, own?: LabelsOf<K>): Labels[K] {
  const { labels } = useSurroundings();
  const base = labels[component];
  return useMemo(() => (own === undefined ? base : { ...base, ...own }), [base, own]);
}
