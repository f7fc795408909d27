/** What people may think of a post beside liking it, and how it is shown. */
export const REACTIONS: Readonly<Record<string, string>> = { love: "😍", laugh: "😄", wow: "😮", sad: "😢" };
