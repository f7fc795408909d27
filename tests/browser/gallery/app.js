// An app that is rendered on a server and goes live in the browser. Both call it with their own modules, so it is plain
// JavaScript and imports nothing.
export const POST = "town/hydrated";

/** The app's elements; `react` and `parts` are the modules `react` and `syncline/react`. */
export function app({ createElement, StrictMode }, parts, client) {
  const Title = () => createElement("h1", null, parts.usePost(POST, { suspense: true }).view.title || "Untitled");
  const at = { address: POST };
  return createElement(StrictMode, null, createElement(parts.SynclineProvider, { client },
    createElement(Title),
    createElement(parts.ConnectionStatus),
    createElement(parts.ConnectionStatus, { variant: "detailed", labels: { region: "Details" } }),
    createElement(parts.LikeButton, at),
    createElement(parts.CollaborativeText, { ...at, field: "body", label: "Body" }),
    createElement(parts.RealTimeComments, at),
    createElement(parts.TypingIndicators, { address: `${POST}/post` }),
    createElement(parts.ParticipantsList, { space: "town" }),
    createElement(parts.ParticipantsList, { space: "town", variant: "stack" }),
    createElement(parts.StreamingResponse, { address: "town/answer" }),
    createElement(parts.RefusalToasts),
  ));
}
