//! A connection of the hub that has no socket: a request speaks the sync protocol on it, frame by frame,
//! as a client would. Knows frames, and no document.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use syncline_engine::codes::Code;
use syncline_engine::hub::{ConnectionId, Input};
use syncline_engine::ids::{Address, Cursor};
use syncline_engine::wire::frame::{Bye, Error, Goodbye, Hello, Ping, Subscribe, Subscribed};
use syncline_engine::wire::{ClientFrame, CloseCode, ServerFrame};
use tokio::sync::mpsc;

use super::caller::Caller;
use super::cursor::on_wire;
use super::problem::Problem;
use crate::app::App;
use crate::listener::Peer;
use crate::mailbox::Mailbox;
use crate::outgoing::{Next, Outgoing};

/// What the hub and its log know these connections as.
const AGENT: &str = concat!("syncline-server/", env!("CARGO_PKG_VERSION"), " http");
/// Frames that came while an answer to something else was awaited.
const SET_ASIDE_MAX: usize = 1_024;

/// A number of an inner connection, and what takes it off the hub when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) connection: ConnectionId,
    pub(crate) mailbox: Mailbox,
    /// An end of the server waits for this.
    alive: mpsc::Sender<()>,
}

impl Seat {
    /// Opens a connection whose answers go to `outgoing`.
    pub(crate) async fn take(
        app: &App,
        peer: Peer,
        outgoing: &Arc<Outgoing>,
    ) -> Result<Self, Problem> {
        let gone = || Problem::of(Code::ShuttingDown, "the server is going away for a moment");
        let alive = app.alive.upgrade().filter(|_| !*app.closing.borrow()).ok_or_else(gone)?;
        let connection = ConnectionId(app.next_connection.fetch_add(1, Ordering::Relaxed));
        let mailbox = app.mailbox.clone();
        let seat = Self { connection, mailbox, alive };
        seat.mailbox.opened(connection, peer, Arc::clone(outgoing)).await;
        Ok(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (mailbox, connection) = (self.mailbox.clone(), self.connection);
        let alive = self.alive.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                mailbox.closed(connection).await;
                drop(alive);
            });
        }
    }
}

/// A connection that has said `Hello`.
#[derive(Debug)]
pub(crate) struct Inner {
    seat: Seat,
    outgoing: Arc<Outgoing>,
    heartbeat: Duration,
    /// Whether something was taken since the hub was last told that all was.
    undrained: bool,
    set_aside: VecDeque<ServerFrame>,
}

impl Inner {
    /// Opens one on behalf of a caller.
    ///
    /// # Errors
    /// What the hub says of the caller, or that there is none.
    pub(crate) async fn greet(app: &App, peer: &Peer, caller: &Caller) -> Result<Self, Problem> {
        let outgoing = Arc::new(Outgoing::default());
        let seat = Seat::take(app, peer.clone(), &outgoing).await?;
        let heartbeat = Duration::from_secs(30);
        let mut inner =
            Self { seat, outgoing, heartbeat, undrained: false, set_aside: VecDeque::new() };
        let mut session = [0; 16];
        getrandom::fill(&mut session)
            .map_err(|_| Problem::of(Code::Overloaded, "no random numbers are to be had"))?;
        let (user, token) = (caller.user.clone(), caller.token.clone());
        inner.say(Hello { session, generation: 1, user, token, agent: AGENT.to_owned() }).await?;
        loop {
            if let ServerFrame::Welcome(welcome) = inner.hear().await? {
                inner.heartbeat = Duration::from_millis(u64::from(welcome.heartbeat_ms.max(2)));
                return Ok(inner);
            }
        }
    }

    /// Says a frame.
    pub(crate) async fn say(&self, frame: impl Into<ClientFrame>) -> Result<(), Problem> {
        let message = frame
            .into()
            .encode()
            .map_err(|error| Problem::of(Code::FrameTooLarge, error.to_string()))?;
        self.outgoing.held().await;
        self.seat.mailbox.received(self.seat.connection, message).await;
        Ok(())
    }

    /// The next frame. Says something to the hub meanwhile, if it takes long.
    ///
    /// # Errors
    /// Why the connection ended.
    pub(crate) async fn hear(&mut self) -> Result<ServerFrame, Problem> {
        if let Some(frame) = self.set_aside.pop_front() {
            return Ok(frame);
        }
        loop {
            match self.outgoing.next() {
                Next::Message(message) => {
                    self.undrained = true;
                    let frame = ServerFrame::decode(&message)
                        .map_err(|error| Problem::of(Code::BadFrame, error.to_string()))?;
                    return ended_by(frame);
                }
                Next::Close(close) => return Err(closed(close)),
                Next::Wait => {}
            }
            if std::mem::take(&mut self.undrained) {
                self.seat.mailbox.fact(Input::Drained { connection: self.seat.connection });
            }
            tokio::select! {
                () = self.outgoing.filled() => {}
                () = self.seat.mailbox.gone() => {
                    return Err(Problem::of(Code::ShuttingDown, "the server is going away"));
                }
                () = tokio::time::sleep(self.heartbeat / 2) => self.say(Ping { nonce: 0 }).await?,
            }
        }
    }

    /// Asks for a document and waits for the answer. What else comes meanwhile is heard afterwards.
    ///
    /// # Errors
    /// What the hub says against it.
    pub(crate) async fn subscribe(
        &mut self,
        address: &Address,
        cursor: Option<Cursor>,
        outbox: [u8; 16],
        write: bool,
    ) -> Result<Subscribed, Problem> {
        let address = address.to_string();
        let cursor = cursor.map(on_wire);
        self.say(Subscribe { address: address.clone(), cursor, outbox, write }).await?;
        let mut aside = std::mem::take(&mut self.set_aside);
        loop {
            match self.hear().await? {
                ServerFrame::Subscribed(subscribed) if subscribed.address == address => {
                    self.set_aside = aside;
                    return Ok(subscribed);
                }
                ServerFrame::Error(error) if error.address.as_ref() == Some(&address) => {
                    return Err(problem_of(&error));
                }
                other if aside.len() < SET_ASIDE_MAX => aside.push_back(other),
                _ => return Err(Problem::of(Code::SlowReader, "too much came meanwhile")),
            }
        }
    }

    /// Leaves in good order, so that what this session held is free at once.
    pub(crate) async fn leave(self) {
        // Whoever could not be told is gone.
        let _ = self.say(Bye {}).await;
    }
}

/// What an `Error` says.
pub(crate) fn problem_of(error: &Error) -> Problem {
    Problem::numbered(error.code, error.message.clone()).later(error.retry_after_ms)
}

/// A frame, unless it is one that ends the connection.
fn ended_by(frame: ServerFrame) -> Result<ServerFrame, Problem> {
    match frame {
        // Going too fast costs time, and nothing else.
        ServerFrame::Error(error) if is_about_pace(&error) => Ok(ServerFrame::Error(error)),
        ServerFrame::Error(error) if error.address.is_none() => Err(problem_of(&error)),
        ServerFrame::Goodbye(Goodbye { code, retry_after_ms }) => {
            Err(Problem::numbered(code, "the server ended the conversation").later(retry_after_ms))
        }
        frame => Ok(frame),
    }
}

fn is_about_pace(error: &Error) -> bool {
    error.code == Code::RateLimited.number() && !error.fatal
}

fn closed(close: CloseCode) -> Problem {
    Problem::of(Code::Overloaded, format!("the server ended the conversation ({})", close.0))
}
