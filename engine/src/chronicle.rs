//! A log told entry by entry: what each accepted change did to what its document shows. Must never
//! know who listens, nor decide what may be in a log.
//!
//! A driver makes one where changes leave for other systems, off the hub's loop: it holds the whole
//! document, and automerge may panic on what is damaged.

use std::collections::BTreeSet;

use automerge::{Automerge, Change, PatchLog, ReadDoc, TextEncoding};

use crate::change::reader::{self, ReadError};
use crate::document::{Event, View, genesis};
use crate::ids::{Address, ChangeHash};
use crate::storage::{Entry, Record};

/// A log cannot be told. What is stored is as good as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChronicleError {
    /// The snapshot does not load.
    #[error("the snapshot does not load: {0}")]
    Snapshot(String),
    /// The records do not lead from the snapshot to the place asked for.
    #[error("the entry with seq {0} is missing")]
    Missing(u64),
    /// A stored change does not read.
    #[error("the change with seq {seq} does not read: {error}")]
    Change {
        /// Its place in the log.
        seq: u64,
        /// What is wrong with it.
        error: ReadError,
    },
    /// Automerge refuses a change.
    #[error("the change with seq {seq} does not apply: {what}")]
    Apply {
        /// Its place in the log.
        seq: u64,
        /// Why.
        what: String,
    },
}

/// A document as it was after some entry of its log.
#[derive(Debug)]
pub struct Chronicle {
    document: Automerge,
    view: View,
    seq: u64,
    bytes: usize,
}

impl Chronicle {
    /// The document as it was after `seq`, from a snapshot's seq and body (if there is one) and the
    /// records around it: those between the snapshot and `seq`, whichever of them comes first.
    ///
    /// # Errors
    /// [`ChronicleError`] if the records leave a gap or what is stored is damaged.
    pub fn open(
        address: &Address,
        snapshot: Option<(u64, &[u8])>,
        records: &[Record],
        seq: u64,
    ) -> Result<Self, ChronicleError> {
        let (stands_for, body) = snapshot.unwrap_or((0, &[]));
        let mut document = if snapshot.is_some() {
            Automerge::load(body).map_err(|error| ChronicleError::Snapshot(error.to_string()))?
        } else {
            genesis::document(address, TextEncoding::UnicodeCodePoint)
        };
        let between = entries(records, stands_for.min(seq), stands_for.max(seq))?;
        let mut bytes = body.len();
        if seq < stands_for {
            // A snapshot holds all changes, so what came later can be left out.
            let later: BTreeSet<ChangeHash> = between.iter().map(|(_, entry)| entry.hash).collect();
            let mut earlier = document.get_changes(&[]);
            earlier.retain(|change| !later.contains(&ChangeHash(change.hash().0)));
            document = Automerge::new_with_encoding(document.text_encoding());
            apply(&mut document, seq, earlier, &mut PatchLog::inactive())?;
        } else {
            let mut changes = Vec::with_capacity(between.len());
            for (seq, entry) in between {
                bytes += entry.change.len();
                changes.push(read(seq, entry)?);
            }
            apply(&mut document, seq, changes, &mut PatchLog::inactive())?;
        }
        let view = View::read(address.facet(), &document);
        Ok(Self { document, view, seq, bytes })
    }

    /// Goes on by the next entry, and tells what it did to what is shown: nothing, if it came to
    /// nothing.
    ///
    /// # Errors
    /// [`ChronicleError`] if the change is damaged; the chronicle is of no use then.
    pub fn tell(&mut self, entry: &Entry) -> Result<Vec<Event>, ChronicleError> {
        let seq = self.seq + 1;
        let change = read(seq, entry)?;
        let mut log = PatchLog::active();
        apply(&mut self.document, seq, vec![change], &mut log)?;
        (self.seq, self.bytes) = (seq, self.bytes + entry.change.len());
        let patches = self.document.make_patches(&mut log);
        Ok(self.view.patch(&self.document, &patches))
    }

    /// What the document shows.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// The seq of the last entry that was told.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// About how many bytes its changes have; in memory it takes a multiple.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The entries behind `after` up to `last`, each with its seq and none missing.
fn entries(
    records: &[Record],
    after: u64,
    last: u64,
) -> Result<Vec<(u64, &Entry)>, ChronicleError> {
    let all = records.iter().flat_map(|record| (record.first_seq..).zip(&record.entries));
    let wanted: Vec<(u64, &Entry)> =
        all.filter(|(seq, _)| (after + 1..=last).contains(seq)).collect();
    match (after + 1..=last).zip(&wanted).find(|(expected, (seq, _))| expected != seq) {
        Some((missing, _)) => Err(ChronicleError::Missing(missing)),
        None if wanted.len() as u64 != last - after => {
            Err(ChronicleError::Missing(after + 1 + wanted.len() as u64))
        }
        None => Ok(wanted),
    }
}

/// The strict reader goes first, whatever the store says: automerge must not see what it would refuse.
fn read(seq: u64, entry: &Entry) -> Result<Change, ChronicleError> {
    reader::read(&entry.change).map_err(|error| ChronicleError::Change { seq, error })?;
    Change::try_from(&entry.change[..])
        .map_err(|error| ChronicleError::Apply { seq, what: error.to_string() })
}

fn apply(
    document: &mut Automerge,
    seq: u64,
    changes: Vec<Change>,
    log: &mut PatchLog,
) -> Result<(), ChronicleError> {
    document
        .apply_changes_log_patches(changes, log)
        .map_err(|error| ChronicleError::Apply { seq, what: error.to_string() })?;
    if document.get_missing_deps(&[]).is_empty() {
        return Ok(());
    }
    Err(ChronicleError::Apply { seq, what: "what it builds on is missing".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::document::{Command, CommentsCommand, LikesCommand, Target};
    use crate::ids::{ActorId, Facet, Tip, Ulid, UserId};

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn ulid(n: u64) -> Ulid {
        Ulid::new(Timestamp(n), u128::from(n))
    }

    /// A log of these commands, one record each, and the document at its end.
    fn log(address: &Address, commands: &[Command]) -> (Vec<Record>, Automerge) {
        let actor = ActorId::leased(1, 1).0.as_slice().into();
        let mut document =
            genesis::document(address, TextEncoding::UnicodeCodePoint).with_actor(actor);
        let mut records = Vec::new();
        for (first_seq, command) in (1..).zip(commands) {
            let mut transaction = document.transaction();
            command.apply(&mut transaction).unwrap();
            transaction.commit();
            let change = document.get_last_local_change().unwrap();
            let entry = Entry {
                author: user("ada"),
                at: Timestamp(first_seq),
                command: None,
                hash: ChangeHash(change.hash().0),
                change: change.raw_bytes().to_vec().into(),
            };
            let (tip_before, tip) = (Tip::EMPTY, Tip::EMPTY);
            records.push(Record { first_seq, tip_before, tip, entries: vec![entry] });
        }
        (records, document)
    }

    fn comment(n: u64, body: &str) -> Command {
        let (author, parent, created) = (user("ada"), None, Timestamp(n));
        let body = body.to_owned();
        Command::Comments(CommentsCommand::Add { id: ulid(n), author, parent, created, body })
    }

    fn told(chronicle: &mut Chronicle, records: &[Record]) -> Vec<Vec<Event>> {
        let rest = records.iter().filter(|record| record.first_seq > chronicle.seq());
        let rest: Vec<&Record> = rest.collect();
        rest.iter().map(|record| chronicle.tell(&record.entries[0]).unwrap()).collect()
    }

    #[test]
    fn each_entry_is_told_by_itself_from_anywhere_with_a_snapshot_before_or_after() {
        let address = Address::new("town", "square", Facet::Comments).unwrap();
        let edited = CommentsCommand::Edit { id: ulid(2), body: "2!".into(), edited: Timestamp(9) };
        let deleted = CommentsCommand::Delete { id: ulid(1), at: Timestamp(9) };
        let commands = [
            comment(1, "one"),
            comment(2, "two"),
            Command::Comments(edited),
            Command::Comments(deleted),
        ];
        let (records, end) = log(&address, &commands);
        let whole = told(&mut Chronicle::open(&address, None, &records, 0).unwrap(), &records);
        assert_eq!(whole[2], [Event::CommentEdited { id: ulid(2) }]);
        assert_eq!(whole[3], [Event::CommentDeleted { id: ulid(1) }]);
        assert_eq!(whole.iter().map(Vec::len).sum::<usize>(), 4);
        for stands_for in 1..=4_u64 {
            let below = usize::try_from(stands_for).unwrap();
            let (_, middle) = log(&address, &commands[..below]);
            let body = middle.save();
            for seq in 0..=4 {
                let snapshot = Some((stands_for, &body[..]));
                let mut chronicle = Chronicle::open(&address, snapshot, &records, seq).unwrap();
                let from = usize::try_from(seq).unwrap();
                assert_eq!(told(&mut chronicle, &records), whole[from..], "{stands_for} {seq}");
                assert_eq!(*chronicle.view(), View::read(Facet::Comments, &end));
            }
        }
    }

    #[test]
    fn what_comes_to_nothing_is_told_as_nothing_and_a_gap_is_not_passed_over() {
        let address = Address::new("town", "square", Facet::Likes).unwrap();
        let like = |n| {
            let (reaction, user) = ("like".to_owned(), user("ada"));
            let (target, at) = (Target::Post, ulid(n));
            Command::Likes(LikesCommand::Like { target, reaction, user, at })
        };
        let (records, _) = log(&address, &[like(1)]);
        let mut chronicle = Chronicle::open(&address, None, &[], 0).unwrap();
        assert_eq!(chronicle.tell(&records[0].entries[0]).unwrap().len(), 1);
        // The same like by another device of the same user.
        let actor = ActorId::leased(1, 2).0.as_slice().into();
        let mut other =
            genesis::document(&address, TextEncoding::UnicodeCodePoint).with_actor(actor);
        let mut transaction = other.transaction();
        like(2).apply(&mut transaction).unwrap();
        transaction.commit();
        let change = other.get_last_local_change().unwrap();
        let hash = ChangeHash(change.hash().0);
        let change = change.raw_bytes().to_vec().into();
        let entry = Entry { hash, change, ..records[0].entries[0].clone() };
        assert_eq!(chronicle.tell(&entry).unwrap(), []);
        let gap = Chronicle::open(&address, None, &[], 1);
        assert!(matches!(gap, Err(ChronicleError::Missing(1))), "{gap:?}");
    }
}
