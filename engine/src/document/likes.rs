//! The likes of a post and its comments, and the counters beside them. Must never know who may like.
//!
//! A user counts once per target and reaction, however many devices, retries and concurrent toggles
//! there were, because the key names the user. The value is the like's own id, so that a concurrent
//! like and unlike end as liked.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use automerge::transaction::{Transactable, Transaction};
use automerge::{Automerge, ObjType, Patch, ROOT, ReadDoc, ScalarValue, Value};
use serde::{Deserialize, Serialize};

use super::command::CommandError;
use super::place::{self, Put, Spot, bucket};
use super::{Event, saved};
use crate::ids::{NameError, Ulid, UserId, check_reaction};
use crate::limits::COUNT_MAX;

/// The bucket maps' key at the root.
const SET: &str = "likes";

/// What is liked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The post itself.
    Post,
    /// A comment on it.
    Comment(#[serde(with = "saved::text")] Ulid),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Post => f.write_str("post"),
            Self::Comment(id) => id.fmt(f),
        }
    }
}

impl FromStr for Target {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        if s == "post" { Ok(Self::Post) } else { s.parse().map(Self::Comment) }
    }
}

/// The key of a like: `target/reaction/user`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LikeKey {
    /// What is liked.
    pub target: Target,
    /// How.
    pub reaction: String,
    /// By whom.
    pub user: UserId,
}

impl fmt::Display for LikeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.target, self.reaction, self.user)
    }
}

impl FromStr for LikeKey {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        let mut parts = s.split('/');
        let (Some(target), Some(reaction), Some(user), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NameError::Malformed {
                what: "the key of a like",
                max: 3,
                alphabet: "parts, target/reaction/user",
                given: s.chars().take(80).collect(),
            });
        };
        check_reaction(reaction)?;
        Ok(Self {
            target: target.parse()?,
            reaction: reaction.to_owned(),
            user: UserId::new(user)?,
        })
    }
}

/// The counters that exist from genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counter {
    /// How often it was seen.
    Views,
    /// How often it was passed on.
    Shares,
}

impl Counter {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Views, Self::Shares];

    /// The key in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Views => "views",
            Self::Shares => "shares",
        }
    }
}

/// What a user does to the likes. A toggle is resolved to one of these when it is issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LikesCommand {
    /// Likes; does nothing if the user already does.
    Like {
        /// What.
        target: Target,
        /// How.
        reaction: String,
        /// Who.
        #[serde(with = "saved::user")]
        user: UserId,
        /// The id of this like, used once.
        #[serde(with = "saved::text")]
        at: Ulid,
    },
    /// Takes a like back; does nothing if there is none.
    Unlike {
        /// What.
        target: Target,
        /// How.
        reaction: String,
        /// Who.
        #[serde(with = "saved::user")]
        user: UserId,
    },
    /// Moves a counter.
    Count {
        /// Which.
        counter: Counter,
        /// By how much.
        by: i64,
    },
}

impl LikesCommand {
    pub(super) fn check(&self) -> Result<(), CommandError> {
        match self {
            Self::Like { reaction, .. } | Self::Unlike { reaction, .. } => {
                Ok(check_reaction(reaction)?)
            }
            Self::Count { by, .. } if by.unsigned_abs() > COUNT_MAX => {
                Err(CommandError::Argument("a counter moves by at most 2^32 at a time"))
            }
            Self::Count { .. } => Ok(()),
        }
    }

    pub(super) fn apply(&self, tx: &mut Transaction<'_>) -> Result<(), CommandError> {
        match self {
            Self::Like { target, reaction, user, at } => {
                let key = key(*target, reaction, user);
                let bucket = place::bucket_of(tx, SET, &key)?;
                let present = tx.get(&bucket, key.as_str())?;
                if present.is_none_or(|(value, _)| like_id(&value).is_none()) {
                    tx.put(bucket, key, at.to_string())?;
                }
                Ok(())
            }
            Self::Unlike { target, reaction, user } => {
                let key = key(*target, reaction, user);
                let bucket = place::bucket_of(tx, SET, &key)?;
                if tx.get(&bucket, key.as_str())?.is_some() {
                    tx.delete(bucket, key)?;
                }
                Ok(())
            }
            Self::Count { counter, by } => {
                // A document of another facet has no counters: tell that apart from a zero step.
                place::root(tx, SET, ObjType::Map)?;
                match place::scalar(tx, &ROOT, counter.as_str()) {
                    Some(ScalarValue::Counter(_)) if *by == 0 => Ok(()),
                    Some(ScalarValue::Counter(_)) => {
                        Ok(tx.increment(ROOT, counter.as_str(), *by)?)
                    }
                    _ => Err(CommandError::NotSuchADocument(counter.as_str())),
                }
            }
        }
    }

    pub(super) fn has_rivals(&self, doc: &Automerge) -> bool {
        match self {
            Self::Like { target, reaction, user, .. } | Self::Unlike { target, reaction, user } => {
                let key = key(*target, reaction, user);
                place::bucket_of(doc, SET, &key)
                    .is_ok_and(|bucket| place::is_contested(doc, &bucket, key))
            }
            Self::Count { .. } => false,
        }
    }

    pub(super) fn summary(&self) -> String {
        match self {
            Self::Like { target, reaction, user, .. } => {
                format!("{user} reacts with {reaction} to {}", place_of(*target))
            }
            Self::Unlike { target, reaction, user } => {
                format!("{user} takes {reaction} back from {}", place_of(*target))
            }
            Self::Count { counter, by } => format!("count {by:+} {}", counter.as_str()),
        }
    }
}

fn place_of(target: Target) -> String {
    match target {
        Target::Post => "the post".to_owned(),
        Target::Comment(id) => format!("comment {id}"),
    }
}

fn key(target: Target, reaction: &str, user: &UserId) -> String {
    format!("{target}/{reaction}/{user}")
}

fn like_id(value: &Value<'_>) -> Option<Ulid> {
    value.as_str()?.parse().ok()
}

/// Likes as they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LikesView {
    targets: BTreeMap<Target, Reactions>,
    counters: BTreeMap<Counter, i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Reactions {
    total: usize,
    users: BTreeMap<String, BTreeMap<UserId, Ulid>>,
}

impl LikesView {
    /// How many users reacted to this in this way.
    #[must_use]
    pub fn count(&self, target: Target, reaction: &str) -> usize {
        self.of(target, reaction).map_or(0, BTreeMap::len)
    }

    /// How many reactions of any kind there are to this.
    #[must_use]
    pub fn total(&self, target: Target) -> usize {
        self.targets.get(&target).map_or(0, |reactions| reactions.total)
    }

    /// Who reacted to this in this way, sorted by name.
    pub fn users(&self, target: Target, reaction: &str) -> impl Iterator<Item = &UserId> {
        self.of(target, reaction).into_iter().flat_map(BTreeMap::keys)
    }

    /// Whether a user reacted to this in this way.
    #[must_use]
    pub fn contains(&self, target: Target, reaction: &str, user: &UserId) -> bool {
        self.like(target, reaction, user).is_some()
    }

    /// The id of a user's like; its time is the time of the like.
    #[must_use]
    pub fn like(&self, target: Target, reaction: &str, user: &UserId) -> Option<Ulid> {
        self.of(target, reaction)?.get(user).copied()
    }

    /// The reactions to this with their counts, sorted by reaction.
    pub fn reactions(&self, target: Target) -> impl Iterator<Item = (&str, usize)> {
        let all = self.targets.get(&target).into_iter().flat_map(|found| &found.users);
        all.map(|(reaction, users)| (reaction.as_str(), users.len()))
    }

    /// Everything that somebody reacted to: the post first, then comments by id.
    pub fn targets(&self) -> impl Iterator<Item = Target> {
        self.targets.keys().copied()
    }

    /// Every like in a fixed order: target, reaction, user.
    pub fn iter(&self) -> impl Iterator<Item = (Target, &str, &UserId, Ulid)> {
        self.targets.iter().flat_map(|(target, reactions)| {
            reactions.users.iter().flat_map(|(reaction, users)| {
                users.iter().map(|(user, at)| (*target, reaction.as_str(), user, *at))
            })
        })
    }

    /// The value of a counter.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> i64 {
        self.counters.get(&counter).copied().unwrap_or(0)
    }

    fn of(&self, target: Target, reaction: &str) -> Option<&BTreeMap<UserId, Ulid>> {
        self.targets.get(&target)?.users.get(reaction)
    }

    pub(super) fn read(doc: &Automerge) -> Self {
        let mut view = Self::default();
        let count = place::bucket_count(doc, SET);
        place::walk(doc, SET, |spot, entry| {
            if let Spot::Bucket(name) = spot
                && let Some(key) = in_bucket(&entry.key, name, count)
            {
                view.set(key, like_id(&entry.value.into_value()));
            }
        });
        for counter in Counter::ALL {
            view.read_counter(doc, counter);
        }
        view
    }

    /// What a document that holds its genesis alone shows.
    pub(super) fn of_genesis() -> Self {
        Self { counters: Counter::ALL.map(|counter| (counter, 0)).into(), ..Self::default() }
    }

    fn read_counter(&mut self, doc: &Automerge, counter: Counter) {
        match place::scalar(doc, &ROOT, counter.as_str()).and_then(|value| value.as_i64()) {
            Some(value) => self.counters.insert(counter, value),
            None => self.counters.remove(&counter),
        };
    }

    /// Sets or removes a like; says what that changes for a reader.
    fn set(&mut self, key: LikeKey, at: Option<Ulid>) -> Option<Event> {
        let LikeKey { target, reaction, user } = key;
        if let Some(at) = at {
            let reactions = self.targets.entry(target).or_default();
            let users = reactions.users.entry(reaction.clone()).or_default();
            if users.insert(user.clone(), at).is_some() {
                return None;
            }
            reactions.total += 1;
            return Some(Event::LikeAdded { target, reaction, user });
        }
        let reactions = self.targets.get_mut(&target)?;
        let users = reactions.users.get_mut(&reaction)?;
        users.remove(&user)?;
        if users.is_empty() {
            reactions.users.remove(&reaction);
        }
        reactions.total -= 1;
        if reactions.total == 0 {
            self.targets.remove(&target);
        }
        Some(Event::LikeRemoved { target, reaction, user })
    }

    pub(super) fn patch(&mut self, doc: &Automerge, patches: &[Patch]) -> Vec<Event> {
        let mut events = Vec::new();
        let before = self.counters.clone();
        let count = place::bucket_count(doc, SET);
        for patch in patches {
            let put = place::map_put(patch);
            match (place::keys(patch).as_deref(), put) {
                (Some([]), Put::Value(SET, _) | Put::Gone(SET)) => {
                    self.remove_where(|_| true, &mut events);
                }
                (Some([]), Put::Value(key, _) | Put::Gone(key) | Put::Unclear(key)) => {
                    if let Some(counter) = Counter::ALL.into_iter().find(|c| c.as_str() == key) {
                        self.read_counter(doc, counter);
                    }
                }
                (Some([SET]), Put::Value(name, _) | Put::Gone(name)) => {
                    let inside = |key: &LikeKey| belongs(&key.to_string(), name, count);
                    self.remove_where(inside, &mut events);
                }
                (Some([SET, name]), Put::Value(key, value)) => {
                    let key = in_bucket(key, name, count);
                    events.extend(key.and_then(|key| self.set(key, like_id(value))));
                }
                (Some([SET, name]), Put::Gone(key)) => {
                    let key = in_bucket(key, name, count);
                    events.extend(key.and_then(|key| self.set(key, None)));
                }
                (Some([SET, name]), Put::Unclear(key)) => {
                    let at = place::value(doc, patch, key).and_then(|value| like_id(&value));
                    let key = in_bucket(key, name, count);
                    events.extend(key.and_then(|key| self.set(key, at)));
                }
                _ => {}
            }
        }
        self.push_counters(&before, &mut events);
        events
    }

    fn remove_where(&mut self, doomed: impl Fn(&LikeKey) -> bool, events: &mut Vec<Event>) {
        let keys: Vec<LikeKey> = self
            .iter()
            .map(|(target, reaction, user, _)| LikeKey {
                target,
                reaction: reaction.to_owned(),
                user: user.clone(),
            })
            .filter(doomed)
            .collect();
        events.extend(keys.into_iter().filter_map(|key| self.set(key, None)));
    }

    fn push_counters(&self, before: &BTreeMap<Counter, i64>, events: &mut Vec<Event>) {
        for counter in Counter::ALL {
            let value = self.counter(counter);
            if before.get(&counter).copied().unwrap_or(0) != value {
                events.push(Event::CounterChanged { counter, value });
            }
        }
    }

    pub(super) fn diff(&self, newer: &Self) -> Vec<Event> {
        let mut events = Vec::new();
        for (target, reaction, user, _) in self.iter() {
            if !newer.contains(target, reaction, user) {
                let (reaction, user) = (reaction.to_owned(), user.clone());
                events.push(Event::LikeRemoved { target, reaction, user });
            }
        }
        for (target, reaction, user, _) in newer.iter() {
            if !self.contains(target, reaction, user) {
                let (reaction, user) = (reaction.to_owned(), user.clone());
                events.push(Event::LikeAdded { target, reaction, user });
            }
        }
        newer.push_counters(&self.counters, &mut events);
        events
    }
}

fn belongs(key: &str, name: &str, count: u32) -> bool {
    place::is_bucket_name(name, bucket(key, count))
}

/// Reads a key, unless it is malformed or lies in a bucket where nobody would look for it.
fn in_bucket(key: &str, name: &str, count: u32) -> Option<LikeKey> {
    if belongs(key, name, count) { key.parse().ok() } else { None }
}
