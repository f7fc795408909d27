import { createClient } from "syncline";

const client = createClient({ url: location.origin, user: "ada" });
const comments = client.comments("town/square");
comments.subscribe(() => { document.title = String(comments.getSnapshot().count); });
