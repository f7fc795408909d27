/** Said instead of the app where it can't run: what is missing, and what helps. */
const SENTENCES: Readonly<Record<string, readonly [title: string, help: string]>> = {
  no_webassembly: [
    "This browser runs no WebAssembly",
    "The engine that keeps documents the same for everyone is compiled to WebAssembly. It is switched off here, for example by a lockdown mode or a policy. Switch it on for this site, or use another browser.",
  ],
  local_store: [
    "This browser keeps nothing for this page",
    "Without a place on the device nothing can be written offline. Private windows of some browsers have none; a full disk has none either.",
  ],
};

export function NotHere({ code, message }: { code: string; message?: string }) {
  const [title, help] = SENTENCES[code] ?? ["This page can't start", message ?? "Something went wrong before anything could be shown."];
  return (
    <main className="alone">
      <img src="/icon.svg" alt="" width="56" height="56" />
      <h1>{title}</h1>
      <p role="alert">{help}</p>
      <p className="quiet">Code: <code>{code}</code></p>
      <button type="button" className="button" onClick={() => location.reload()}>Try again</button>
    </main>
  );
}
