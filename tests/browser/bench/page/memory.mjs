// Remembers the memories of WebAssembly, of which the browser tells nobody. Imported before what uses them.

const memories = new Set();

function remember(instance) {
  for (const value of Object.values(instance.exports)) if (value instanceof WebAssembly.Memory) memories.add(value);
}

for (const name of ["instantiate", "instantiateStreaming"]) {
  const original = WebAssembly[name];
  WebAssembly[name] = async (...words) => {
    const made = await original.apply(WebAssembly, words);
    remember(made.instance ?? made);
    return made;
  };
}

/** In bytes, as large as they have grown. */
export function memory() {
  return [...memories].reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
}
