/** On a server: everything renders to a text, without a browser and without beginning anything. */

import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";

import { createClient } from "../../ts/index.js";
import {
  CollaborativeText, ConnectionStatus, LikeButton, ParticipantsList, RealTimeComments, RefusalToasts, StreamingResponse,
  SynclineProvider, TypingIndicators, usePost,
} from "../../ts/react/index.js";

function Title() {
  return <h1>{usePost("town/one", { suspense: true }).view.title || "untitled"}</h1>;
}

test("all components render on a server", () => {
  expect(typeof window).toBe("undefined");
  const client = createClient({ url: "http://127.0.0.1:1", user: "ada" });
  const html = renderToString(
    <SynclineProvider client={client} labels={{ comments: { loading: "Momentchen" } }}>
      <Title />
      <ConnectionStatus /><ConnectionStatus variant="detailed" />
      <RealTimeComments address="town/one" /><LikeButton address="town/one" />
      <TypingIndicators address="town/one/post" /><ParticipantsList space="town" /><ParticipantsList space="town" variant="stack" />
      <StreamingResponse address="town/answer" /><CollaborativeText address="town/one" field="body" label="Body" />
      <RefusalToasts />
    </SynclineProvider>,
  );
  expect(html).toContain("untitled");
  expect(html).toContain("Momentchen");
  expect(html).toContain("Not connected");
});
