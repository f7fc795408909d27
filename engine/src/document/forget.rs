//! Taking a user out of what a document shows, for an operator who must: what they said is emptied, what
//! they liked is not liked by them any more, and where they are named stands another name. The history
//! is not touched; the next epoch begins without it.

use automerge::transaction::Transactable;
use automerge::{Automerge, AutomergeError, ObjId, ObjType, ROOT, ReadDoc, Value, ValueRef};

use crate::clock::Timestamp;
use crate::ids::{Address, Facet, UserId};

/// Who is named where a user was that is forgotten.
pub const FORGOTTEN: &str = "forgotten";
/// What stands in place of a comment's text.
const REMOVED: &str = "[removed]";

/// Takes a user out of a document, as it is shown from `at` on. Says whether they were in it. What is in
/// schemaless documents is the app's, and left alone.
///
/// # Errors
/// What automerge refused.
pub fn forget(
    address: &Address,
    document: &mut Automerge,
    user: &UserId,
    at: Timestamp,
) -> Result<bool, AutomergeError> {
    match address.facet() {
        Facet::Post => forget_post(document, user),
        Facet::Likes => forget_likes(document, user),
        Facet::Comments => forget_comments(document, user, at),
        Facet::Json | Facet::Stream => Ok(false),
    }
}

fn is_of(document: &Automerge, object: &ObjId, user: &UserId) -> Result<bool, AutomergeError> {
    let author = document.get(object, "author")?;
    Ok(author.is_some_and(|(author, _)| author.as_str() == Some(user.as_str())))
}

fn forget_post(document: &mut Automerge, user: &UserId) -> Result<bool, AutomergeError> {
    let is_author = is_of(document, &ROOT, user)?;
    let editors = match document.get(ROOT, "editors")? {
        Some((Value::Object(ObjType::Map), editors)) => {
            document.get(&editors, user.as_str())?.map(|_| editors)
        }
        _ => None,
    };
    if !is_author && editors.is_none() {
        return Ok(false);
    }
    let mut change = document.transaction();
    if let Some(editors) = editors {
        change.delete(&editors, user.as_str())?;
    }
    if is_author {
        for name in ["title", "body"] {
            if let Some((Value::Object(ObjType::Text), text)) = change.get(ROOT, name)? {
                let length = isize::try_from(change.length(&text)).unwrap_or(isize::MAX);
                change.splice_text(&text, 0, length, "")?;
            }
        }
        change.put(ROOT, "author", FORGOTTEN)?;
        change.put(ROOT, "status", "deleted")?;
    }
    change.commit();
    Ok(true)
}

/// The buckets of a document's set.
fn buckets(document: &Automerge, set: &str) -> Result<Vec<ObjId>, AutomergeError> {
    let Some((Value::Object(ObjType::Map), set)) = document.get(ROOT, set)? else {
        return Ok(Vec::new());
    };
    let buckets = document.map_range(&set, ..);
    Ok(buckets
        .filter(|item| matches!(item.value, ValueRef::Object(ObjType::Map)))
        .map(|item| item.id())
        .collect())
}

fn forget_likes(document: &mut Automerge, user: &UserId) -> Result<bool, AutomergeError> {
    let mut theirs = Vec::new();
    for bucket in buckets(document, "likes")? {
        for key in document.keys(&bucket) {
            // A key is target, reaction and user; names have no slash.
            if key.rsplit('/').next() == Some(user.as_str()) {
                theirs.push((bucket.clone(), key));
            }
        }
    }
    let mut change = document.transaction();
    for (bucket, key) in &theirs {
        change.delete(bucket, key.as_str())?;
    }
    change.commit();
    Ok(!theirs.is_empty())
}

fn forget_comments(
    document: &mut Automerge,
    user: &UserId,
    at: Timestamp,
) -> Result<bool, AutomergeError> {
    let mut theirs = Vec::new();
    for bucket in buckets(document, "comments")? {
        for item in document.map_range(&bucket, ..) {
            let comment = item.id();
            if matches!(item.value, ValueRef::Object(ObjType::Map))
                && is_of(document, &comment, user)?
            {
                theirs.push(comment);
            }
        }
    }
    let mut change = document.transaction();
    for comment in &theirs {
        change.put(comment, "author", FORGOTTEN)?;
        change.put(comment, "body", REMOVED)?;
        if change.get(comment, "deleted")?.is_none() {
            change.put(comment, "deleted", super::place::time(at))?;
        }
    }
    change.commit();
    Ok(!theirs.is_empty())
}
