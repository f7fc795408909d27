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
    Command, CommentsCommand, LikesCommand, PostCommand, Target, TextField, genesis,
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
            Self::Typing => Facet::Post,
        }
    }

    fn command(self, writer: usize, number: usize) -> anyhow::Result<Command> {
        let at = Timestamp(1_700_000_000_000 + number as u64);
        let id = Ulid::new(at, ((writer as u128) << 40) | number as u128);
        Ok(match self {
            Self::Likes => Command::Likes(LikesCommand::Like {
                target: Target::Post,
                reaction: "like".to_owned(),
                user: UserId::new(&format!("w{writer}-{number}"))?,
                at: id,
            }),
            Self::Comments => Command::Comments(CommentsCommand::Add {
                id,
                author: UserId::new(&user_name(writer))?,
                parent: None,
                created: at,
                body: format!("{number:0>120}"),
            }),
            Self::Typing if number == 0 => Command::Post(PostCommand::Create {
                author: UserId::new(&user_name(writer))?,
                created: at,
                title: String::new(),
                body: String::new(),
                tags: Vec::new(),
            }),
            Self::Typing => Command::Post(PostCommand::Splice {
                field: TextField::Body,
                index: number - 1,
                delete: 0,
                insert: "x".to_owned(),
            }),
        })
    }
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
    use automerge::{Automerge, Change};
    use syncline_engine::document::View;

    use super::*;

    #[test]
    fn changes_of_two_writers_apply_on_top_of_genesis() {
        for kind in [Kind::Likes, Kind::Comments, Kind::Typing] {
            let address = Address::new("bench", "x", kind.facet()).unwrap();
            let mut doc: Automerge = genesis::document(&address, TextEncoding::UnicodeCodePoint);
            for writer in 1..3 {
                let actor = ActorId::leased(1, u32::try_from(writer).unwrap());
                let made = make_changes(&address, actor, kind, writer, 5).unwrap();
                let changes = made.iter().map(|bytes| Change::try_from(&bytes[..]).unwrap());
                doc.apply_changes(changes).unwrap();
            }
            match View::read(kind.facet(), &doc) {
                View::Likes(likes) => assert_eq!(likes.count(Target::Post, "like"), 10),
                View::Comments(comments) => assert_eq!(comments.len(), 10),
                View::Post(post) => assert_eq!(post.body(), "xxxxxxxx"),
                View::Json(_) => unreachable!("no such kind"),
            }
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
