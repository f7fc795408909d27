/** What surrounds every page: the bar, the people and the tools, and what is said when something was refused. */
import { useEffect, useState } from "react";
import { ConnectionStatus, ParticipantsList, RefusalToasts, useClient } from "syncline/react";
import { FeedPage } from "./pages/FeedPage.js";
import { NotHere } from "./pages/NotHere.js";
import { PostPage } from "./pages/PostPage.js";
import { Together } from "./pages/Together.js";
import { Avatar } from "./parts/Avatar.js";
import { Icon } from "./parts/Icon.js";
import { NetworkPanel } from "./parts/NetworkPanel.js";
import { links, useRoute, type Route } from "./route.js";
import { keepShell } from "./shell.js";
import { useHere } from "./space.js";
import { useTheme } from "./theme.js";
import { become } from "./who.js";

export function App() {
  const route = useRoute();
  const failure = useStart();
  usePresenceHere();
  if (failure !== undefined) return <NotHere {...failure} />;
  return (
    <div className="shell">
      <Bar route={route} />
      <main className={route.page === "together" ? "page wide" : "page"} key={route.page === "post" ? route.id : route.page}>
        {route.page === "feed" && <FeedPage />}
        {route.page === "post" && <PostPage id={route.id} />}
        {route.page === "together" && <Together />}
      </main>
      {route.page !== "together" && <Side />}
      <Tabs route={route} />
      <RefusalToasts />
    </div>
  );
}

function Bar({ route }: { route: Route }) {
  const { user, framed } = useHere();
  return (
    <header className="bar">
      <a className="brand" href={links.feed}><img src="/icon.svg" alt="" width="28" height="28" /><span>Syncline</span></a>
      {!framed && (
        <nav className="bar-nav" aria-label="Pages">
          <PageLink to={links.feed} icon="home" on={route.page === "feed"}>Feed</PageLink>
          <PageLink to={links.together} icon="split" on={route.page === "together"}>Side by side</PageLink>
        </nav>
      )}
      <span className="grow" />
      <ConnectionStatus variant="compact" />
      {!framed && <ThemeButton />}
      <button type="button" className="person" onClick={() => !framed && become(undefined)} title="Go on as somebody else">
        <Avatar user={user} size="s" /><span className="person-name">{user}</span><span className="sr-only">: go on as somebody else</span>
      </button>
    </header>
  );
}

function PageLink({ to, icon, on, children }: { to: string; icon: "home" | "split"; on: boolean; children: string }) {
  return <a href={to} className="page-link" aria-current={on ? "page" : undefined}><Icon name={icon} />{children}</a>;
}

function ThemeButton() {
  const [theme, next] = useTheme();
  const icon = theme === "system" ? "auto" : theme === "light" ? "sun" : "moon";
  return <button type="button" className="round" onClick={next} aria-label={`Colours: ${theme}. Change`} title={`Colours: ${theme}`}><Icon name={icon} /></button>;
}

function Side() {
  const { space } = useHere();
  return (
    <aside className="side" aria-label="People and network">
      <div className="card"><ParticipantsList space={space} /></div>
      <NetworkPanel />
    </aside>
  );
}

/** On a phone the side is a sheet, opened from below. */
function Tabs({ route }: { route: Route }) {
  const { framed } = useHere();
  const [open, setOpen] = useState(false);
  useEffect(() => {
    document.documentElement.classList.toggle("side-open", open);
    return () => document.documentElement.classList.remove("side-open");
  }, [open]);
  return (
    <nav className="tabs" aria-label="Pages and tools">
      <a href={links.feed} onClick={() => setOpen(false)} aria-current={route.page === "feed" && !open ? "page" : undefined}><Icon name="home" />Feed</a>
      {!framed && <a href={links.together} onClick={() => setOpen(false)} aria-current={route.page === "together" ? "page" : undefined}><Icon name="split" />Side by side</a>}
      {route.page !== "together" && <button type="button" onClick={() => setOpen(!open)} aria-expanded={open}><Icon name={open ? "close" : "network"} />{open ? "Close" : "People, network"}</button>}
    </nav>
  );
}

/** Being in the space, and counting as active, as long as the page is open. */
function usePresenceHere(): void {
  const client = useClient();
  const { space, agent } = useHere();
  useEffect(() => client.space(space).enter(), [client, space]);
  useEffect(() => agent.recover(), [agent]);
  useEffect(() => {
    const active = () => client.active();
    addEventListener("pointerdown", active);
    addEventListener("keydown", active);
    return () => {
      removeEventListener("pointerdown", active);
      removeEventListener("keydown", active);
    };
  }, [client]);
}

/** Why the client could not start, if it could not. */
function useStart(): { code: string; message: string } | undefined {
  const client = useClient();
  const [failure, setFailure] = useState<{ code: string; message: string }>();
  useEffect(() => {
    let shown = true;
    // By then everything that the page needs has been loaded.
    client.ready.then(keepShell, ({ code, message }: { code?: string; message?: string }) => {
      if (shown) setFailure({ code: code ?? "unknown", message: message ?? "" });
    });
    return () => { shown = false; };
  }, [client]);
  return failure;
}
