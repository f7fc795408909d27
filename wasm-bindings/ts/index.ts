/** Posts, likes, comments, presence and live documents that merge: `createClient`, and the types of what it gives. */

import { SynclineClient } from "./client.js";
import type { Client, ClientOptions } from "./types.js";

export { SynclineError } from "./errors.js";
export type * from "./types.js";

/**
 * A client of a server. It begins at once in a page, and elsewhere when it is used for the first time; {@link
 * Client.ready} tells when it runs and why it does not. `close` it when it is not needed any more.
 */
export function createClient(options: ClientOptions): Client {
  return new SynclineClient(options);
}
