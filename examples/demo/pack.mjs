// Puts packed forms beside the built files, for the server to embed.
import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const folder = path.resolve(import.meta.dirname, "../../target/web/demo");
const worthIt = /\.(html|js|css|svg|wasm|webmanifest)$/;

for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
  const file = path.join(entry.parentPath, entry.name);
  if (!entry.isFile() || !worthIt.test(entry.name)) continue;
  const plain = await readFile(file);
  const packed = {
    br: await promisify(brotliCompress)(plain, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: plain.length } }),
    gz: await promisify(gzip)(plain, { level: 9 }),
  };
  const kib = (bytes) => `${(bytes.length / 1024).toFixed(1)} KiB`;
  for (const [suffix, bytes] of Object.entries(packed)) {
    if (bytes.length < plain.length) await writeFile(`${file}.${suffix}`, bytes);
  }
  console.log(`${path.relative(folder, file)}: ${kib(plain)}, gzip ${kib(packed.gz)}, brotli ${kib(packed.br)}`);
}
