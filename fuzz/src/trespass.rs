//! What nobody may do, told from what a document shows before and after, without looking at any
//! operation: the stupid model that the gate is held against.

use syncline_engine::document::{Comment, CommentsView, Counter, LikesView, PostView, View};
use syncline_engine::ids::UserId;
use syncline_engine::policy::{Capabilities, Principal};

/// What somebody did that he may not do.
pub(crate) fn trespass(
    before: &View,
    after: &View,
    who: &Principal,
    may: Capabilities,
) -> Option<&'static str> {
    match (before, after) {
        (View::Post(before), View::Post(after)) => post(before, after, &who.user, may),
        (View::Likes(before), View::Likes(after)) => likes(before, after, &who.user, may),
        (View::Comments(before), View::Comments(after)) => comments(before, after, &who.user, may),
        (View::Json(before), View::Json(after)) => {
            let changed = before.value() != after.value();
            (changed && !may.has(Capabilities::EDIT_JSON)).then_some("edited")
        }
        _ => Some("made it another kind of document"),
    }
}

fn likes(
    before: &LikesView,
    after: &LikesView,
    who: &UserId,
    may: Capabilities,
) -> Option<&'static str> {
    let of_others = |view: &LikesView| {
        view.iter()
            .filter(|(_, _, user, _)| *user != who)
            .map(|(target, how, user, id)| (target, how.to_owned(), user.clone(), id))
            .collect::<Vec<_>>()
    };
    if of_others(before) != of_others(after) {
        return Some("liked or unliked for another");
    }
    if Counter::ALL.iter().any(|counter| before.counter(*counter) > after.counter(*counter)) {
        return Some("counted down");
    }
    (before != after && !may.has(Capabilities::REACT)).then_some("reacted")
}

fn comments(
    before: &CommentsView,
    after: &CommentsView,
    who: &UserId,
    may: Capabilities,
) -> Option<&'static str> {
    for (id, old) in before.iter() {
        let Some(new) = after.comment(id) else { return Some("removed a comment") };
        let fixed = |c: &Comment| (c.author.clone(), c.parent, c.created);
        if fixed(old) != fixed(new) {
            return Some("changed what never changes");
        }
        let text = |c: &Comment| (c.body.clone(), c.edited);
        if text(old) != text(new) && old.author != *who {
            return Some("edited another's comment");
        }
        if old.deleted.is_some() && new.deleted.is_none() {
            return Some("brought a deleted comment back");
        }
        let moderates = may.has(Capabilities::MODERATE);
        if old.deleted != new.deleted && old.author != *who && !moderates {
            return Some("deleted another's comment");
        }
        let writes = moderates || may.has(Capabilities::COMMENT);
        if old != new && !writes {
            return Some("commented");
        }
    }
    let added = after.iter().filter(|(id, _)| before.comment(*id).is_none());
    for (_, comment) in added {
        if comment.author != *who || !may.has(Capabilities::COMMENT) {
            return Some("commented for another");
        }
    }
    None
}

fn post(
    before: &PostView,
    after: &PostView,
    who: &UserId,
    may: Capabilities,
) -> Option<&'static str> {
    let Some(author) = before.author() else {
        let own = after.author() == Some(who) && may.has(Capabilities::POST);
        return (before != after && !own).then_some("wrote a post for another");
    };
    if (after.author(), after.created()) != (Some(author), before.created()) {
        return Some("changed what never changes");
    }
    let is_author = author == who && may.has(Capabilities::POST);
    let edits_all = may.has(Capabilities::EDIT_ANY);
    if before.editors() != after.editors() && !is_author && !edits_all {
        return Some("changed the editors");
    }
    if before.status() != after.status() && !is_author && !may.has(Capabilities::MODERATE) {
        return Some("changed the status");
    }
    let edits =
        is_author || edits_all || before.editors().contains(who) && may.has(Capabilities::POST);
    let text = |view: &PostView| (view.title().to_owned(), view.spans(), view.tags().clone());
    (text(before) != text(after) && !edits).then_some("edited another's post")
}
