//! Documents as JSON, for pages and apps that do not speak frames. Must never know how it travels.

use serde_json::{Map, Value, json};

use super::{Comment, CommentsView, Counter, LikesView, PostStatus, PostView, Span, View};
use crate::clock::Timestamp;
use crate::ids::{Ulid, UserId};

/// For whom a document is shown.
#[derive(Debug, Clone, Copy)]
pub enum Viewer<'a> {
    /// For anybody, as a page that many are sent: of a post that is hidden or deleted it shows that it
    /// is, and nothing else.
    Anybody,
    /// For this user, who is sent the document itself: all of it, and what is the user's own.
    User(&'a UserId),
}

/// All that a document shows.
#[must_use]
pub fn content(view: &View, viewer: Viewer<'_>) -> Value {
    match view {
        View::Post(post) => post_content(post, viewer),
        View::Likes(likes) => likes_content(likes, viewer),
        View::Comments(comments) => comments_content(comments),
        View::Json(json) => json.value(),
    }
}

/// What a page shows of a document beside others: counts and titles, never texts.
#[must_use]
pub fn summary(view: &View) -> Value {
    match view {
        View::Post(post) => json!({
            "title": is_shown(post).then(|| post.title()),
            "status": post.status().as_str(),
        }),
        View::Likes(likes) => likes_content(likes, Viewer::Anybody),
        View::Comments(comments) => json!({ "count": comments.live() }),
        View::Json(_) => json!({}),
    }
}

/// One comment, but for where it lies in the thread.
#[must_use]
pub fn comment(id: Ulid, comment: &Comment) -> Value {
    let Comment { author, parent, created, body, edited, deleted } = comment;
    json!({
        "id": id.to_string(),
        "parent": parent.map(|parent| parent.to_string()),
        "author": author.as_str(),
        "created": millis(*created),
        "edited": edited.map(millis),
        "deleted": deleted.map(millis),
        // The tombstone keeps its text in the document; nobody shows it.
        "body": deleted.is_none().then_some(body),
    })
}

fn is_shown(post: &PostView) -> bool {
    post.status() == PostStatus::Published
}

fn post_content(post: &PostView, viewer: Viewer<'_>) -> Value {
    let mut content = json!({
        "author": post.author().map(ToString::to_string),
        "created": post.created().map(millis),
        "status": post.status().as_str(),
    });
    if is_shown(post) || matches!(viewer, Viewer::User(_)) {
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

fn likes_content(likes: &LikesView, viewer: Viewer<'_>) -> Value {
    let targets: Map<String, Value> = likes
        .targets()
        .map(|target| {
            let reactions: Map<String, Value> = likes
                .reactions(target)
                .map(|(reaction, count)| {
                    let shown = match viewer {
                        Viewer::Anybody => count.into(),
                        Viewer::User(user) => {
                            let mine = likes.contains(target, reaction, user);
                            json!({ "count": count, "mine": mine })
                        }
                    };
                    (reaction.to_owned(), shown)
                })
                .collect();
            (target.to_string(), reactions.into())
        })
        .collect();
    let counters: Map<String, Value> = Counter::ALL
        .iter()
        .map(|counter| (counter.as_str().to_owned(), likes.counter(*counter).into()))
        .collect();
    json!({ "targets": targets, "counters": counters })
}

fn comments_content(comments: &CommentsView) -> Value {
    let thread: Vec<_> = comments
        .thread()
        .map(|(depth, id, shown)| {
            let mut shown = comment(id, shown);
            shown["depth"] = depth.into();
            shown
        })
        .collect();
    json!({ "count": comments.live(), "thread": thread })
}

const fn millis(at: Timestamp) -> u64 {
    at.0
}

#[cfg(test)]
mod tests {
    use automerge::TextEncoding;

    use super::*;
    use crate::document::{Command, fill_in, genesis};
    use crate::ids::{Address, Facet};

    /// What a document shows in which these users did these things.
    fn view(facet: Facet, commands: &[(&str, Value)]) -> View {
        let address = Address::new("town", "one", facet).unwrap();
        let mut doc = genesis::document(&address, TextEncoding::UnicodeCodePoint);
        for (number, (user, short)) in (1..).zip(commands) {
            let mut command = short.clone();
            fill_in(&mut command, user, Timestamp(number), Ulid::new(Timestamp(number), 1));
            let command: Command = serde_json::from_value(command).unwrap();
            let mut tx = doc.transaction();
            command.apply(&mut tx).unwrap();
            tx.commit();
        }
        View::read(facet, &doc)
    }

    #[test]
    fn likes_are_counts_for_anybody_and_say_whose_they_are_for_a_user() {
        let like = json!({ "likes": { "like": {} } });
        let view = view(Facet::Likes, &[("ada", like.clone()), ("bob", like)]);
        let anybody = content(&view, Viewer::Anybody);
        assert_eq!(anybody["targets"], json!({ "post": { "like": 2 } }));
        assert_eq!(summary(&view), anybody);
        for (name, mine) in [("ada", true), ("eve", false)] {
            let user = UserId::new(name).unwrap();
            let shown = content(&view, Viewer::User(&user));
            let expected = json!({ "post": { "like": { "count": 2, "mine": mine } } });
            assert_eq!(shown["targets"], expected);
            assert_eq!(shown["counters"], json!({ "views": 0, "shares": 0 }));
        }
    }

    #[test]
    fn a_hidden_post_is_shown_to_the_user_who_has_the_document_and_to_nobody_else() {
        let create = json!({ "post": { "create": { "title": "T", "body": "B" } } });
        let hide = json!({ "post": { "set_status": { "status": "hidden" } } });
        let view = view(Facet::Post, &[("ada", create), ("ada", hide)]);
        let shown = content(&view, Viewer::Anybody);
        assert_eq!((&shown["status"], shown.get("body")), (&json!("hidden"), None));
        assert_eq!(summary(&view), json!({ "title": null, "status": "hidden" }));
        let ada = UserId::new("ada").unwrap();
        assert_eq!(content(&view, Viewer::User(&ada))["body"], "B");
    }

    #[test]
    fn a_deleted_comment_keeps_its_place_and_shows_no_text() {
        let add = json!({ "comments": { "add": { "body": "Hi" } } });
        let id = Ulid::new(Timestamp(1), 1).to_string();
        let delete = json!({ "comments": { "delete": { "id": id } } });
        let view = view(Facet::Comments, &[("ada", add), ("ada", delete)]);
        let shown = content(&view, Viewer::Anybody);
        assert_eq!((&shown["count"], &shown["thread"][0]["depth"]), (&json!(0), &json!(0)));
        let comment = &shown["thread"][0];
        assert_eq!((&comment["body"], &comment["deleted"]), (&Value::Null, &json!(2)));
    }
}
