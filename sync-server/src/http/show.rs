//! A document as JSON for a page. Must never know who looks.

use serde_json::{Map, Value, json};
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Comment, CommentsView, Counter, LikesView, PostStatus, PostView, Span, View,
};
use syncline_engine::ids::{Address, ChangeHash, Epoch, Ulid};

use bytes::Bytes;

use super::cursor::to_hex;

/// A version of a document, ready to be sent.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Names this version and no other.
    pub(crate) etag: String,
    /// The body.
    pub(crate) body: Bytes,
}

impl Shown {
    /// Renders a version.
    pub(crate) fn new(
        address: &Address,
        epoch: Epoch,
        seq: Option<u64>,
        heads: &[ChangeHash],
        view: &View,
    ) -> Self {
        let body = json!({
            "address": address.to_string(),
            "epoch": to_hex(&epoch.0),
            "seq": seq,
            "heads": heads.iter().map(|head| to_hex(&head.0)).collect::<Vec<_>>(),
            address.facet().as_str(): content(view),
        });
        Self { etag: etag(heads), body: body.to_string().into() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        Self { etag: String::new(), body: vec![0; bytes].into() }
    }
}

/// The entity tag of a document with these heads: what two versions have in common if they are the same.
pub(crate) fn etag(heads: &[ChangeHash]) -> String {
    let digest = syncline_engine::ids::heads_digest(heads.iter().copied());
    format!("\"{}\"", to_hex(&digest))
}

/// All that a document shows.
fn content(view: &View) -> Value {
    match view {
        View::Post(post) => post_content(post),
        View::Likes(likes) => likes_content(likes),
        View::Comments(comments) => comments_content(comments),
        View::Json(json) => json.value(),
    }
}

/// What a page shows of a document beside others: counts and titles, never texts.
pub(crate) fn summary(view: &View) -> Value {
    match view {
        View::Post(post) => json!({
            "title": is_shown(post).then(|| post.title()),
            "status": post.status().as_str(),
        }),
        View::Likes(likes) => likes_content(likes),
        View::Comments(comments) => json!({ "count": comments.live() }),
        View::Json(_) => json!({}),
    }
}

/// A post that is hidden or deleted shows that it is, and nothing else: who may edit it has a client.
fn is_shown(post: &PostView) -> bool {
    post.status() == PostStatus::Published
}

fn post_content(post: &PostView) -> Value {
    let mut content = json!({
        "author": post.author().map(ToString::to_string),
        "created": post.created().map(millis),
        "status": post.status().as_str(),
    });
    if is_shown(post) {
        content["title"] = post.title().into();
        content["body"] = post.body().into();
        content["spans"] = post.spans().iter().map(span).collect();
        content["tags"] = post.tags().iter().map(String::as_str).collect();
        content["editors"] = post.editors().iter().map(ToString::to_string).collect();
    }
    content
}

fn span(span: &Span) -> Value {
    let marks: Map<String, Value> =
        span.marks.iter().map(|(name, value)| (name.as_str().to_owned(), json!(value))).collect();
    json!({ "text": span.text, "marks": marks })
}

fn likes_content(likes: &LikesView) -> Value {
    let targets: Map<String, Value> = likes
        .targets()
        .map(|target| {
            let counts = likes.reactions(target);
            let counts: Map<_, _> = counts.map(|(how, n)| (how.to_owned(), n.into())).collect();
            (target.to_string(), counts.into())
        })
        .collect();
    let counters: Map<String, Value> = Counter::ALL
        .iter()
        .map(|counter| (counter.as_str().to_owned(), likes.counter(*counter).into()))
        .collect();
    json!({ "targets": targets, "counters": counters })
}

fn comments_content(comments: &CommentsView) -> Value {
    let thread: Vec<_> =
        comments.thread().map(|(depth, id, shown)| comment(depth, id, shown)).collect();
    json!({ "count": comments.live(), "thread": thread })
}

fn comment(depth: usize, id: Ulid, comment: &Comment) -> Value {
    let Comment { author, parent, created, body, edited, deleted } = comment;
    json!({
        "id": id.to_string(),
        "depth": depth,
        "parent": parent.map(|parent| parent.to_string()),
        "author": author.as_str(),
        "created": millis(*created),
        "edited": edited.map(millis),
        "deleted": deleted.map(millis),
        // The tombstone keeps its text in the document; nobody shows it.
        "body": deleted.is_none().then_some(body),
    })
}

const fn millis(at: Timestamp) -> u64 {
    at.0
}
