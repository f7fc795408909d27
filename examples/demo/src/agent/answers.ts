/** What the demo agent says: canned, the same for the same question, so that an answer can be gone on with anywhere. */

const OPENINGS = [
  "Good question.",
  "Here is how I think about it.",
  "Short answer: it depends, but less than one fears.",
  "Let me walk through it.",
];

const PARAGRAPHS = [
  "Two people who edit the same text at the same time do not have to wait for each other. Each keystroke is an operation with a name of its own, and everybody who has the same operations sees the same text, in whatever order they came.",
  "Offline is not a special case. A command is shown at once, written to this device, and sent when there is somebody to send it to. Coming back after a week is the same code as coming back after a tunnel.",
  "The server keeps one ordered log for each document. It answers only once a change is on its disk, so what you see confirmed survives a power cut, and catching up is reading that log from where you were.",
  "A counter of likes is a set of people who like it. Liking twice is liking once, and two phones of one person agree without asking anybody.",
  "This answer is an append-only text of its own. It survives a lost connection and a restart of the server, anybody in the space can read along, and one word stops it. When it ends it becomes an ordinary comment.",
  "Where somebody may not do what he did, the server says so with a code, his page takes the change back, keeps what he wrote, and tells him why.",
];

const CLOSINGS = ["That is all I have been taught to say.", "Ask again and you may get another page of my notes.", "I am a demo: these are canned sentences, not thoughts."];

/** All of the answer to a question, including what was said before an interruption. */
export function answer(question: string): string {
  let seed = 17;
  for (const character of question) seed = (seed * 33 + character.charCodeAt(0)) % 65_521;
  const pick = (from: readonly string[], shift: number) => from[(seed + shift) % from.length] ?? "";
  return [
    pick(OPENINGS, 0),
    pick(PARAGRAPHS, 1),
    pick(PARAGRAPHS, 2),
    pick(PARAGRAPHS, 4),
    pick(CLOSINGS, 3),
  ].join(" ");
}

/** The next word from `offset` on, with the space after it. */
export function nextWord(text: string, offset: number): string {
  return /^\S*\s?/.exec(text.slice(offset))?.[0] ?? "";
}
