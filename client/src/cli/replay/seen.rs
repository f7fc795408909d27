//! Whether a view shows what an event needs or did. Looks at views only; opens and changes nothing.

use syncline_engine::clock::Timestamp;
use syncline_engine::document::{PostStatus, View};
use syncline_engine::ids::UserId;

use super::events::Kind;
use super::plan::{EventIndex, Need, Plan, REACTION};

/// Whether the document in which the needed item lives shows it.
pub(crate) fn is_met(plan: &Plan, need: Need<'_>, view: &View) -> bool {
    match need {
        Need::Nothing => true,
        Need::Item(item) => has_item(plan, item, view),
        Need::Text { item, text, edited } => has_text(plan, item, text, edited, view),
    }
}

fn has_item(plan: &Plan, item: &str, view: &View) -> bool {
    match view {
        View::Post(post) => post.author().is_some(),
        View::Comments(comments) => comments.comment(plan.names().ulid(item)).is_some(),
        View::Likes(_) | View::Json(_) => false,
    }
}

fn has_text(plan: &Plan, item: &str, text: &str, edited: Option<u64>, view: &View) -> bool {
    match view {
        View::Post(post) => post.author().is_some() && post.body() == text,
        View::Comments(comments) => comments
            .comment(plan.names().ulid(item))
            .is_some_and(|comment| comment.body == text && comment.edited == edited.map(Timestamp)),
        View::Likes(_) | View::Json(_) => false,
    }
}

/// Whether the document that an event changes shows that it happened. For an edit: that it or a later
/// one of the same item did.
pub(crate) fn is_shown(plan: &Plan, index: EventIndex, view: &View) -> bool {
    let event = plan.event(index);
    match event.kind {
        Kind::Post | Kind::Comment => has_item(plan, &event.id, view),
        Kind::Like => likes(plan, index, view) == Some(true),
        Kind::Unlike => likes(plan, index, view) == Some(false),
        Kind::Edit => plan.texts_from(index).any(|need| is_met(plan, need, view)),
        Kind::Delete => match view {
            View::Post(post) => post.status() == PostStatus::Deleted,
            View::Comments(comments) => comments
                .comment(plan.names().ulid(&event.id))
                .is_some_and(|comment| comment.deleted.is_some()),
            View::Likes(_) | View::Json(_) => false,
        },
    }
}

fn likes(plan: &Plan, index: EventIndex, view: &View) -> Option<bool> {
    let View::Likes(likes) = view else { return None };
    let event = plan.event(index);
    let user = UserId::new(&event.user).ok()?;
    Some(likes.contains(plan.target(&event.id), REACTION, &user))
}
