/** `syncline/codemirror`: a CodeMirror 6 editor on a shared text, with others' carets and a post's marks. */
export { synclineText, isRemote, type LocalSelection, type SynclineTextOptions } from "./text.js";
export { remoteSelections } from "./selections.js";
export { synclineMarks, toggleBold, toggleCode, toggleItalic, toggleMark, setLink, markKeymap, type MarksOptions } from "./marks.js";
