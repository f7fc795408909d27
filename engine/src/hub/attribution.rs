//! Who wrote what and when, kept beside a snapshot so that dropping the log forgets nothing.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::stored::{Reader, StoredError, Writer};
use crate::clock::Timestamp;
use crate::ids::{ActorId, UserId};

const VERSION: u8 = 1;

/// Consecutive changes of one actor that one user wrote at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first_seq: u64,
    author: usize,
    at: Timestamp,
}

/// An actor's changes in runs, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Runs {
    runs: Vec<Run>,
    last_seq: u64,
}

/// Who wrote each change up to a position, by actor and seq.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attribution {
    authors: Vec<UserId>,
    places: BTreeMap<UserId, usize>,
    actors: BTreeMap<ActorId, Runs>,
}

impl Attribution {
    /// Who wrote the change with this seq of `actor`, and when it was accepted.
    #[must_use]
    pub fn of(&self, actor: ActorId, seq: u64) -> Option<(&UserId, Timestamp)> {
        let Runs { runs, last_seq } = self.actors.get(&actor)?;
        if seq > *last_seq {
            return None;
        }
        let run = runs.partition_point(|run| run.first_seq <= seq).checked_sub(1)?;
        let Run { author, at, .. } = runs.get(run)?;
        Some((self.authors.get(*author)?, *at))
    }

    /// When the latest change was accepted.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        let runs = self.actors.values().flat_map(|actor| &actor.runs);
        runs.map(|run| run.at).max()
    }

    /// Notes the next change of an actor. One that does not follow its last is noted all the same.
    pub fn note(&mut self, actor: ActorId, seq: u64, author: &UserId, at: Timestamp) {
        let author = self.place(author);
        let Runs { runs, last_seq } = self.actors.entry(actor).or_default();
        let continues = runs.last().is_some_and(|run| run.author == author && run.at == at);
        if !continues || seq != *last_seq + 1 {
            runs.push(Run { first_seq: seq, author, at });
        }
        *last_seq = seq;
    }

    /// Whether a user wrote any of the changes.
    #[must_use]
    pub fn names(&self, user: &UserId) -> bool {
        self.places.contains_key(user)
    }

    fn place(&mut self, author: &UserId) -> usize {
        if let Some(place) = self.places.get(author) {
            return *place;
        }
        self.authors.push(author.clone());
        self.places.insert(author.clone(), self.authors.len() - 1);
        self.authors.len() - 1
    }

    /// The bytes that a snapshot carries.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.uint(self.authors.len() as u64);
        for author in &self.authors {
            out.uint(author.as_str().len() as u64);
            out.bytes(author.as_str().as_bytes());
        }
        out.uint(self.actors.len() as u64);
        for (actor, Runs { runs, last_seq }) in &self.actors {
            out.bytes(&actor.0);
            out.uint(*last_seq);
            out.uint(runs.len() as u64);
            let (mut seq, mut at) = (0, 0_u64);
            for run in runs {
                out.uint(run.first_seq.wrapping_sub(seq));
                out.uint(run.author as u64);
                // Time rarely goes back; where it does, the difference wraps.
                out.uint(run.at.0.wrapping_sub(at));
                (seq, at) = (run.first_seq, run.at.0);
            }
        }
        out.finish()
    }

    /// Reads what [`Attribution::encode`] wrote.
    ///
    /// # Errors
    /// [`StoredError`] if the bytes are cut off, too long, of another version or inconsistent.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoredError> {
        let mut from = Reader::new(bytes, VERSION)?;
        let mut this = Self::default();
        for _ in 0..from.count(2)? {
            let len = from.uint()?;
            let name = std::str::from_utf8(from.slice(len)?);
            let author = name.ok().and_then(|name| UserId::new(name).ok());
            this.place(&author.ok_or(StoredError::OutOfRange("user name"))?);
        }
        for _ in 0..from.count(18)? {
            let actor = ActorId(from.array()?);
            let last_seq = from.uint()?;
            let mut runs = Vec::new();
            let (mut seq, mut at) = (0_u64, 0_u64);
            for _ in 0..from.count(3)? {
                seq = seq.wrapping_add(from.uint()?);
                let author = usize::try_from(from.uint()?).unwrap_or(usize::MAX);
                at = at.wrapping_add(from.uint()?);
                if author >= this.authors.len() {
                    return Err(StoredError::OutOfRange("author"));
                }
                runs.push(Run { first_seq: seq, author, at: Timestamp(at) });
            }
            this.actors.insert(actor, Runs { runs, last_seq });
        }
        from.finish()?;
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_finds_its_author_also_after_storing() {
        let (ada, bob) = (UserId::new("ada").unwrap(), UserId::new("bob").unwrap());
        let (one, two) = (ActorId::leased(1, 1), ActorId::leased(1, 2));
        let mut attribution = Attribution::default();
        for (seq, author, at) in
            [(1, &ada, 10), (2, &ada, 10), (3, &bob, 10), (4, &bob, 9), (5, &ada, 12)]
        {
            attribution.note(one, seq, author, Timestamp(at));
        }
        attribution.note(two, 1, &bob, Timestamp(11));
        let bytes = attribution.encode();
        let attribution = Attribution::decode(&bytes).unwrap();
        assert_eq!(attribution.of(one, 2), Some((&ada, Timestamp(10))));
        assert_eq!(attribution.of(one, 3), Some((&bob, Timestamp(10))));
        assert_eq!(attribution.of(one, 4), Some((&bob, Timestamp(9))));
        assert_eq!(attribution.of(two, 1), Some((&bob, Timestamp(11))));
        assert_eq!(attribution.of(one, 6), None);
        assert_eq!(attribution.of(one, 0), None);
        assert_eq!(attribution.encode(), bytes);
        for len in 0..bytes.len() {
            assert!(Attribution::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
    }
}
