//! From one epoch of a document's log to the next. Must never know what is in a document: the replica
//! makes the next one's beginning.

use super::frames::cursor_from;
use super::open::{Body, OpenDocument};
use super::{Session, layout};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Address, ChangeHash, EpochStart};
use crate::replica::Replica;
use crate::wire::frame::{NextEpoch, Subscribed};

impl OpenDocument {
    /// Whether this answers a question from before the client came into its epoch; the answer to the
    /// next is under way.
    pub(super) fn has_left_epoch_of(&self, subscribed: &Subscribed) -> bool {
        let known = self.replica().and_then(Replica::cursor).map(|cursor| cursor.epoch.0);
        subscribed.next.is_some() && known != Some(subscribed.epoch)
    }
}

impl Session {
    /// The log was read to the end of an epoch: goes on in the next.
    pub(super) fn enter_next_epoch(&mut self, now: Timestamp, address: &Address) {
        let Some(document) = self.documents.get_mut(address) else { return };
        let Some(start) = document.next.take() else { return };
        let Body::Ready(replica) = &mut document.body else { return };
        if !replica.missing_at_server().is_empty() {
            let message =
                "the server lacks changes that this device had, and does not take them back";
            self.problem(Some(address.clone()), Code::TooOld, message.to_owned());
            if !self.step(address, Replica::drop_missing) {
                return;
            }
        }
        let Some(document) = self.documents.get_mut(address) else { return };
        let Body::Ready(replica) = &mut document.body else { return };
        // What another copy of the store has brought is looked for in each epoch on the way.
        let moved = document.begun.as_ref().map(|begun| replica.renumber(&begun.heads)).transpose();
        let entered = moved.and_then(|moved| Ok((moved, replica.roll_over(start)?)));
        match entered {
            Ok((moved, Some(outcome))) => {
                if let Some(begun) = &mut document.begun {
                    begun.heads = vec![start.head];
                    self.writes.push(layout::put_move(address, begun));
                }
                let mut both = moved.unwrap_or_default();
                both.join(outcome);
                self.absorb(address, both, false);
                self.store_base(address);
            }
            Ok((_, None)) => replica.leave_epoch(),
            Err(error) => return self.broken(address, &error),
        }
        self.ask_again(now, address);
    }
}

pub(super) const fn start_from(next: NextEpoch) -> EpochStart {
    EpochStart {
        cursor: cursor_from(next.start),
        head: ChangeHash(next.head),
        at: Timestamp(next.at_ms),
    }
}
