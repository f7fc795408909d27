/** Where the page begins: without WebAssembly it says so, without a name it asks for one, else it is the app. */
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { createClient } from "syncline";
import { SynclineProvider } from "syncline/react";
import "./styles/layers.css";
import "syncline/react/styles.css";
import wasm from "syncline/wasm?url";
import { Agent } from "./agent/agent.js";
import { App } from "./App.js";
import { ShapedWebSocket, shareWeather } from "./network.js";
import { NotHere } from "./pages/NotHere.js";
import { SignIn } from "./pages/SignIn.js";
import { SpaceContext } from "./space.js";
import "./styles/index.css";
import { applyTheme } from "./theme.js";
import { place } from "./who.js";

function page() {
  if (typeof WebAssembly === "undefined") return <NotHere code="no_webassembly" />;
  const here = place();
  if (here === undefined) return <SignIn />;
  const { user, space, framed } = here;
  document.documentElement.classList.toggle("framed", framed);
  shareWeather(user);
  const options = { url: location.origin, wasm: new URL(wasm, location.href) };
  const client = createClient({ ...options, user, webSocket: ShapedWebSocket, agent: "syncline-demo" });
  const agent = new Agent(space, user, (name) => createClient({ ...options, user: name, storage: "memory", shareTabs: false, agent: "syncline-demo-agent" }));
  // For whoever looks on from the console.
  Object.assign(globalThis, { syncline: client });
  return (
    <SynclineProvider client={client}>
      <SpaceContext value={{ space, user, framed, agent }}>
        <App />
      </SpaceContext>
    </SynclineProvider>
  );
}

applyTheme();
const root = document.getElementById("app");
if (root !== null) createRoot(root).render(<StrictMode>{page()}</StrictMode>);
