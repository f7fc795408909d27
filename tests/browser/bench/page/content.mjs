// The document that every system holds: made by arithmetic, so that each run and each system has the same.

const WORDS = (
  "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you were " +
  "all her she there would their we him been has when who will no more if out so up said what its about than into them can only"
).split(" ");

/** Text of exactly so many characters, which `seed` picks. */
function text(seed, length) {
  let state = seed + 1;
  let written = "";
  while (written.length < length) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    written += `${WORDS[Math.floor(state / 65_536) % WORDS.length]} `;
  }
  return `${written.slice(0, length - 1)}.`;
}

export const TITLE = "A post that many have answered";

export function body() {
  return text(0, 2_000);
}

export function comment(number) {
  return text(number + 1, 120);
}
