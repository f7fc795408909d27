//! Events out: tells receivers that the operator names what was accepted, signed, at least once, and in
//! order for each document. The hub knows nothing of it.
//!
//! The way of an event: a commit returns from the store (`published`), its documents wait (`waiting`), a
//! receiver's `worker` asks the `teller` for what comes next; that reads on in the log behind the
//! receiver's place in the `ledger` (`reader`), and the place moves once the receiver has answered
//! (`client`). Nothing is remembered of an event beside that place. What a log is about to drop is told
//! before and kept in the `spool`; what has gone for good is named by a gap. After a start, places are
//! compared with the logs (`scan`).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use syncline_engine::ids::{Address, StreamAddress};
use syncline_engine::storage::LogStore;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::gauge::PUBLISH_EVERY;
use crate::metrics::Meters;

mod authorities;
mod backoff;
mod client;
mod config;
mod counters;
mod event;
mod ledger;
mod published;
mod reader;
mod scan;
mod signature;
mod spool;
mod teller;
#[cfg(test)]
mod tests;
mod waiting;
mod worker;

pub use authorities::Authorities;
pub use config::{Begin, Pattern, Webhook, WebhooksError};
pub use counters::WebhookStats;
pub use signature::{NotASecret, Secret};

use counters::Counters;
use ledger::Ledger;
use published::Published;
use reader::Source;
use spool::Spool;
use teller::Teller;
use waiting::Waiting;
use worker::Worker;

/// The folder below the data directory in which everything is.
const FOLDER: &str = "webhooks";

/// What all parts share. Lists have an element for each receiver.
struct Shared {
    webhooks: Vec<Webhook>,
    dir: PathBuf,
    ledger: Ledger,
    source: Source,
    waiting: Vec<Waiting>,
    counters: Vec<Counters>,
}

impl Shared {
    /// The receivers that are told of a document.
    fn tracking(&self, address: &Address) -> impl Iterator<Item = (usize, &Webhook)> {
        let all = self.webhooks.iter().enumerate();
        // A stream is text under way; what it comes to is a comment.
        let space = StreamAddress::of(address).is_none().then(|| address.space().to_owned());
        all.filter(move |(_, webhook)| space.as_deref().is_some_and(|s| webhook.wants_space(s)))
    }

    fn stats(&self) -> Vec<WebhookStats> {
        let all = self.webhooks.iter().zip(&self.counters).zip(&self.waiting).enumerate();
        all.map(|(index, ((webhook, counters), waiting))| {
            counters.stats(&webhook.name, self.source.spool.bytes(index), waiting.lag())
        })
        .collect()
    }

    /// Something new of a document is durable.
    fn durable(&self, address: &Address) {
        for (index, _) in self.tracking(address) {
            self.waiting[index].push(address);
        }
    }
}

/// Receivers whose places are open, and who are told nothing yet.
pub(crate) struct Prepared(Arc<Shared>);

/// Tells receivers what was accepted.
#[derive(Debug)]
pub(crate) struct Webhooks {
    shared: Handle,
    closing: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    teller: oneshot::Receiver<()>,
}

/// Shows what is counted.
#[derive(Clone)]
struct Handle(Arc<Shared>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.webhooks.iter().map(|webhook| &webhook.name)).finish()
    }
}

impl Prepared {
    /// Opens the places of receivers below the data directory of a store to which nothing is appended
    /// yet. May take long where a receiver is new.
    ///
    /// # Errors
    /// As the file system or the store says.
    pub(crate) fn open(
        webhooks: Vec<Webhook>,
        data: &Path,
        store: Arc<dyn LogStore>,
    ) -> io::Result<Self> {
        let dir = data.join(FOLDER);
        std::fs::create_dir_all(&dir)?;
        let ledger = Ledger::open(&dir.join("places"))?;
        scan::begin(&*store, &ledger, &webhooks)?;
        let spool = Spool::open(&dir.join("spool"), |address, last_seq| {
            let mut needing = BTreeSet::new();
            for (index, webhook) in webhooks.iter().enumerate() {
                let place = ledger.place(&webhook.name, address)?;
                if webhook.wants_space(address.space())
                    && place.is_none_or(|place| place.seq < last_seq)
                {
                    needing.insert(index);
                }
            }
            Ok(needing)
        })?;
        let source = Source { store, spool: Arc::new(spool) };
        let waiting = webhooks.iter().map(|_| Waiting::default()).collect();
        let counters = webhooks.iter().map(|_| Counters::default()).collect();
        Ok(Self(Arc::new(Shared { webhooks, dir, ledger, source, waiting, counters })))
    }

    /// The store through which everything must go from here on.
    pub(crate) fn store(&self) -> Arc<dyn LogStore> {
        Arc::new(Published { shared: Arc::clone(&self.0) })
    }

    /// Begins to tell, and to count that in `meters`. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// As the operating system says, if it has no more threads.
    pub(crate) fn start(self, meters: Arc<Meters>) -> io::Result<Webhooks> {
        let shared = self.0;
        let (teller, ended) = Teller::start(Arc::clone(&shared))?;
        let (closing, closed) = watch::channel(false);
        let mut workers: Vec<_> = (0..shared.webhooks.len())
            .map(|index| {
                let worker = Worker::new(index, Arc::clone(&shared), teller.clone());
                tokio::spawn(worker.run(closed.clone()))
            })
            .collect();
        workers.push(tokio::spawn(publish(Arc::clone(&shared), meters, closed)));
        Ok(Webhooks { shared: Handle(shared), closing, workers, teller: ended })
    }
}

impl Webhooks {
    /// What is counted of each receiver.
    pub(crate) fn stats(&self) -> Vec<WebhookStats> {
        self.shared.0.stats()
    }

    /// Ends. What is under way is given up and sent again after the next start; places are on disk and
    /// the store is let go of when this resolves.
    pub(crate) async fn end(mut self) {
        self.closing.send_replace(true);
        for worker in std::mem::take(&mut self.workers) {
            // A panic has been printed already.
            let _ = worker.await;
        }
        // An error means that it is gone, which is what is waited for.
        let _ = (&mut self.teller).await;
    }
}

/// Publishes what is counted, until the end.
async fn publish(shared: Arc<Shared>, meters: Arc<Meters>, mut closed: watch::Receiver<bool>) {
    loop {
        meters.publish_webhooks(shared.stats());
        tokio::select! {
            // An error means that nobody will say it any more, which says it.
            _ = closed.wait_for(|closed| *closed) => return,
            () = tokio::time::sleep(PUBLISH_EVERY) => {}
        }
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        self.closing.send_replace(true);
    }
}
