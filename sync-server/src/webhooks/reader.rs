//! Reads on in one document for one receiver: from what was spooled, else from the log, and tells each
//! entry. Finds out where entries are gone for good and says so. Knows no network.

use std::collections::VecDeque;
use std::sync::Arc;

use syncline_engine::chronicle::{Chronicle, ChronicleError};
use syncline_engine::hub;
use syncline_engine::ids::{Address, Epoch};
use syncline_engine::storage::{LogHead, LogStore, Record, StoreError};

use super::event::{Event, Reason};
use super::ledger::Place;
use super::spool::{Kept, Spool, Told};

/// Bytes of changes that are read and told at once.
const READ_BYTES: usize = 256 << 10;
/// How often a document is looked at anew because it was compacted or began an epoch meanwhile.
const TRIES: u32 = 3;

/// Where entries are read.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) store: Arc<dyn LogStore>,
    pub(super) spool: Arc<Spool>,
}

/// What comes behind a place.
enum Found {
    /// Nothing yet.
    End,
    /// What was spooled.
    Kept(Vec<Told>),
    /// Records, of which the first holds the next entry.
    Records(Vec<Record>),
    /// Nothing up to this place, but there was.
    Gone(Reason, Place),
    /// The same place, in the epoch that followed.
    Moved(Place),
}

/// How far one receiver's reading of one document has come.
pub(super) struct Reader {
    address: Address,
    /// Before everything that is ready.
    behind: Place,
    /// Behind everything that is ready.
    ahead: Place,
    /// The document there, if it is at hand.
    chronicle: Option<Chronicle>,
    ready: VecDeque<Told>,
}

impl Reader {
    /// Reads on from a place; from the beginning of the log if there is none. Answers nothing if the
    /// document has no log.
    pub(super) fn open(
        source: &Source,
        address: &Address,
        place: Option<Place>,
    ) -> Result<Option<Self>, StoreError> {
        let ahead = match place {
            Some(place) => place,
            None => match source.store.head(address)? {
                Some(head) => Place::before(first_epoch(&head)),
                None => return Ok(None),
            },
        };
        let (address, ready) = (address.clone(), VecDeque::new());
        Ok(Some(Self { address, behind: ahead, ahead, chronicle: None, ready }))
    }

    /// Lets go of what was had. False if the place is none that this reader comes from.
    pub(super) fn had(&mut self, place: Option<Place>) -> bool {
        let Some(place) = place else { return self.behind.seq == 0 };
        if self.behind == place {
            return true;
        }
        let Some(at) = self.ready.iter().position(|told| told.after == place) else { return false };
        self.ready.drain(..=at);
        self.behind = place;
        true
    }

    /// What is ready, in order.
    pub(super) const fn ready(&self) -> &VecDeque<Told> {
        &self.ready
    }

    /// About how many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        self.chronicle.as_ref().map_or(0, Chronicle::bytes)
    }

    /// Makes more ready. False at the end of the log.
    pub(super) fn more(&mut self, source: &Source, webhook: usize) -> Result<bool, StoreError> {
        let mut failure = None;
        for _ in 0..TRIES {
            match self.find(source, webhook)? {
                Found::End => return Ok(false),
                Found::Moved(place) => {
                    (self.ahead, self.chronicle) = (place, None);
                }
                Found::Kept(told) => {
                    self.chronicle = None;
                    if let Some(last) = told.last() {
                        self.ahead = last.after;
                    }
                    self.ready.extend(told);
                    return Ok(true);
                }
                Found::Gone(reason, to) => {
                    self.gone(reason, to);
                    return Ok(true);
                }
                Found::Records(records) => match self.tell(source, &records) {
                    Ok(()) => return Ok(true),
                    // It may have been compacted under our hands.
                    Err(error) => {
                        self.chronicle = None;
                        failure = Some(error);
                    }
                },
            }
        }
        let Some(error) = failure else { return Ok(true) };
        tracing::error!(address = %self.address, %error, "a log cannot be told to a webhook");
        match source.store.head(&self.address)? {
            Some(head) => self.gone(Reason::Unreadable, head.end.into()),
            None => return Ok(false),
        }
        Ok(true)
    }

    fn gone(&mut self, reason: Reason, to: Place) {
        let from_seq = match reason {
            Reason::Replaced => 1,
            Reason::Dropped | Reason::Unreadable => self.ahead.seq + 1,
        };
        let event = Event::gap(&self.address, to.epoch, reason, (from_seq, to.seq));
        tracing::warn!(address = %self.address, ?reason, from_seq, to_seq = to.seq,
            "a webhook is told that entries are gone");
        self.ready.push_back(Told { event: Some(event), after: to });
        (self.ahead, self.chronicle) = (to, None);
    }

    fn tell(&mut self, source: &Source, records: &[Record]) -> Result<(), StoreError> {
        let at = self.ahead;
        let chronicle = match self.chronicle.take() {
            Some(chronicle) if chronicle.seq() == at.seq => chronicle,
            _ => open_at(source, &self.address, at.seq)?,
        };
        let (told, chronicle) = tell_all(&self.address, at.epoch, chronicle, records)?;
        if let Some(last) = told.last() {
            self.ahead = last.after;
        }
        self.ready.extend(told);
        self.chronicle = Some(chronicle);
        Ok(())
    }

    fn find(&self, source: &Source, webhook: usize) -> Result<Found, StoreError> {
        let at = &self.ahead;
        if at.seq > 0 {
            // The digests tell that it is the same log, so its outline need not be read.
            let records = source.store.read(&self.address, at.seq + 1, READ_BYTES)?;
            if records.first().is_some_and(|first| goes_on(first, at) == Some(true)) {
                return Ok(Found::Records(records));
            }
        }
        for _ in 0..TRIES {
            let Some(head) = source.store.head(&self.address)? else { return Ok(Found::End) };
            if let Some(found) = self.find_in(source, webhook, &head)? {
                return Ok(found);
            }
        }
        let what = "its log changes faster than it can be read".to_owned();
        Err(StoreError::Damaged { address: self.address.clone(), what })
    }

    /// Looks in a log of this outline; `None` if it has another meanwhile.
    fn find_in(
        &self,
        source: &Source,
        webhook: usize,
        head: &LogHead,
    ) -> Result<Option<Found>, StoreError> {
        let at = &self.ahead;
        let kept = || source.spool.after(webhook, &self.address, at);
        let bare = |seq: u64| Place { epoch: at.epoch, seq: seq - 1, tip: None, hash: None };
        let replaced = Found::Gone(Reason::Replaced, head.end.into());
        if at.epoch != head.end.epoch {
            let sealed = head.sealed.iter().find(|sealed| sealed.end.epoch == at.epoch);
            if let Some(sealed) = sealed.filter(|sealed| at.seq >= sealed.end.seq) {
                let same = at.seq == sealed.end.seq && at.tip.is_none_or(|t| t == sealed.end.tip);
                let moved = Found::Moved(sealed.start.cursor.into());
                return Ok(Some(if same { moved } else { replaced }));
            }
            return Ok(Some(match (kept(), sealed) {
                (Kept::Next(told), _) => Found::Kept(told),
                (Kept::From(seq), _) => Found::Gone(Reason::Dropped, bare(seq)),
                (Kept::Nothing, Some(sealed)) => Found::Gone(Reason::Dropped, sealed.end.into()),
                (Kept::Nothing, None) => replaced,
            }));
        }
        if at.seq >= head.end.seq {
            let same = at.seq == head.end.seq && at.tip.is_none_or(|tip| tip == head.end.tip);
            return Ok(Some(if same { Found::End } else { replaced }));
        }
        let records = source.store.read(&self.address, at.seq + 1, READ_BYTES)?;
        let now = source.store.head(&self.address)?;
        if now.is_none_or(|now| now.end.epoch != at.epoch) {
            return Ok(None);
        }
        let first = records.first();
        if let Some(first) = first.filter(|first| first.first_seq <= at.seq + 1) {
            let same = goes_on(first, at) != Some(false);
            return Ok(Some(if same { Found::Records(records) } else { replaced }));
        }
        // The log dropped it, so what was to be kept of it is in the spool already.
        Ok(Some(match (kept(), first) {
            (Kept::Next(told), _) => Found::Kept(told),
            (Kept::From(seq), _) => Found::Gone(Reason::Dropped, bare(seq)),
            (Kept::Nothing, Some(first)) => {
                let place = Place { tip: Some(first.tip_before), ..bare(first.first_seq) };
                Found::Gone(Reason::Dropped, place)
            }
            (Kept::Nothing, None) => Found::Gone(Reason::Dropped, head.end.into()),
        }))
    }
}

/// The epoch with which the log begins, as far as it is known.
fn first_epoch(head: &LogHead) -> Epoch {
    head.sealed.first().map_or(head.end.epoch, |sealed| sealed.end.epoch)
}

/// Whether a record that holds the entry behind a place, or begins with it, belongs to the same log as
/// the place; `None` if nothing tells.
fn goes_on(record: &Record, at: &Place) -> Option<bool> {
    if record.first_seq == at.seq + 1 {
        return at.tip.map(|tip| tip == record.tip_before);
    }
    if record.first_seq > at.seq || record.last_seq() <= at.seq {
        return Some(false);
    }
    let had = usize::try_from(at.seq - record.first_seq).ok()?;
    at.hash.map(|hash| record.entries.get(had).is_some_and(|entry| entry.hash == hash))
}

/// A document as it was after a seq, every later entry of which its log still has.
pub(super) fn open_at(
    source: &Source,
    address: &Address,
    seq: u64,
) -> Result<Chronicle, StoreError> {
    let store = &*source.store;
    let snapshot = hub::snapshot(store, address)?;
    let stands_for = snapshot.as_ref().map_or(0, |snapshot| snapshot.cursor.seq);
    let records = store.read(address, stands_for.min(seq) + 1, usize::MAX)?;
    let snapshot = snapshot.as_ref().map(|snapshot| (snapshot.cursor.seq, &snapshot.body[..]));
    Chronicle::open(address, snapshot, &records, seq).map_err(|error| damaged(address, &error))
}

/// Tells all entries of these records that come behind where the chronicle is.
pub(super) fn tell_all(
    address: &Address,
    epoch: Epoch,
    mut chronicle: Chronicle,
    records: &[Record],
) -> Result<(Vec<Told>, Chronicle), StoreError> {
    let mut told = Vec::new();
    for record in records {
        for (seq, entry) in (record.first_seq..).zip(&record.entries) {
            if seq <= chronicle.seq() {
                continue;
            }
            if seq != chronicle.seq() + 1 {
                return Err(damaged(address, &ChronicleError::Missing(chronicle.seq() + 1)));
            }
            let events = chronicle.tell(entry).map_err(|error| damaged(address, &error))?;
            let event = Event::of(address, epoch, seq, entry, events, chronicle.view());
            let tip = (seq == record.last_seq()).then_some(record.tip);
            told.push(Told { event, after: Place { epoch, seq, tip, hash: Some(entry.hash) } });
        }
    }
    Ok((told, chronicle))
}

fn damaged(address: &Address, error: &ChronicleError) -> StoreError {
    StoreError::Damaged { address: address.clone(), what: error.to_string() }
}
