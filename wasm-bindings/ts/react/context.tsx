/** The provider: which client a tree of components speaks through, and in which words. */
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import type { Client, ClientOptions } from "../types.js";
import { drawn } from "./owned.js";
import { english, type Labels, type LabelsOf } from "./labels.js";

interface Surroundings {
  readonly client: Client;
  readonly labels: Labels;
  readonly locale: string | undefined;
}

const Context = createContext<Surroundings | null>(null);

/** The words of components: whichever are given replace the English ones. */
export type PartialLabels = { readonly [K in keyof Labels]?: Partial<Labels[K]> };

export type SynclineProviderProps = Shown & (
  | { readonly client: Client; readonly options?: undefined }
  | {
      /**
       * Of what to make a client, which is closed when the provider is gone. Only what the first drawing gives counts,
       * but for `url`, `user` and `name`: with another of these the client is another.
       */
      readonly options: ClientOptions;
      readonly client?: undefined;
    }
);

interface Shown {
  /** Replaces words in all components; each also takes its own. */
  readonly labels?: PartialLabels;
  /** For dates and numbers, such as `de-CH`. Default: the browser's. */
  readonly locale?: string;
  readonly children?: ReactNode;
}

/** Gives the components within it a client: one that is given, which who made it closes, or one of its own. */
export function SynclineProvider({ client, options, ...shown }: SynclineProviderProps) {
  if (client !== undefined) return <Given client={client} {...shown} />;
  if ((options as unknown) === undefined) throw new Error("a <SynclineProvider> takes a client, or the options of one to make");
  const { url, user, name } = options;
  return <Made key={JSON.stringify([url, user, name])} options={options} {...shown} />;
}

function Made({ options, ...shown }: Shown & { readonly options: ClientOptions }) {
  const [own, setOwn] = useState(() => drawn(options));
  useEffect(() => {
    if (!own.over) return own.use();
    // It was drawn so long ago that nobody was expected any more.
    setOwn(drawn(options));
    return undefined;
  }, [own]);
  return <Given client={own.client} {...shown} />;
}

function Given({ client, labels, locale, children }: Shown & { readonly client: Client }) {
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
  if (found === null) throw new Error("there is no <SynclineProvider client={…} or options={…}> around this component");
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
