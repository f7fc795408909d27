// A page of all components, for whichever kind of import hands over its modules.

const assert = require("node:assert/strict");

/** Renders it as a server does: without a window, and without beginning anything. */
exports.render = function render({ createElement }, { renderToString }, { createClient }, parts) {
  assert.equal(typeof window, "undefined");
  const client = createClient({ url: "ws://127.0.0.1:9", user: "ada" });
  const at = { address: "town/square" };
  const Title = () => createElement("h1", null, parts.usePost(at.address, { suspense: true }).view.title || "untitled");
  const html = renderToString(createElement(parts.SynclineProvider, { client },
    createElement(Title), createElement(parts.ConnectionStatus), createElement(parts.ConnectionStatus, { variant: "detailed" }),
    createElement(parts.RealTimeComments, at), createElement(parts.LikeButton, at),
    createElement(parts.CollaborativeText, { ...at, field: "body", label: "Body" }),
    createElement(parts.TypingIndicators, { address: "town/square/post" }), createElement(parts.ParticipantsList, { space: "town" }),
    createElement(parts.StreamingResponse, { address: "town/answer" }), createElement(parts.RefusalToasts),
  ));
  for (const words of ["untitled", "Not connected", "Loading comments", "Body", "Waiting for an answer"]) assert.ok(html.includes(words), `${words}: ${html}`);
};
