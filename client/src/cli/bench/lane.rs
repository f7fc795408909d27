//! One writer's work on one document: changes made beforehand, and when each was sent and settled.
//! Making them beforehand keeps the load generator from being what is measured.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use automerge::TextEncoding;
use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, JsonCommand, LikesCommand, PathSegment, Target, genesis,
};
use syncline_engine::ids::{ActorId, Address, Facet, Ulid, UserId};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cli::statistics::Durations;

/// What a document is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Likes,
    Comments,
    Typing,
}

impl Kind {
    pub(crate) const fn facet(self) -> Facet {
        match self {
            Self::Likes => Facet::Likes,
            Self::Comments => Facet::Comments,
            Self::Typing => Facet::Json,
        }
    }

    fn command(self, writer: usize, number: usize) -> anyhow::Result<Command> {
        let at = Timestamp(1_700_000_000_000 + number as u64);
        let id = Ulid::new(at, ((writer as u128) << 40) | number as u128);
        Ok(match self {
            // Each of its likes is of another comment: a user likes a thing once.
            Self::Likes => Command::Likes(LikesCommand::Like {
                target: Target::Comment(id),
                reaction: "like".to_owned(),
                user: UserId::new(&user_name(writer))?,
                at: id,
            }),
            Self::Comments => Command::Comments(CommentsCommand::Add {
                id,
                author: UserId::new(&user_name(writer))?,
                parent: None,
                created: at,
                body: format!("{number:0>120}"),
            }),
            // A text for each writer, since no writer sees what another makes.
            Self::Typing if number == 0 => {
                Command::Json(JsonCommand::PutText { path: text_of(writer), text: String::new() })
            }
            Self::Typing => Command::Json(JsonCommand::Splice {
                path: text_of(writer),
                index: number - 1,
                delete: 0,
                insert: "x".to_owned(),
            }),
        })
    }
}

fn text_of(writer: usize) -> Vec<PathSegment> {
    vec![PathSegment::Key(user_name(writer))]
}

/// The user that a client of the load generator is.
pub(crate) fn user_name(client: usize) -> String {
    format!("w{client}")
}

/// Makes the changes of a writer that sees nobody else's: each depends on the one before.
pub(crate) fn make_changes(
    address: &Address,
    actor: ActorId,
    kind: Kind,
    writer: usize,
    count: usize,
) -> anyhow::Result<Vec<Bytes>> {
    let mut doc = genesis::document(address, TextEncoding::UnicodeCodePoint);
    doc.set_actor(automerge::ActorId::from(actor.0));
    let mut changes = Vec::with_capacity(count);
    for number in 0..count {
        let mut transaction = doc.transaction();
        kind.command(writer, number)?.apply(&mut transaction)?;
        transaction.commit();
        let change = doc.get_last_local_change().context("a command that changes nothing")?;
        changes.push(Bytes::copy_from_slice(change.raw_bytes()));
    }
    Ok(changes)
}

/// A writer's changes on their way.
pub(crate) struct Lane {
    pub(crate) changes: Vec<Bytes>,
    /// Microseconds after the start, 0 for not yet.
    sent_at: Vec<AtomicU64>,
    settled: AtomicUsize,
    /// Rings when something was settled.
    pub(crate) moved: Notify,
    acks: Mutex<Durations>,
}

impl Lane {
    pub(crate) fn new(changes: Vec<Bytes>) -> Self {
        let sent_at = changes.iter().map(|_| AtomicU64::new(0)).collect();
        Self {
            changes,
            sent_at,
            settled: AtomicUsize::new(0),
            moved: Notify::new(),
            acks: Mutex::default(),
        }
    }

    pub(crate) fn settled(&self) -> usize {
        self.settled.load(Ordering::Acquire)
    }

    /// The changes from `first` to before `end` go out at this moment.
    pub(crate) fn sent(&self, first: usize, end: usize, started: Instant) {
        let at = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        for sent_at in &self.sent_at[first..end] {
            sent_at.store(at, Ordering::Release);
        }
    }

    /// The first `count` changes are durable.
    pub(crate) fn acknowledged(&self, count: usize, started: Instant) {
        let count = count.min(self.changes.len());
        let before = self.settled.swap(count, Ordering::AcqRel);
        let mut acks = self.acks.lock().unwrap_or_else(PoisonError::into_inner);
        for number in before..count {
            acks.push(self.age(number, started));
        }
        drop(acks);
        self.moved.notify_one();
    }

    /// How long ago a change was sent.
    pub(crate) fn age(&self, number: usize, started: Instant) -> Duration {
        let sent = self.sent_at.get(number).map_or(0, |at| at.load(Ordering::Acquire));
        started.elapsed().saturating_sub(Duration::from_micros(sent))
    }

    pub(crate) fn acks(&self) -> Durations {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use syncline_engine::gate::Index;
    use syncline_engine::policy::Rules;

    use super::*;

    #[test]
    fn what_two_writers_make_apart_is_let_in() {
        for kind in [Kind::Likes, Kind::Comments, Kind::Typing] {
            let address = Address::new("bench", "x", kind.facet()).unwrap();
            let mut index = Index::new(&address);
            for writer in 1..3 {
                let actor = ActorId::leased(1, u32::try_from(writer).unwrap());
                let user = UserId::new(&user_name(writer)).unwrap();
                let principal = Rules::default().principal(&user, None);
                for change in make_changes(&address, actor, kind, writer, 5).unwrap() {
                    let checked = index.check(&change, &principal).unwrap();
                    index.apply(&checked);
                }
            }
            assert_eq!(index.len(), 11, "genesis, and five of each");
        }
    }

    #[test]
    fn acknowledgements_are_counted_once() {
        let lane = Lane::new(vec![Bytes::new(); 4]);
        let started = Instant::now();
        lane.sent(0, 3, started);
        lane.acknowledged(2, started);
        lane.acknowledged(3, started);
        assert_eq!((lane.settled(), lane.acks().len()), (3, 3));
    }
}
