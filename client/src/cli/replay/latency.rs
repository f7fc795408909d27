//! Delivery latency, measured on a sample of the events: from the moment of a command's call on one
//! client to the moment another client's view shows its effect.
//!
//! The observer has the document open and live before the command is called. A sample is dropped if
//! either client goes offline or is killed before the effect is seen: that would measure the schedule.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use syncline_client::Document;
use tokio::time::{Instant, timeout};

use super::plan::EventIndex;
use super::seen;
use super::stage::Stage;

/// About how many events of a run are measured, and at most one in so many: getting an observer ready
/// holds the author up.
const SAMPLES: usize = 1_000;
const EVERY_MIN: usize = 8;
/// How long an observer may take to get ready, and an effect to arrive.
const READY_WITHIN: Duration = Duration::from_millis(500);
const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// An observer that is ready.
pub(crate) struct Sample {
    stage: Arc<Stage>,
    event: EventIndex,
    document: Document,
    clients: [usize; 2],
    changes: [u64; 2],
}

impl Sample {
    /// Gets an observer ready if this event is one of the sample and somebody else is online.
    pub(crate) async fn prepare(
        stage: &Arc<Stage>,
        author: usize,
        event: EventIndex,
    ) -> Option<Self> {
        let every = (stage.plan.len() / SAMPLES).max(EVERY_MIN);
        if stage.clients() < 2 || !event.is_multiple_of(every) {
            return None;
        }
        let observer = (author + 1 + event / every % (stage.clients() - 1)) % stage.clients();
        let clients = [author, observer];
        let changes = clients.map(|client| stage.changes(client));
        let client = stage.online_client(observer)?;
        let address = stage.plan.address(event).ok()?;
        let document = timeout(READY_WITHIN, client.document(&address)).await.ok()?.ok()?;
        timeout(READY_WITHIN, document.live()).await.ok()?.ok()?;
        // Somebody who likes already shows nothing new.
        let shown = document.with_view(|view| seen::is_shown(&stage.plan, event, view));
        (!shown).then(|| Self { stage: Arc::clone(stage), event, document, clients, changes })
    }

    /// Waits in the background until the observer sees what was called at `called`.
    pub(crate) fn follow(self, called: Instant) {
        tokio::spawn(async move {
            if timeout(SEEN_WITHIN, self.seen()).await == Ok(true) && self.undisturbed() {
                self.stage.latency(called.elapsed());
            }
        });
    }

    fn undisturbed(&self) -> bool {
        self.clients.map(|client| self.stage.changes(client)) == self.changes
    }

    async fn seen(&self) -> bool {
        let mut events = std::pin::pin!(self.document.events());
        loop {
            let plan = &self.stage.plan;
            if self.document.with_view(|view| seen::is_shown(plan, self.event, view)) {
                return true;
            }
            if events.next().await.is_none() || !self.undisturbed() {
                return false;
            }
        }
    }
}
