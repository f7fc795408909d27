// The same by `require`.

const assert = require("node:assert/strict");
const { createClient } = require("syncline");

async function main() {
  const client = createClient({ url: "ws://127.0.0.1:9", user: "ada", online: false });
  await client.ready;
  await client.likes("town/square").like().stored;
  assert.equal(client.likes("town/square").getSnapshot().targets.post.like.mine, true);
  await client.close();
  console.log("CommonJS: ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
