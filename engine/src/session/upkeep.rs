//! What a session does because time passes: asks again where no answer came, compares what it has
//! with the server, sends what was gathered. Which connection there is, is the link's concern.

use super::open::{Body, OpenDocument, Sync};
use super::{Config, Session};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::Address;
use crate::machine::Wake;
use crate::wire::frame::{Compare, Compared};

/// What a document needs, found on a round.
enum Need {
    /// Something was asked and not answered: ask again.
    Answer,
    /// Also the second question had no answer.
    Connection,
    /// The heads have not been compared since the log went on.
    Compare(Compare),
}

impl OpenDocument {
    fn need(&mut self, now: Timestamp, config: &Config) -> Option<Need> {
        if self.awaits_answer() && self.heard + config.answer_timeout <= now {
            return Some(match self.sync {
                Sync::Live { .. } => Need::Answer,
                Sync::Apart
                | Sync::Asked
                | Sync::Snapshot { .. }
                | Sync::CatchingUp { .. }
                | Sync::Restoring { .. } => Need::Connection,
            });
        }
        let Sync::Live { handle } = self.sync else { return None };
        let replica = self.replica()?;
        let seq = replica.cursor()?.seq;
        let due = self
            .compared
            .is_none_or(|(at, compared)| compared != seq && at + config.reconcile_interval <= now);
        if !due {
            return None;
        }
        let heads = replica.heads_digest();
        self.compared = Some((now, seq));
        Some(Need::Compare(Compare { handle, seq, heads }))
    }
}

impl Session {
    /// Looks after every document, a few times in each span that matters.
    pub(super) fn make_round(&mut self, now: Timestamp) {
        if self.link.up().is_none() || now < self.next_round {
            return;
        }
        self.next_round = now + self.config.answer_timeout / 4;
        let config = &self.config;
        let needs: Vec<(Address, Need)> = self
            .documents
            .iter_mut()
            .filter_map(|(address, document)| {
                let need = document.need(now, config)?;
                Some((address.clone(), need))
            })
            .collect();
        for (address, need) in needs {
            match need {
                Need::Answer => self.ask_again(now, &address),
                // As with a silent one: another connection may do better.
                Need::Connection => return self.hang_up(now),
                Need::Compare(compare) => self.send(compare.into()),
            }
        }
    }

    /// Subscribes anew: the answer says what of the outbox is settled, and the rest is pushed again.
    pub(super) fn ask_again(&mut self, now: Timestamp, address: &Address) {
        let Some(document) = self.documents.get_mut(address) else { return };
        let Some(subscribe) = document.subscribe() else {
            // It is asked for once it is read from the store.
            document.sync = Sync::Apart;
            return;
        };
        document.sync = Sync::Asked;
        document.lease_asked = subscribe.write;
        document.heard = now;
        self.touch(address);
        self.send(subscribe.into());
    }

    /// The server said whether both sides have made the same of the log.
    pub(super) fn compared(&mut self, now: Timestamp, answer: Compared) {
        let Some(address) = self.handles.get(&answer.handle).cloned() else { return };
        let Some(document) = self.documents.get_mut(&address) else { return };
        let Body::Ready(replica) = &mut document.body else { return };
        let here = replica.cursor().is_some_and(|cursor| cursor.seq == answer.seq);
        match answer.same {
            Some(true) => document.diverged = false,
            Some(false) if here && document.sync.is_live() => {
                let again = std::mem::replace(&mut document.diverged, true);
                if again {
                    // It was read anew and differs still: going on would only hide it.
                    document.body = Body::Broken(Code::Diverged);
                } else {
                    replica.distrust();
                }
                let message = "what this device has of the document is not what the log makes";
                self.problem(Some(address.clone()), Code::Diverged, message.to_owned());
                self.ask_again(now, &address);
            }
            // The log has gone on meanwhile: the next round asks again.
            Some(false) => {}
            None => document.compared = document.compared.map(|(at, _)| (at, 0)),
        }
    }

    /// When time alone will make the session do something about its documents.
    pub(super) fn upkeep_wake(&self) -> Option<Wake> {
        let retry = self.retries.values().min();
        let retry = retry.map(|at| Wake { at: *at, why: "open a document again" });
        let round = self.link.up().filter(|_| !self.documents.is_empty());
        let round = round.map(|_| Wake { at: self.next_round, why: "look after documents" });
        let flush = self.gathered.values().min();
        let flush = flush.map(|at| Wake { at: *at, why: "push what was gathered" });
        let token = self.token_wanted_at.map(|at| Wake { at, why: "ask for a new token" });
        Wake::earlier(Wake::earlier(retry, round), Wake::earlier(flush, token))
    }

    /// Pushes what was held back for long enough to be joined by more.
    pub(super) fn push_gathered(&mut self, now: Timestamp) {
        let due: Vec<Address> =
            self.gathered.iter().filter(|(_, at)| **at <= now).map(|(a, _)| a.clone()).collect();
        for address in due {
            self.touch(&address);
        }
    }
}
