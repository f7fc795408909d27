//! How far each receiver is in each document, on disk. A place moves only after the receiver has said
//! that it has everything before it. Knows no events and no network.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

use sled::Db;
use syncline_engine::ids::{Address, ChangeHash, Cursor, Epoch, Tip};

use super::config::Pattern;

/// The places of all receivers are small, and each is read now and then.
const CACHE_BYTES: u64 = 8 << 20;
/// sled closes its file from threads of its own some time after the last handle is dropped. The lock on
/// the data directory is held, so only such a leftover of this process can be in the way.
const LEFTOVER_TRIES: u32 = 200;
const LEFTOVER_WAIT: Duration = Duration::from_millis(10);
const PLACE: u8 = b'p';
const BEGUN: u8 = b'b';

/// A place in a document's log: everything up to `seq` was had. The tip and the hash, where they are
/// known, tell whether a log is still the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) epoch: Epoch,
    pub(super) seq: u64,
    /// The log's digest there, if that is between two records.
    pub(super) tip: Option<Tip>,
    /// The change with this seq.
    pub(super) hash: Option<ChangeHash>,
}

impl From<Cursor> for Place {
    fn from(cursor: Cursor) -> Self {
        let Cursor { epoch, seq, tip } = cursor;
        Self { epoch, seq, tip: Some(tip), hash: None }
    }
}

impl Place {
    /// Before everything in an epoch.
    pub(super) const fn before(epoch: Epoch) -> Self {
        Self { epoch, seq: 0, tip: Some(Tip::EMPTY), hash: None }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = self.epoch.0.to_vec();
        out.extend_from_slice(&self.seq.to_le_bytes());
        let known = u8::from(self.tip.is_some()) | u8::from(self.hash.is_some()) << 1;
        out.push(known);
        out.extend_from_slice(&self.tip.map_or([0; 16], |tip| tip.0));
        out.extend_from_slice(&self.hash.map_or([0; 32], |hash| hash.0));
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (epoch, rest) = bytes.split_first_chunk::<16>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let ([known], rest) = rest.split_first_chunk::<1>()?;
        let (tip, rest) = rest.split_first_chunk::<16>()?;
        let hash: [u8; 32] = rest.try_into().ok()?;
        Some(Self {
            epoch: Epoch(*epoch),
            seq: u64::from_le_bytes(*seq),
            tip: (known & 1 != 0).then_some(Tip(*tip)),
            hash: (known & 2 != 0).then_some(ChangeHash(hash)),
        })
    }
}

/// The places of all receivers.
#[derive(Debug)]
pub(super) struct Ledger {
    db: Db,
    file: File,
}

impl Ledger {
    /// Opens it in a directory of its own, or makes one.
    ///
    /// # Errors
    /// As the file system or sled says.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let mut tries = 0;
        let db = loop {
            let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES);
            match config.flush_every_ms(None).open() {
                Ok(db) => break db,
                Err(sled::Error::Io(error))
                    if tries < LEFTOVER_TRIES && error.to_string().contains("acquire lock") =>
                {
                    tries += 1;
                    std::thread::sleep(LEFTOVER_WAIT);
                }
                Err(error) => return Err(error.into()),
            }
        };
        let file = OpenOptions::new().read(true).write(true).open(dir.join("db"))?;
        Ok(Self { db, file })
    }

    /// Where a receiver is in a document; `None` if it never had anything of it.
    ///
    /// # Errors
    /// As sled says.
    pub(super) fn place(&self, webhook: &str, address: &Address) -> io::Result<Option<Place>> {
        let found = self.db.get(key(webhook, address)).map_err(io::Error::from)?;
        Ok(found.and_then(|bytes| Place::decode(&bytes)))
    }

    /// Notes where a receiver is. It is on disk after the next [`Ledger::sync`]; if it never gets
    /// there, what lies before the place is sent again.
    ///
    /// # Errors
    /// As sled says.
    pub(super) fn put(&self, webhook: &str, address: &Address, place: &Place) -> io::Result<()> {
        self.db.insert(key(webhook, address), place.encode()).map_err(io::Error::from)?;
        Ok(())
    }

    /// For which spaces a receiver has begun; `None` if it is new.
    ///
    /// # Errors
    /// As sled says.
    pub(super) fn begun(&self, webhook: &str) -> io::Result<Option<Vec<Pattern>>> {
        let found = self.db.get(begun_key(webhook)).map_err(io::Error::from)?;
        Ok(found.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Notes that a receiver has begun.
    ///
    /// # Errors
    /// As sled says.
    pub(super) fn put_begun(&self, webhook: &str, spaces: &[Pattern]) -> io::Result<()> {
        let bytes = serde_json::to_vec(spaces).map_err(io::Error::other)?;
        self.db.insert(begun_key(webhook), bytes).map_err(io::Error::from)?;
        self.sync()
    }

    /// Makes what was noted durable. sled's own flush does not reach the drive, so the file is synced
    /// as well.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.db.flush().map_err(io::Error::from)?;
        self.file.sync_data()
    }
}

fn key(webhook: &str, address: &Address) -> Vec<u8> {
    let mut key = vec![PLACE];
    key.extend_from_slice(webhook.as_bytes());
    key.push(0);
    key.extend_from_slice(address.to_string().as_bytes());
    key
}

fn begun_key(webhook: &str) -> Vec<u8> {
    let mut key = vec![BEGUN];
    key.extend_from_slice(webhook.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_for_each_receiver_and_document_and_outlive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let address: Address = "town/square/likes".parse().unwrap();
        let place =
            Place { epoch: Epoch([1; 16]), seq: 7, tip: None, hash: Some(ChangeHash([2; 32])) };
        let start = Place::before(Epoch([3; 16]));
        let ledger = Ledger::open(dir.path()).unwrap();
        ledger.put("a", &address, &place).unwrap();
        ledger.put("b", &address, &start).unwrap();
        ledger.sync().unwrap();
        drop(ledger);
        let ledger = Ledger::open(dir.path()).unwrap();
        assert_eq!(ledger.place("a", &address).unwrap(), Some(place));
        assert_eq!(ledger.place("b", &address).unwrap(), Some(start));
        let other = "town/square/post".parse().unwrap();
        assert_eq!(ledger.place("a", &other).unwrap(), None);
        assert_eq!(ledger.begun("a").unwrap(), None);
        ledger.put_begun("a", &[]).unwrap();
        assert_eq!(ledger.begun("a").unwrap(), Some(Vec::new()));
    }
}
