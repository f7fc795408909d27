//! The state that a file of events implies, worked out the plain way: maps and sets, one event
//! after the other. Must never know the engine; that is what makes it worth comparing with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::events::{Event, Kind};

/// A post or a comment as it should end up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The post that it belongs to; its own id if it is a post.
    pub(crate) post: String,
    pub(crate) parent: Option<String>,
    pub(crate) author: String,
    /// Unix time in milliseconds.
    pub(crate) created: u64,
    pub(crate) text: String,
    /// Whether some edit changed the text.
    pub(crate) edited: bool,
    pub(crate) deleted: bool,
    pub(crate) likes: BTreeSet<String>,
}

/// An event does not fit what came before it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OracleError {
    #[error("the item {0} exists already")]
    Exists(String),
    #[error("the item {0} does not exist")]
    Missing(String),
    #[error("the item {0} was deleted")]
    Deleted(String),
    #[error("the item {0} belongs to another post")]
    OtherPost(String),
}

/// The state so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Oracle {
    items: BTreeMap<String, Item>,
    /// The posts in the order of their making, each with its comments.
    posts: Vec<String>,
    comments: BTreeMap<String, Vec<String>>,
    events: u64,
    redundant_likes: u64,
}

impl Oracle {
    /// Takes in the next event.
    pub(crate) fn apply(&mut self, event: &Event) -> Result<(), OracleError> {
        match event.kind {
            Kind::Post | Kind::Comment => self.create(event)?,
            Kind::Like => {
                if !self.target(event)?.likes.insert(event.user.clone()) {
                    self.redundant_likes += 1;
                }
            }
            Kind::Unlike => {
                self.target(event)?.likes.remove(&event.user);
            }
            Kind::Edit => {
                let item = self.target(event)?;
                item.edited |= item.text != event.text();
                event.text().clone_into(&mut item.text);
            }
            Kind::Delete => self.target(event)?.deleted = true,
        }
        self.events += 1;
        Ok(())
    }

    fn create(&mut self, event: &Event) -> Result<(), OracleError> {
        if self.items.contains_key(&event.id) {
            return Err(OracleError::Exists(event.id.clone()));
        }
        if event.kind == Kind::Post {
            self.posts.push(event.id.clone());
        } else {
            for needed in [Some(&event.post), event.parent.as_ref()].into_iter().flatten() {
                let item = self.items.get(needed);
                let item = item.ok_or_else(|| OracleError::Missing(needed.clone()))?;
                if item.post != event.post {
                    return Err(OracleError::OtherPost(needed.clone()));
                }
            }
            self.comments.entry(event.post.clone()).or_default().push(event.id.clone());
        }
        let item = Item {
            post: event.post.clone(),
            parent: event.parent.clone(),
            author: event.user.clone(),
            created: event.t,
            text: event.text().to_owned(),
            edited: false,
            deleted: false,
            likes: BTreeSet::new(),
        };
        self.items.insert(event.id.clone(), item);
        Ok(())
    }

    fn target(&mut self, event: &Event) -> Result<&mut Item, OracleError> {
        let item = self.items.get_mut(&event.id);
        let item = item.ok_or_else(|| OracleError::Missing(event.id.clone()))?;
        if item.post != event.post {
            return Err(OracleError::OtherPost(event.id.clone()));
        }
        if item.deleted {
            return Err(OracleError::Deleted(event.id.clone()));
        }
        Ok(item)
    }

    pub(crate) fn item(&self, id: &str) -> Option<&Item> {
        self.items.get(id)
    }

    pub(crate) const fn items(&self) -> &BTreeMap<String, Item> {
        &self.items
    }

    /// The posts in the order of the file.
    pub(crate) fn posts(&self) -> &[String] {
        &self.posts
    }

    /// The comments of a post in the order of the file.
    pub(crate) fn comments(&self, post: &str) -> &[String] {
        self.comments.get(post).map_or(&[], Vec::as_slice)
    }

    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn live_likes(&self) -> u64 {
        self.items.values().map(|item| item.likes.len() as u64).sum()
    }

    pub(crate) fn state_sha256(&self) -> String {
        let mut digest = StateDigest::default();
        for (id, item) in &self.items {
            digest.add(id, item.likes.len(), item.deleted, &item.text);
        }
        digest.finish()
    }
}

/// The digest of a state, by the rule of the data's README. Items come in any order.
#[derive(Debug, Default)]
pub(crate) struct StateDigest(BTreeMap<String, String>);

impl StateDigest {
    pub(crate) fn add(&mut self, id: &str, likes: usize, deleted: bool, text: &str) {
        let text = hex::encode(Sha256::digest(text));
        let line = format!("{likes}\t{}\t{text}\n", u8::from(deleted));
        // Two items under one id are a difference that must show.
        let lines = self.0.entry(id.to_owned()).or_default();
        let _ = write!(lines, "{id}\t{line}");
    }

    pub(crate) fn finish(&self) -> String {
        let mut sha256 = Sha256::new();
        for line in self.0.values() {
            sha256.update(line);
        }
        hex::encode(sha256.finalize())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::Value;

    use super::super::events::Events;
    use super::*;

    fn replayed(path: &Path) -> Oracle {
        let mut oracle = Oracle::default();
        for event in Events::open(path).unwrap() {
            oracle.apply(&event.unwrap()).unwrap();
        }
        oracle
    }

    fn depth(oracle: &Oracle, id: &str) -> u64 {
        let parent = oracle.item(id).and_then(|item| item.parent.clone());
        1 + parent.map_or(0, |parent| depth(oracle, &parent))
    }

    fn compare(events: &Path, expect: &Path) {
        let expect: Value = serde_json::from_slice(&std::fs::read(expect).unwrap()).unwrap();
        let oracle = replayed(events);
        assert_eq!(oracle.events(), expect["events"].as_u64().unwrap());
        assert_eq!(oracle.items().len() as u64, expect["items"].as_u64().unwrap());
        assert_eq!(oracle.live_likes(), expect["live_likes"].as_u64().unwrap());
        let redundant = expect["redundant"]["like"].as_u64().unwrap_or(0);
        assert_eq!(oracle.redundant_likes, redundant);
        assert_eq!(oracle.state_sha256(), expect["state_sha256"].as_str().unwrap());
        let posts = expect["posts"].as_object().unwrap();
        assert_eq!(oracle.posts().len(), posts.len());
        for (post, expected) in posts {
            let comments = oracle.comments(post);
            let items = || comments.iter().chain([post]).filter_map(|id| oracle.item(id));
            let likes: u64 = items().map(|item| item.likes.len() as u64).sum();
            let deleted = items().filter(|item| item.deleted).count() as u64;
            let deepest = comments.iter().map(|id| depth(&oracle, id)).max().unwrap_or(0);
            assert_eq!(comments.len() as u64, expected["comments"].as_u64().unwrap(), "{post}");
            assert_eq!(likes, expected["likes"].as_u64().unwrap(), "{post}");
            assert_eq!(deleted, expected["deleted"].as_u64().unwrap(), "{post}");
            assert_eq!(deepest, expected["max_depth"].as_u64().unwrap(), "{post}");
        }
        for (item, likes) in expect["item_likes"].as_object().into_iter().flatten() {
            let counted = oracle.item(item).map_or(0, |item| item.likes.len() as u64);
            assert_eq!(counted, likes.as_u64().unwrap(), "{item}");
        }
    }

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn the_copy_in_the_repository_comes_to_its_expected_state() {
        let data = repository().join("tests/data");
        compare(&data.join("tiny.jsonl"), &data.join("tiny.expect.json"));
    }

    #[test]
    fn every_shared_discussion_comes_to_its_expected_state() {
        let near = repository().join("../shared/data/discussions");
        // In a worktree the repository lies one folder deeper.
        let far = repository().join("../../shared/data/discussions");
        let Some(data) = [near, far].into_iter().find(|dir| dir.is_dir()) else {
            println!("../shared/data/discussions is absent: only the copy of tiny was compared");
            return;
        };
        let mut compared = 0;
        for entry in std::fs::read_dir(data).unwrap() {
            let expect = entry.unwrap().path();
            let name = expect.to_str().unwrap();
            let Some(stem) = name.strip_suffix(".expect.json") else { continue };
            let plain = PathBuf::from(format!("{stem}.jsonl"));
            let packed = PathBuf::from(format!("{stem}.jsonl.gz"));
            compare(if plain.exists() { &plain } else { &packed }, &expect);
            compared += 1;
        }
        println!("{compared} shared discussions were compared");
        assert!(compared > 0);
    }

    #[test]
    fn events_that_do_not_fit_are_refused() {
        let event = |kind, id: &str, parent: Option<&str>, text: Option<&str>| Event {
            t: 1,
            kind,
            post: "p".to_owned(),
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            user: "u1".to_owned(),
            text: text.map(str::to_owned),
        };
        let mut oracle = Oracle::default();
        let early = event(Kind::Comment, "c", None, Some("x"));
        assert_eq!(oracle.apply(&early), Err(OracleError::Missing("p".to_owned())));
        oracle.apply(&event(Kind::Post, "p", None, Some("x"))).unwrap();
        let orphan = event(Kind::Comment, "c", Some("nobody"), Some("x"));
        assert_eq!(oracle.apply(&orphan), Err(OracleError::Missing("nobody".to_owned())));
        oracle.apply(&event(Kind::Delete, "p", None, None)).unwrap();
        let late = event(Kind::Like, "p", None, None);
        assert_eq!(oracle.apply(&late), Err(OracleError::Deleted("p".to_owned())));
        assert_eq!(oracle.events(), 2);
    }
}
