//! Documents as people read them and as JSON. Looks at views only.

use std::fmt::Write as _;

use serde_json::{Value, json};
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    CommentsView, Counter, Event, LikesView, PostStatus, PostView, Target, View,
};

/// The three parts of a post.
pub(crate) struct Talk<'a> {
    pub(crate) name: String,
    pub(crate) post: &'a PostView,
    pub(crate) likes: &'a LikesView,
    pub(crate) comments: &'a CommentsView,
    /// Commands that are not on the server yet.
    pub(crate) pending: usize,
    /// Whether this is what the server has at the moment.
    pub(crate) live: bool,
}

/// UTC to the minute.
pub(crate) fn time(at: Timestamp) -> String {
    let minutes = at.0 / 60_000;
    let (days, minute) = (minutes / 1_440, minutes % 1_440);
    // Days to a date of the Gregorian calendar, with years that begin in March (Hinnant 2013).
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
}

/// What one may safely print: control characters could move the cursor or worse.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn indented(text: &str, indent: usize) -> String {
    let margin = " ".repeat(indent);
    clean(text).lines().map(|line| format!("{margin}{line}\n")).collect()
}

fn counted(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

fn reactions(likes: &LikesView, target: Target) -> String {
    let all: Vec<String> =
        likes.reactions(target).map(|(reaction, n)| format!("{} {n}", clean(reaction))).collect();
    if all.is_empty() { String::new() } else { format!(" · {}", all.join(", ")) }
}

/// A post with its comments, replies indented below what they answer.
pub(crate) fn talk(talk: &Talk<'_>) -> String {
    let mut out = String::new();
    let post = talk.post;
    let title = if post.title().is_empty() { "(untitled)" } else { post.title() };
    let _ = writeln!(out, "{}", clean(title));
    let author = post.author().map_or("nobody yet", |author| author.as_str());
    let created = post.created().map(|at| format!(" · {}", time(at))).unwrap_or_default();
    let comments = counted(talk.comments.live(), "comment", "comments");
    let reactions_of_post = reactions(talk.likes, Target::Post);
    let _ = writeln!(out, "{author}{created}{reactions_of_post} · {comments}");
    if !post.tags().is_empty() {
        let tags: Vec<String> = post.tags().iter().map(|tag| format!("#{}", clean(tag))).collect();
        let _ = writeln!(out, "{}", tags.join(" "));
    }
    let _ = writeln!(out, "{}", talk.name);
    match post.status() {
        PostStatus::Published => {
            let _ = write!(out, "\n{}", indented(post.body(), 0));
        }
        PostStatus::Hidden => out.push_str("\n(hidden)\n"),
        PostStatus::Deleted => out.push_str("\n(deleted)\n"),
    }
    for (depth, id, comment) in talk.comments.thread() {
        let indent = 2 * (depth + 1);
        let margin = " ".repeat(indent);
        let edited = if comment.edited.is_some() { " · edited" } else { "" };
        let reactions = reactions(talk.likes, Target::Comment(id));
        let at = time(comment.created);
        let _ = writeln!(out, "\n{margin}{} · {at}{edited}{reactions}  [{id}]", comment.author);
        if comment.deleted.is_some() {
            let _ = writeln!(out, "{margin}(deleted)");
        } else {
            out.push_str(&indented(&comment.body, indent));
        }
    }
    if talk.pending > 0 {
        let pending = counted(talk.pending, "change", "changes");
        let _ = writeln!(out, "\n… {pending} of yours not on the server yet");
    }
    if !talk.live {
        out.push_str("\n(as this device has it; the server was not asked)\n");
    }
    out
}

/// A post with its comments as one value.
pub(crate) fn talk_json(talk: &Talk<'_>) -> Value {
    json!({
        "post": talk.name,
        "live": talk.live,
        "pending": talk.pending,
        "content": post_json(talk.post),
        "reactions": reactions_json(talk.likes, Target::Post),
        "comments": talk.comments.thread().map(|(depth, id, comment)| {
            let mut value = comment_json(id.to_string(), comment);
            value["depth"] = json!(depth);
            value["reactions"] = reactions_json(talk.likes, Target::Comment(id));
            value
        }).collect::<Vec<_>>(),
    })
}

fn reactions_json(likes: &LikesView, target: Target) -> Value {
    likes.reactions(target).map(|(reaction, n)| (reaction.to_owned(), json!(n))).collect()
}

fn post_json(post: &PostView) -> Value {
    json!({
        "title": post.title(),
        "body": post.body(),
        "author": post.author().map(|author| author.as_str()),
        "created": post.created().map(|at| at.0),
        "status": post.status().as_str(),
        "tags": post.tags(),
        "editors": post.editors().iter().map(|user| user.as_str()).collect::<Vec<_>>(),
    })
}

fn comment_json(id: String, comment: &syncline_engine::document::Comment) -> Value {
    // The text of a deleted comment may still be there for the sake of merging; it is not shown.
    let body = if comment.deleted.is_some() { "" } else { comment.body.as_str() };
    json!({
        "id": id,
        "parent": comment.parent.map(|parent| parent.to_string()),
        "author": comment.author.as_str(),
        "created": comment.created.0,
        "body": body,
        "edited": comment.edited.map(|at| at.0),
        "deleted": comment.deleted.map(|at| at.0),
    })
}

/// One document as a value, for export.
pub(crate) fn document_json(view: &View) -> Value {
    match view {
        View::Post(post) => post_json(post),
        View::Likes(likes) => json!({
            "likes": likes.iter().map(|(target, reaction, user, at)| json!({
                "target": target.to_string(),
                "reaction": reaction,
                "user": user.as_str(),
                "id": at.to_string(),
            })).collect::<Vec<_>>(),
            "views": likes.counter(Counter::Views),
            "shares": likes.counter(Counter::Shares),
        }),
        View::Comments(comments) => json!({
            "comments": comments
                .iter()
                .map(|(id, comment)| comment_json(id.to_string(), comment))
                .collect::<Vec<_>>(),
        }),
        View::Json(value) => json!({ "value": value.value() }),
    }
}

/// What happened, in one line, and as a value. `None` for what is of no interest to a spectator.
pub(crate) fn event(event: &Event, view: &View) -> Option<(String, Value)> {
    let target = |target: &Target| match target {
        Target::Post => "the post".to_owned(),
        Target::Comment(id) => format!("comment {id}"),
    };
    let body = |id| match view {
        View::Comments(comments) => {
            comments.comment(id).map(|comment| comment.body.clone()).unwrap_or_default()
        }
        View::Post(_) | View::Likes(_) | View::Json(_) => String::new(),
    };
    Some(match event {
        Event::PostCreated { author } => {
            (format!("{author} wrote the post"), json!({"event": "post", "user": author.as_str()}))
        }
        Event::TitleSpliced { .. } => ("the title changed".to_owned(), json!({"event": "title"})),
        Event::BodySpliced { .. } => ("the text changed".to_owned(), json!({"event": "body"})),
        Event::StatusChanged { status } => (
            format!("the post is {}", status.as_str()),
            json!({"event": "status", "status": status.as_str()}),
        ),
        Event::LikeAdded { target: on, reaction, user } => (
            format!("{user} reacts with {} to {}", clean(reaction), target(on)),
            json!({"event": "like", "target": on.to_string(), "reaction": reaction,
                "user": user.as_str()}),
        ),
        Event::LikeRemoved { target: on, reaction, user } => (
            format!("{user} takes {} back from {}", clean(reaction), target(on)),
            json!({"event": "unlike", "target": on.to_string(), "reaction": reaction,
                "user": user.as_str()}),
        ),
        Event::CommentAdded { id, parent, author } => {
            let to = parent.map(|parent| format!(" answers {parent}")).unwrap_or_default();
            let text = body(*id);
            (
                format!("{author}{to}: {}  [{id}]", clean(&text)),
                json!({"event": "comment", "id": id.to_string(), "user": author.as_str(),
                    "parent": parent.map(|parent| parent.to_string()), "body": text}),
            )
        }
        Event::CommentEdited { id } => {
            let text = body(*id);
            (
                format!("comment {id} reads: {}", clean(&text)),
                json!({"event": "edit", "id": id.to_string(), "body": text}),
            )
        }
        Event::CommentDeleted { id } | Event::CommentRemoved { id } => {
            (format!("comment {id} is gone"), json!({"event": "delete", "id": id.to_string()}))
        }
        Event::PostRemoved
        | Event::MarksChanged { .. }
        | Event::TagAdded { .. }
        | Event::TagRemoved { .. }
        | Event::EditorAdded { .. }
        | Event::EditorRemoved { .. }
        | Event::CounterChanged { .. }
        | Event::JsonChanged { .. }
        | _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(time(Timestamp(0)), "1970-01-01 00:00");
        assert_eq!(time(Timestamp(951_825_599_000)), "2000-02-29 11:59");
        assert_eq!(time(Timestamp(1_517_948_390_957)), "2018-02-06 20:19");
        assert_eq!(time(Timestamp(4_107_542_400_000)), "2100-03-01 00:00");
    }

    #[test]
    fn control_characters_of_others_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\r"), "a\u{fffd}[2Jb\nc\u{fffd}");
    }
}
