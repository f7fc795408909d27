/** Asks for a name. The demo's server takes it at its word. */
import { useState, type FormEvent } from "react";
import { Avatar } from "../parts/Avatar.js";
import { become, isName, suggestions } from "../who.js";

export function SignIn() {
  const [name, setName] = useState("");
  const clean = name.trim().toLowerCase();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (isName(clean)) become(clean);
  };
  return (
    <main className="alone">
      <img src="/icon.svg" alt="" width="56" height="56" />
      <h1>Who are you?</h1>
      <p>A small social space that works offline, across tabs and across people. On this server a name is all it takes.</p>
      <div className="people-choice">
        {suggestions().map((user) => (
          <button key={user} type="button" className="person" onClick={() => become(user)}><Avatar user={user} />{user}</button>
        ))}
      </div>
      <form className="row" onSubmit={submit}>
        <label className="grow"><span className="sr-only">Your name</span>
          <input value={name} onChange={(event) => setName(event.target.value)} placeholder="another name" autoComplete="username" maxLength={32} /></label>
        <button className="button primary" disabled={!isName(clean)}>Enter</button>
      </form>
      <p className="quiet">Letters, digits, dots, dashes. Nobody checks it: open a second window as somebody else.</p>
    </main>
  );
}
