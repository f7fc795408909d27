//! What a document brings to the summary of its post, kept up with each change: how many likes and
//! comments stand, and the characters of the title. Must never decide whether something is allowed.
//!
//! Counting is a matter of what stands at a key before and after an operation, which the objects
//! know. Only of the title the gate keeps what it says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::history::{History, Id, Past};
use super::objects::{Name, Objects, Resolved};
use super::schema::Place;
use super::sequence::Order;
use crate::change::{Action, Value};
use crate::clock::Timestamp;
use crate::document::PostStatus;
use crate::ids::{ActorId, Facet};
use crate::summary::{
    CommentsPart, LikesPart, Part, PostPart, REACTIONS_MAX, TITLE_CHARS_MAX, TITLE_ORDERED_MAX,
};

/// What a document brings, as far as it was counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    likes: u64,
    reactions: BTreeMap<Box<str>, u64>,
    /// The same by number, the largest first.
    ranked: BTreeSet<(Reverse<u64>, Box<str>)>,
    comments: u64,
    deleted: u64,
    /// The characters that stand, by the operations that inserted them.
    title: BTreeMap<Id, char>,
    created: Timestamp,
    /// What stands.
    status: BTreeMap<Id, PostStatus>,
}

/// Whether it matters what stands at a key before and after an operation.
pub(super) fn is_counted(place: Place, name: Name<'_>) -> bool {
    match (place, name) {
        (Place::Likes(_) | Place::Comments(_), Name::Key(_)) => true,
        (Place::Comment(_), Name::Key(key)) => key == "deleted",
        _ => false,
    }
}

impl Tally {
    /// Takes note of an operation in a place that is not counted by what stands.
    pub(super) fn note(&mut self, place: Place, op: &Resolved<'_>) {
        match (place, op.name, op.action) {
            (Place::Title, _, Action::Set(Value::Str(text))) if op.insert => {
                self.title.extend(text.chars().next().map(|c| (op.id, c)));
            }
            (Place::Title, Name::Element(element), Action::Delete) => {
                self.title.remove(&element);
            }
            (Place::Root, Name::Key("created"), Action::Set(Value::Timestamp(at))) => {
                self.created = Timestamp(u64::try_from(at).unwrap_or(0));
            }
            (Place::Root, Name::Key("status"), action) => {
                for pred in op.preds {
                    self.status.remove(pred);
                }
                if let Action::Set(Value::Str(word)) = action {
                    self.status.extend(PostStatus::named(word).map(|status| (op.id, status)));
                }
            }
            _ => {}
        }
    }

    /// Takes note of what stands now where something else did, or nothing.
    pub(super) fn count(&mut self, place: Place, name: Name<'_>, stood: bool, stands: bool) {
        if stood == stands {
            return;
        }
        let step = |count: u64| if stands { count + 1 } else { count.saturating_sub(1) };
        match (place, name) {
            (Place::Likes(_), Name::Key(key)) => self.react(key, step),
            (Place::Comments(_), _) => self.comments = step(self.comments),
            (Place::Comment(_), _) => self.deleted = step(self.deleted),
            _ => {}
        }
    }

    /// A reaction has come or gone.
    fn react(&mut self, key: &str, step: impl Fn(u64) -> u64) {
        let of_post = key.strip_prefix("post/").and_then(|rest| rest.split_once('/'));
        let Some((reaction, _)) = of_post else { return };
        self.likes = step(self.likes);
        let before = self.reactions.remove(reaction).unwrap_or(0);
        let name: Box<str> = reaction.into();
        self.ranked.remove(&(Reverse(before), name.clone()));
        let after = step(before);
        if after > 0 {
            self.ranked.insert((Reverse(after), name.clone()));
            self.reactions.insert(name, after);
        }
    }

    /// What the document brings, if it is one that does and, where it is a post, was created.
    pub(super) fn part(&self, facet: Facet, objects: &Objects, history: &History) -> Option<Part> {
        match facet {
            Facet::Post => self.post(objects, history).map(Part::Post),
            Facet::Likes => {
                let most = self.ranked.iter().take(REACTIONS_MAX);
                let reactions = most.map(|(Reverse(count), name)| (name.to_string(), *count));
                let (likes, reactions) = (self.likes, reactions.collect());
                Some(Part::Likes(LikesPart { likes, reactions }))
            }
            Facet::Comments => {
                let (comments, deleted) =
                    (self.comments.saturating_sub(self.deleted), self.deleted);
                Some(Part::Comments(CommentsPart { comments, deleted }))
            }
            Facet::Json | Facet::Stream => None,
        }
    }

    fn post(&self, objects: &Objects, history: &History) -> Option<PostPart> {
        let author = objects.object(Id::NONE)?.author.clone()?;
        let status =
            self.status.iter().max_by(|a, b| history.compare(*a.0, *b.0, ActorId::GENESIS));
        let status = status.map(|(_, status)| *status).unwrap_or_default();
        let is_shown = status == PostStatus::Published;
        let title = if is_shown { self.title(objects, history) } else { String::new() };
        Some(PostPart { author, created: self.created, status, title })
    }

    /// The beginning of the title, in order.
    fn title(&self, objects: &Objects, history: &History) -> String {
        // Genesis made it, so everybody has seen it.
        let root = objects.object(Id::NONE);
        let seen = root.map(|root| root.seen(Name::Key("title"), history, &Past::default()));
        let id = seen.and_then(|seen| seen.first().map(|(id, _)| *id));
        let object = id.and_then(|id| objects.object(id));
        let Some(base) = object.and_then(|object| object.content.sequence()) else {
            return String::new();
        };
        if self.title.len() > TITLE_ORDERED_MAX {
            return String::new();
        }
        let order = Order { base, more: None };
        let mut all: Vec<(Id, char)> = self.title.iter().map(|(id, c)| (*id, *c)).collect();
        all.sort_by(|(a, _), (b, _)| {
            let compare = |a, b| history.compare(a, b, ActorId::GENESIS);
            if a == b {
                std::cmp::Ordering::Equal
            } else if order.precedes(Some(*a), Some(*b), compare) {
                std::cmp::Ordering::Less
            } else {
                std::cmp::Ordering::Greater
            }
        });
        all.into_iter().take(TITLE_CHARS_MAX).map(|(_, c)| c).collect()
    }
}
