//! The line between those who carry out what an operator has ordered of a running server, on threads of their
//! own, and its hub. One order is under way at a time.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_engine::hub::Input;

use crate::mailbox::Mailbox;

/// The hub has ended, or does not answer any more.
#[derive(Debug)]
pub(crate) struct Ended;

#[derive(Debug, Default)]
struct Line {
    /// Whom to tell that the hub is ready.
    waits: Option<SyncSender<()>>,
    is_over: bool,
}

/// How a hub is told of orders.
#[derive(Debug)]
pub(crate) struct Orders {
    mailbox: Mailbox,
    line: Mutex<Line>,
    one: Mutex<()>,
}

impl Orders {
    /// A line to the hub behind a mailbox, and what its loop holds of it.
    pub(crate) fn new(mailbox: Mailbox) -> (Arc<Self>, HubEnd) {
        let orders = Arc::new(Self { mailbox, line: Mutex::default(), one: Mutex::default() });
        (Arc::clone(&orders), HubEnd(orders))
    }

    /// Waits until no other order is under way.
    pub(crate) fn one(&self) -> MutexGuard<'_, ()> {
        self.one.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the hub something, and waits until it asks for what follows from it.
    ///
    /// # Errors
    /// [`Ended`] if it does not come to that.
    pub(crate) fn ask(&self, input: Input) -> Result<(), Ended> {
        let (ready, wait) = sync_channel(1);
        {
            let mut line = self.line();
            if line.is_over {
                return Err(Ended);
            }
            line.waits = Some(ready);
        }
        self.mailbox.fact(input);
        wait.recv().map_err(|_| Ended)
    }

    /// Tells the hub something.
    pub(crate) fn tell(&self, input: Input) {
        self.mailbox.fact(input);
    }

    /// Whether the hub has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.line().is_over
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the hub's loop holds of the line. Dropped, nobody waits for the hub any more.
#[derive(Debug)]
pub(crate) struct HubEnd(Arc<Orders>);

impl HubEnd {
    /// The hub asks for what it was told of.
    pub(crate) fn ready(&self) {
        if let Some(waits) = self.0.line().waits.take() {
            // Whoever has given up needs no answer; there is room for one.
            let _ = waits.try_send(());
        }
    }
}

impl Drop for HubEnd {
    fn drop(&mut self) {
        let mut line = self.0.line();
        line.is_over = true;
        line.waits = None;
    }
}
