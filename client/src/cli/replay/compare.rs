//! The outcome of a replay held against the oracle: every document of every client, opened, caught up
//! and read through its typed views.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use syncline_client::{Client, Document};
use syncline_engine::document::{PostStatus, Target, View};
use syncline_engine::ids::{Facet, Ulid};
use tokio::time::timeout;

use super::oracle::{Item, StateDigest};
use super::plan::{Plan, REACTION};

/// Posts that are read at a time.
const POSTS_AT_A_TIME: usize = 16;
/// Differences that are kept to be shown.
const DIFFERENCES_SHOWN_MAX: usize = 20;

/// An item as a replica shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SeenItem {
    parent: Option<String>,
    author: String,
    created: u64,
    text: String,
    /// A post does not tell.
    edited: Option<bool>,
    deleted: bool,
    likes: BTreeSet<String>,
}

/// One replica held against the oracle.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Over everything that the views show: equal for replicas that agree.
    pub(crate) digest: String,
    pub(crate) state_sha256: String,
    pub(crate) live_likes: u64,
    /// Items and likes that the file implies and the replica lacks.
    pub(crate) lost: u64,
    /// Items and likes that the replica has and the file does not imply.
    pub(crate) duplicated: u64,
    /// Anything else that is not as it should be.
    pub(crate) altered: u64,
    /// The first of them all.
    pub(crate) differences: Vec<String>,
}

impl Outcome {
    pub(crate) const fn matches(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.altered == 0
    }

    fn difference(&mut self, text: impl FnOnce() -> String) {
        if self.differences.len() < DIFFERENCES_SHOWN_MAX {
            self.differences.push(text());
        }
    }
}

/// Reads every document of the plan through `client` and compares. Calls `read` after each post.
pub(crate) async fn compare(
    client: &Client,
    plan: &Plan,
    live_within: Duration,
    read: impl Fn(),
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut digest = Sha256::new();
    let mut state = StateDigest::default();
    let mut posts = stream::iter(plan.oracle().posts())
        .map(|post| async move {
            let items = read_post(client, plan, post, live_within).await?;
            anyhow::Ok((post, items))
        })
        .buffered(POSTS_AT_A_TIME);
    while let Some((post, items)) = posts.try_next().await? {
        digest.update(format!("{items:?}\n"));
        for (id, item) in &items {
            state.add(id, item.likes.len(), item.deleted, &item.text);
            outcome.live_likes += item.likes.len() as u64;
        }
        hold_against(plan, post, &items, &mut outcome);
        read();
    }
    outcome.digest = hex::encode(digest.finalize());
    outcome.state_sha256 = state.finish();
    Ok(outcome)
}

async fn open(
    client: &Client,
    plan: &Plan,
    post: &str,
    facet: Facet,
    live_within: Duration,
) -> anyhow::Result<Document> {
    let address = plan.names().address(post, facet)?;
    let document =
        client.document(&address).await.with_context(|| format!("can't open {address}"))?;
    timeout(live_within, document.live())
        .await
        .with_context(|| format!("{address} did not catch up with the server"))?
        .with_context(|| format!("{address} is not kept in sync"))?;
    Ok(document)
}

async fn read_post(
    client: &Client,
    plan: &Plan,
    post: &str,
    live_within: Duration,
) -> anyhow::Result<BTreeMap<String, SeenItem>> {
    let (body, comments, likes) = tokio::try_join!(
        open(client, plan, post, Facet::Post, live_within),
        open(client, plan, post, Facet::Comments, live_within),
        open(client, plan, post, Facet::Likes, live_within),
    )?;
    let mut items = BTreeMap::new();
    for document in [&body, &comments, &likes] {
        document.with_view(|view| read_view(plan, post, view, &mut items));
    }
    Ok(items)
}

/// The id in the file, or for something that is not of the file a name that can't be in one.
fn id_of(plan: &Plan, ulid: Ulid) -> String {
    plan.names().id(ulid).map_or_else(|| format!("(unknown {ulid})"), str::to_owned)
}

fn read_view(plan: &Plan, post: &str, view: &View, items: &mut BTreeMap<String, SeenItem>) {
    match view {
        View::Post(view) => {
            let Some(author) = view.author() else { return };
            let item = SeenItem {
                parent: None,
                author: author.to_string(),
                created: view.created().map_or(0, |at| at.0),
                text: view.body().to_owned(),
                edited: None,
                deleted: view.status() == PostStatus::Deleted,
                likes: BTreeSet::new(),
            };
            items.insert(post.to_owned(), item);
        }
        View::Comments(view) => {
            for (id, comment) in view.iter() {
                let item = SeenItem {
                    parent: comment.parent.map(|parent| id_of(plan, parent)),
                    author: comment.author.to_string(),
                    created: comment.created.0,
                    text: comment.body.clone(),
                    edited: Some(comment.edited.is_some()),
                    deleted: comment.deleted.is_some(),
                    likes: BTreeSet::new(),
                };
                items.insert(id_of(plan, id), item);
            }
        }
        View::Likes(view) => {
            for (target, reaction, user, _) in view.iter() {
                let id = match target {
                    Target::Post => post.to_owned(),
                    Target::Comment(id) => id_of(plan, id),
                };
                let like = if reaction == REACTION {
                    user.to_string()
                } else {
                    format!("{user} {reaction}")
                };
                // A like of nothing is shown as an item of its own, which the file does not imply.
                let item = items.entry(id).or_insert_with(|| SeenItem {
                    parent: None,
                    author: String::new(),
                    created: 0,
                    text: String::new(),
                    edited: None,
                    deleted: false,
                    likes: BTreeSet::new(),
                });
                item.likes.insert(like);
            }
        }
        View::Json(_) => {}
    }
}

fn hold_against(
    plan: &Plan,
    post: &str,
    items: &BTreeMap<String, SeenItem>,
    outcome: &mut Outcome,
) {
    let oracle = plan.oracle();
    let expected: BTreeSet<&str> =
        oracle.comments(post).iter().map(String::as_str).chain([post]).collect();
    for id in &expected {
        let Some(wanted) = oracle.item(id) else { continue };
        match items.get(*id) {
            Some(seen) => hold_item(id, wanted, seen, outcome),
            None => {
                outcome.lost += 1 + wanted.likes.len() as u64;
                outcome.difference(|| format!("{id} is missing"));
            }
        }
    }
    for (id, seen) in items.iter().filter(|(id, _)| !expected.contains(id.as_str())) {
        outcome.duplicated += 1 + seen.likes.len() as u64;
        outcome.difference(|| format!("{id} under {post} is not implied by the file: {seen:?}"));
    }
}

fn hold_item(id: &str, wanted: &Item, seen: &SeenItem, outcome: &mut Outcome) {
    for user in wanted.likes.difference(&seen.likes) {
        outcome.lost += 1;
        outcome.difference(|| format!("{id}: the like by {user} is missing"));
    }
    for user in seen.likes.difference(&wanted.likes) {
        outcome.duplicated += 1;
        outcome.difference(|| format!("{id}: the like by {user} is not implied by the file"));
    }
    let mut differs = |what: &str, seen: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
        outcome.altered += 1;
        outcome.difference(|| format!("{id}: {what} is {seen:?} instead of {wanted:?}"));
    };
    if seen.parent != wanted.parent {
        differs("the parent", &seen.parent, &wanted.parent);
    }
    if seen.author != wanted.author {
        differs("the author", &seen.author, &wanted.author);
    }
    if seen.created != wanted.created {
        differs("the time", &seen.created, &wanted.created);
    }
    if seen.text != wanted.text {
        differs("the text", &seen.text, &wanted.text);
    }
    if seen.edited.is_some_and(|edited| edited != wanted.edited) {
        differs("whether it was edited", &seen.edited, &wanted.edited);
    }
    if seen.deleted != wanted.deleted {
        differs("whether it was deleted", &seen.deleted, &wanted.deleted);
    }
}
