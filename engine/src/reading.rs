//! A copy of a document for those who look at it from outside of the sync protocol: read from a log,
//! shown as it is or as it was, and written to on behalf of others under a lease that they hold.
//!
//! It must never know connections or who asks: what it is fed comes from a hub, and who may see or do
//! what is the hub's to say. Unlike a replica it has no pending work, no store and no undo.

use std::collections::BTreeSet;

use automerge::transaction::CommitOptions;
use automerge::{Automerge, Change, PatchLog, ReadDoc, TextEncoding};
use bytes::Bytes;

use crate::change;
use crate::clock::Timestamp;
use crate::document::{Command, CommandError, View};
use crate::ids::{ActorId, Address, ChangeHash, Cursor, Epoch, Facet, Lease, Tip, heads_digest};
use crate::limits::{CHANGE_BYTES_MAX, CHANGE_OPS_MAX, PUSH_CHANGES_MAX};
use crate::replica::{Replica, ReplicaError, Stored};
use crate::wire::frame::Changes;

/// Positions in texts count code points.
const ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;
/// Nothing is written under it: what is drafted is drafted on a copy, under a lease.
const NOBODY: u64 = 0;

/// A log can't be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadingError {
    /// What came does not continue what is here.
    #[error("the log has a gap after {0}")]
    Gap(u64),
    /// A change in the log does not read.
    #[error("the change at {0} does not read")]
    Change(u64),
    /// The changes or the snapshot do not make a document.
    #[error(transparent)]
    Document(#[from] ReplicaError),
}

/// An older version of a document is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PastError {
    /// There was no such version yet.
    #[error("the document has no such version yet")]
    NotYet,
    /// It lies before what the present epoch began with.
    #[error("the document's history does not reach back so far")]
    Gone,
}

/// A document as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// The last entry of the log that is in it, where that is known.
    pub seq: Option<u64>,
    /// Its heads, sorted.
    pub heads: Vec<ChangeHash>,
    /// What it showed.
    pub view: View,
}

/// A copy of one document.
///
/// ```
/// use syncline_engine::ids::{Address, Epoch};
/// use syncline_engine::reading::Reading;
/// let address: Address = "town/square/json".parse()?;
/// let reading = Reading::begin(address, Epoch([7; 16]));
/// assert_eq!(reading.cursor().seq, 0);
/// # Ok::<(), syncline_engine::ids::NameError>(())
/// ```
#[derive(Debug)]
pub struct Reading {
    replica: Replica,
    cursor: Cursor,
    bytes: usize,
}

impl Reading {
    /// The document before anybody wrote it: where a log is read from its beginning.
    #[must_use]
    pub fn begin(address: Address, epoch: Epoch) -> Self {
        let replica = Replica::new(address, ENCODING, ActorId::provisional(NOBODY));
        let cursor = Cursor { epoch, seq: 0, tip: Tip::EMPTY };
        Self { replica, cursor, bytes: 0 }
    }

    /// The document of a snapshot, which stands for everything up to `cursor`.
    ///
    /// # Errors
    /// [`ReadingError::Document`] if it does not load.
    pub fn load(address: Address, snapshot: Vec<u8>, cursor: Cursor) -> Result<Self, ReadingError> {
        let bytes = snapshot.len();
        let stored = Stored { base: Some(snapshot), cursor: Some(cursor), ..Stored::default() };
        let nobody = ActorId::provisional(NOBODY);
        let replica = Replica::load(address, ENCODING, nobody, stored)?;
        Ok(Self { replica, cursor, bytes })
    }

    /// Takes in what follows in the log. What is here already is passed over.
    ///
    /// # Errors
    /// [`ReadingError`] if it does not follow; the copy is to be thrown away then.
    pub fn take(&mut self, frame: &Changes) -> Result<(), ReadingError> {
        let seq = self.cursor.seq;
        let last = frame.first_seq.saturating_add(frame.entries.len() as u64).saturating_sub(1);
        if frame.entries.is_empty() || last <= seq {
            return Ok(());
        }
        let Some(known) = (seq + 1).checked_sub(frame.first_seq) else {
            return Err(ReadingError::Gap(seq));
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let mut fresh = Vec::with_capacity(frame.entries.len());
        for (place, entry) in (frame.first_seq..).zip(&frame.entries).skip(known) {
            fresh.push(parse(&entry.change.0).ok_or(ReadingError::Change(place))?);
            self.bytes += entry.change.0.len();
        }
        self.cursor = Cursor { epoch: self.cursor.epoch, seq: last, tip: Tip(frame.tip) };
        self.replica.accept(fresh, self.cursor)?;
        Ok(())
    }

    /// Which document this is.
    #[must_use]
    pub const fn address(&self) -> &Address {
        self.replica.address()
    }

    /// How far the log is read.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// What it shows.
    #[must_use]
    pub const fn view(&self) -> &View {
        self.replica.view()
    }

    /// About how much was read for it, in bytes: what it takes in memory is some times that.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its heads, sorted.
    #[must_use]
    pub fn heads(&self) -> Vec<ChangeHash> {
        heads(self.replica.document())
    }

    /// The digest of its heads: equal for equal documents.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        heads_digest(self.heads())
    }

    /// All that is here of the document's past, to be looked at elsewhere while this goes on.
    #[must_use]
    pub fn history(&self) -> History {
        let (doc, facet) = (self.replica.document().clone(), self.address().facet());
        History { doc, facet, cursor: self.cursor }
    }

    /// Writes a command down under a lease, in as many changes as it takes; none if there is nothing to
    /// do. What is here does not change: the log will bring it. The log must have been read up to
    /// `lease.after`.
    ///
    /// # Errors
    /// [`CommandError`] if it can't be carried out on the document.
    pub fn draft(
        &self,
        lease: Lease,
        now: Timestamp,
        command: Command,
    ) -> Result<Vec<Bytes>, CommandError> {
        let facet = self.address().facet();
        command.check()?;
        if command.facet() != facet {
            return Err(CommandError::NotSuchADocument(command.facet().as_str()));
        }
        let mut doc = self.replica.document().clone();
        doc.set_actor(automerge::ActorId::from(&lease.actor.0[..]));
        let time = i64::try_from(now.0).unwrap_or(i64::MAX);
        let mut changes = Vec::new();
        for part in command.split(&doc) {
            let Ok(mut tx) = doc.transaction_log_patches(PatchLog::inactive()) else {
                return Err(CommandError::Argument("the document can't be written to"));
            };
            if let Err(error) = part.apply(&mut tx) {
                tx.rollback();
                return Err(error);
            }
            let (hash, _) = tx.commit_with(CommitOptions::default().with_time(time));
            let Some(change) = hash.and_then(|hash| doc.get_change_by_hash(&hash)) else {
                continue;
            };
            if change.raw_bytes().len() > CHANGE_BYTES_MAX || change.len() > CHANGE_OPS_MAX {
                let (what, max, unit) = ("a change", CHANGE_BYTES_MAX, "bytes");
                return Err(CommandError::TooLarge { what, max, unit });
            }
            changes.push(Bytes::copy_from_slice(change.raw_bytes()));
        }
        if changes.len() > PUSH_CHANGES_MAX {
            let (what, max, unit) = ("a command", PUSH_CHANGES_MAX, "changes");
            return Err(CommandError::TooLarge { what, max, unit });
        }
        Ok(changes)
    }
}

/// A document with its past, up to where its log was read.
#[derive(Debug)]
pub struct History {
    doc: Automerge,
    facet: Facet,
    cursor: Cursor,
}

impl History {
    /// How far the log was read.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The document as it was after the log's entry `seq`.
    ///
    /// # Errors
    /// [`PastError`] if the log does not reach there.
    pub fn at(&self, seq: u64) -> Result<Past, PastError> {
        let back = self.cursor.seq.checked_sub(seq).ok_or(PastError::NotYet)?;
        // The document keeps its changes in the order in which the log gave them.
        let mut changes = self.doc.get_changes(&[]);
        let begun = changes.iter().take_while(|change| begins(change)).count() as u64;
        let kept = (changes.len() as u64).checked_sub(back).filter(|kept| *kept >= begun);
        let kept = kept.and_then(|kept| usize::try_from(kept).ok()).ok_or(PastError::Gone)?;
        changes.truncate(kept);
        self.made_of(changes, Some(seq))
    }

    /// The document as it was when it had these heads.
    ///
    /// # Errors
    /// [`PastError::Gone`] if it does not know one of them.
    pub fn at_heads(&self, heads: &[ChangeHash]) -> Result<Past, PastError> {
        let mut wanted: BTreeSet<_> =
            heads.iter().map(|head| automerge::ChangeHash(head.0)).collect();
        let mut changes = self.doc.get_changes(&[]);
        // Each comes after those that it builds on.
        changes.reverse();
        changes.retain(|change| {
            let kept = wanted.remove(&change.hash());
            wanted.extend(change.deps().iter().filter(|_| kept));
            kept
        });
        changes.reverse();
        if !wanted.is_empty() || changes.is_empty() {
            return Err(PastError::Gone);
        }
        self.made_of(changes, None)
    }

    fn made_of(&self, changes: Vec<Change>, seq: Option<u64>) -> Result<Past, PastError> {
        let nobody = automerge::ActorId::from(ActorId::provisional(NOBODY).0);
        let mut doc = Automerge::new_with_encoding(ENCODING).with_actor(nobody);
        doc.apply_changes(changes).map_err(|_| PastError::Gone)?;
        let view = View::read(self.facet, &doc);
        Ok(Past { seq, heads: heads(&doc), view })
    }
}

/// A change from bytes: the strict reader first.
fn parse(bytes: &[u8]) -> Option<Change> {
    change::read(bytes).ok()?;
    Change::try_from(bytes).ok()
}

/// Whether a change is of what a log begins with, and no entry of it.
fn begins(change: &Change) -> bool {
    let bytes = change.actor_id().to_bytes();
    <[u8; 16]>::try_from(bytes)
        .is_ok_and(|actor| actor == ActorId::GENESIS.0 || ActorId(actor).is_rollover())
}

fn heads(doc: &Automerge) -> Vec<ChangeHash> {
    let mut heads: Vec<_> = doc.get_heads().iter().map(|head| ChangeHash(head.0)).collect();
    heads.sort_unstable();
    heads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{LikesCommand, PostCommand, Target, TextField};
    use crate::hub::compact;
    use crate::ids::{Ulid, UserId};
    use crate::storage::{Entry, Record};
    use crate::wire::frame::{Blob, WireEntry};

    const EPOCH: Epoch = Epoch([7; 16]);

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn post() -> Address {
        "town/square/post".parse().unwrap()
    }

    fn create(title: &str) -> Command {
        Command::Post(PostCommand::Create {
            author: user("ada"),
            created: Timestamp(1),
            title: title.to_owned(),
            body: String::new(),
            tags: vec![],
        })
    }

    fn append(index: usize, insert: &str) -> Command {
        let (field, insert) = (TextField::Title, insert.to_owned());
        Command::Post(PostCommand::Splice { field, index, delete: 0, insert })
    }

    fn title(view: &View) -> &str {
        let View::Post(post) = view else { panic!("it is a post") };
        post.title()
    }

    fn frame(first_seq: u64, changes: &[Bytes]) -> Changes {
        let entry =
            |change: &Bytes| WireEntry { author: 0, at_ms: 0, change: Blob(change.clone()) };
        Changes {
            handle: 1,
            first_seq,
            tip: [u8::try_from(first_seq).unwrap(); 16],
            seal: None,
            authors: vec!["ada".to_owned()],
            entries: changes.iter().map(entry).collect(),
        }
    }

    /// Writes commands one after the other, by turns under two actors; the log that comes of it.
    fn written(reading: &mut Reading, commands: Vec<Command>) -> Vec<Bytes> {
        let mut log = Vec::new();
        let mut written = [0_u64; 2];
        for (turn, command) in commands.into_iter().enumerate() {
            let slot = turn % 2;
            let actor = ActorId::leased(3, u32::try_from(slot).unwrap() + 1);
            let seq = reading.cursor().seq;
            let lease = Lease { actor, next_seq: written[slot] + 1, after: seq };
            let changes = reading.draft(lease, Timestamp(5), command).unwrap();
            written[slot] += changes.len() as u64;
            reading.take(&frame(seq + 1, &changes)).unwrap();
            log.extend(changes);
        }
        log
    }

    #[test]
    fn what_is_drafted_shows_once_the_log_brings_it() {
        let mut reading = Reading::begin(post(), EPOCH);
        let before = reading.digest();
        let lease = Lease { actor: ActorId::leased(3, 1), next_seq: 1, after: 0 };
        let changes = reading.draft(lease, Timestamp(5), create("Hello")).unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!((title(reading.view()), reading.digest()), ("", before));
        reading.take(&frame(1, &changes)).unwrap();
        assert_eq!(title(reading.view()), "Hello");
        assert_ne!(reading.digest(), before);
        let mut other = create("Hello");
        if let Command::Post(PostCommand::Create { author, .. }) = &mut other {
            *author = user("bob");
        }
        let again = reading.draft(lease, Timestamp(6), other);
        assert!(matches!(again, Err(CommandError::Exists)), "{again:?}");
        let like = LikesCommand::Like {
            target: Target::Post,
            reaction: "like".to_owned(),
            user: user("ada"),
            at: Ulid::new(Timestamp(1), 1),
        };
        let elsewhere = reading.draft(lease, Timestamp(6), Command::Likes(like));
        assert!(matches!(elsewhere, Err(CommandError::NotSuchADocument(_))), "{elsewhere:?}");
    }

    #[test]
    fn what_is_there_is_passed_over_and_a_gap_is_told() {
        let mut reading = Reading::begin(post(), EPOCH);
        let log = written(&mut reading, vec![create("a"), append(1, "b"), append(2, "c")]);
        let mut other = Reading::begin(post(), EPOCH);
        other.take(&frame(1, &log[..2])).unwrap();
        assert!(matches!(other.take(&frame(4, &log[2..])), Err(ReadingError::Gap(2))));
        other.take(&frame(1, &log[..1])).unwrap();
        other.take(&frame(2, &log[1..])).unwrap();
        assert_eq!(title(other.view()), "abc");
        assert_eq!(other.digest(), reading.digest());
        let mut spoiled = Reading::begin(post(), EPOCH);
        let spoiled = spoiled.take(&frame(1, &[Bytes::from_static(b"no change")]));
        assert!(matches!(spoiled, Err(ReadingError::Change(1))));
    }

    #[test]
    fn every_version_is_to_be_had_also_of_a_snapshot() {
        let mut reading = Reading::begin(post(), EPOCH);
        let mut shown = vec![(String::new(), reading.heads())];
        let commands =
            [create("a"), append(1, "b"), append(2, "c"), append(3, "d"), append(4, "e")];
        let mut log = Vec::new();
        for command in commands {
            // Not in step with one another, so that heads and order of the log are two things.
            log.extend(written(&mut reading, vec![command]));
            shown.push((title(reading.view()).to_owned(), reading.heads()));
        }
        let entries = log.iter().map(|change| Entry {
            author: user("ada"),
            at: Timestamp(1),
            command: None,
            hash: change::read(change).unwrap().hash,
            change: change.clone(),
        });
        let end = Cursor { epoch: EPOCH, seq: 4, tip: Tip([4; 16]) };
        let record = Record {
            first_seq: 1,
            tip_before: Tip::EMPTY,
            tip: end.tip,
            entries: entries.take(4).collect(),
        };
        let snapshot = compact(&post(), end, None, &[record]).unwrap();
        let mut loaded = Reading::load(post(), snapshot.body.to_vec(), end).unwrap();
        loaded.take(&frame(5, &log[4..])).unwrap();
        for reading in [&reading, &loaded] {
            let history = reading.history();
            for (seq, (title_then, heads)) in (0_u64..).zip(&shown) {
                let past = history.at(seq).unwrap();
                assert_eq!((title(&past.view), &past.heads), (title_then.as_str(), heads));
                let same = history.at_heads(heads).unwrap();
                assert_eq!((same.view, &same.heads), (past.view, heads));
            }
            assert_eq!(history.at(6), Err(PastError::NotYet));
            assert_eq!(history.at_heads(&[ChangeHash([9; 32])]), Err(PastError::Gone));
            assert_eq!(history.at_heads(&[]), Err(PastError::Gone));
        }
    }

    #[test]
    fn what_an_epoch_began_with_is_no_entry_of_its_log() {
        let mut old = Reading::begin(post(), EPOCH);
        written(&mut old, vec![create("a"), append(1, "b"), append(2, "c")]);
        let epoch = Epoch([8; 16]);
        let document =
            crate::document::begin_epoch(&post(), old.replica.document(), epoch, Timestamp(9));
        let begun = Cursor { epoch, seq: 3, tip: Tip([3; 16]) };
        let mut reading = Reading::load(post(), document.unwrap().save(), begun).unwrap();
        assert_eq!(title(reading.view()), "abc");
        written(&mut reading, vec![append(3, "d")]);
        let history = reading.history();
        assert_eq!(title(&history.at(3).unwrap().view), "abc");
        assert_eq!(history.at(2), Err(PastError::Gone));
    }
}
