// What is shown, in plain DOM and the same for every system: a title, a text to type in, and all comments.
// Knows nothing of where they come from; is told what changed and where.

export class View {
  #title = document.createElement("h1");
  #count = document.createElement("p");
  #list = document.createElement("ol");
  text = document.createElement("textarea");

  constructor(root) {
    this.text.rows = 12;
    root.replaceChildren(this.#title, this.text, this.#count, this.#list);
  }

  get comments() {
    return this.#list.children.length;
  }

  title(title) {
    this.#title.textContent = title;
  }

  /** Everything at once, into one fragment. */
  show(text, comments) {
    this.text.value = text;
    const rows = document.createDocumentFragment();
    for (const comment of comments) rows.append(row(comment));
    this.#list.replaceChildren(rows);
  }

  count(characters) {
    this.#count.textContent = `${characters} characters, ${this.comments} comments`;
  }

  insert(index, comment) {
    this.#list.insertBefore(row(comment), this.#list.children[index] ?? null);
  }

  replace(index, comment) {
    this.#list.children[index].replaceWith(row(comment));
  }

  remove(index) {
    this.#list.children[index].remove();
  }

  /** Somebody else's edit: the caret stays where it is in the text. */
  splice(index, deleted, inserted) {
    this.text.setRangeText(inserted, index, index + deleted, "preserve");
  }
}

function row({ author, created, body }) {
  const item = document.createElement("li");
  const head = document.createElement("small");
  head.textContent = `${author}, ${new Date(created).toISOString()}`;
  const text = document.createElement("p");
  text.textContent = body;
  item.append(head, text);
  return item;
}
