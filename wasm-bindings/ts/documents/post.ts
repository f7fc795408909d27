/** A post: a title, a body with marks, tags, and who may edit it. */

import type {
  MarkName, Pending, Post, PostStatus, PostView, RemoteSelection, Store, TextBinding, TextField,
} from "../types.js";
import { Handle, parsed, type Parts } from "./handle.js";

const UNWRITTEN: PostView = {
  author: null, created: null, status: "published", title: "", body: "", spans: [], tags: [], editors: [],
};

export class PostHandle extends Handle<PostView> implements Post {
  constructor(parts: Parts, address: string) {
    super(parts, address, UNWRITTEN, parsed);
  }

  create(post: { title: string; body?: string; tags?: readonly string[] }): Pending {
    return this.#do({ create: { title: post.title, body: post.body ?? "", tags: post.tags ?? [] } });
  }

  splice(field: TextField, index: number, deleted: number, inserted: string): Pending {
    return this.#do({ splice: { field, index, delete: deleted, insert: inserted } });
  }

  mark(start: number, end: number, name: MarkName, value: string | true = true): Pending {
    return this.#do({ mark: { start, end, name, value } });
  }

  unmark(start: number, end: number, name: MarkName): Pending {
    return this.#do({ unmark: { start, end, name } });
  }

  addTag(tag: string): Pending {
    return this.#do({ add_tag: { tag } });
  }

  removeTag(tag: string): Pending {
    return this.#do({ remove_tag: { tag } });
  }

  addEditor(user: string): Pending {
    return this.#do({ add_editor: { user } });
  }

  removeEditor(user: string): Pending {
    return this.#do({ remove_editor: { user } });
  }

  setStatus(status: PostStatus): Pending {
    return this.#do({ set_status: { status } });
  }

  text(field: TextField): TextBinding {
    return this.bind(field);
  }

  selections(field: TextField): Store<readonly RemoteSelection[]> {
    return this.selectionsIn(field);
  }

  select(field: TextField, selection: { anchor: number; head: number } | null): void {
    this.selectIn(field, selection);
  }

  #do(post: Record<string, unknown>): Pending {
    return this.command({ post });
  }
}
