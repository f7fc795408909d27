//! The loop that owns a hub: hands it what happened, carries out what it asks, wakes it when it
//! wants to be woken. The one place where the server's clock is read. Decides nothing, blocks never.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::hub::{ConnectionId, Effect, Input};
use syncline_engine::ids::Epoch;
use syncline_engine::machine::{Machine, Wake};
use syncline_engine::wire::ClientFrame;
use tracing::Span;

use crate::clock::Clock;
use crate::gauge::{Gauge, Observed};
use crate::mailbox::{Letters, Mail};
use crate::orders::HubEnd;
use crate::outgoing::Outgoing;
use crate::work::{Compaction, EpochEnd, Work};
use crate::{refusals, trace};

/// Inputs that are taken before the effects of the first of them are carried out.
const INPUTS_PER_WAKE: usize = 512;
/// Refusals of one connection that are logged at info; the rest is for debugging.
const REFUSALS_LOGGED: u32 = 20;
/// A `Hello` is far smaller; anything larger is not decoded for the log.
const HELLO_BYTES_MAX: usize = 8 << 10;

/// Why a hub's loop ended without being told to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubFailure {
    /// The store failed; what was not acknowledged has an unknown outcome.
    #[error("{0}")]
    Store(String),
    /// No random bytes are to be had from the operating system.
    #[error("the operating system gives no random bytes: {0}")]
    Random(String),
    /// The hub found itself in a state that must not be.
    #[error("the hub stopped on a mistake of its own; see the log above")]
    Panicked,
    /// It was told to end and did not within the time that it was given.
    #[error("the hub did not end in time")]
    Abandoned,
}

struct Connection {
    peer: SocketAddr,
    outgoing: Arc<Outgoing>,
    /// Whether the first message has been looked at.
    greeted: bool,
    refusals: u32,
}

/// The loop's state.
pub(crate) struct HubTask<M> {
    hub: M,
    clock: Clock,
    letters: Letters,
    work: Work,
    connections: BTreeMap<ConnectionId, Connection>,
    gauge: Gauge,
    orders: HubEnd,
    failure: Option<HubFailure>,
}

impl<M: Machine<Input = Input, Effect = Effect> + Observed> HubTask<M> {
    /// A loop around `hub` that has not begun.
    pub(crate) fn new(hub: M, letters: Letters, work: Work, gauge: Gauge, orders: HubEnd) -> Self {
        let clock = Clock::start();
        let connections = BTreeMap::new();
        Self { hub, clock, letters, work, connections, gauge, orders, failure: None }
    }

    /// Runs until the hub asks to stop. Connections notice by themselves that the mailbox is gone.
    ///
    /// # Errors
    /// [`HubFailure`] if the hub stopped because it could not go on.
    pub(crate) async fn run(mut self) -> Result<(), HubFailure> {
        let mut began = Instant::now();
        while !self.carry_out() {
            self.gauge.handed_out();
            self.gauge.publish(&self.hub, self.letters.depth());
            let now = self.clock.now();
            let wake = self.hub.poll_timeout();
            let sleep = tokio::time::sleep(until(now, wake).min(self.gauge.due_in()));
            self.gauge.meters.hub_busy_seconds.inc_by(began.elapsed().as_secs_f64());
            tokio::select! {
                biased;
                Some(fact) = self.letters.facts.recv() => {
                    began = Instant::now();
                    self.hear(fact);
                }
                Some(mail) = self.letters.mail.recv() => {
                    began = Instant::now();
                    self.open(mail);
                }
                () = sleep => {
                    began = Instant::now();
                    self.hear(Input::Tick);
                }
            }
            self.take_what_is_there();
        }
        // Nobody is left; the last look says so.
        self.gauge.publish_last(&self.hub, self.letters.depth());
        self.failure.take().map_or(Ok(()), Err)
    }

    fn take_what_is_there(&mut self) {
        for _ in 0..INPUTS_PER_WAKE {
            if let Ok(fact) = self.letters.facts.try_recv() {
                self.hear(fact);
            } else if let Ok(mail) = self.letters.mail.try_recv() {
                self.open(mail);
            } else {
                return;
            }
        }
    }

    fn hear(&mut self, input: Input) {
        self.hear_of(input, Instant::now(), &Span::none());
    }

    /// Hands the hub what came at `at`, in a frame or not.
    fn hear_of(&mut self, input: Input, at: Instant, frame: &Span) {
        if let Input::Committed { result } = &input {
            self.gauge.committed();
            if let Err(error) = result {
                tracing::error!(%error, "commit failed; the server ends");
                self.gauge.health.store_failed();
                self.failure.get_or_insert_with(|| HubFailure::Store(error.to_string()));
            }
        }
        let now = self.clock.now();
        self.hub.handle(now, input);
        self.gauge.took(at, &self.hub.counters(), frame);
    }

    fn open(&mut self, mail: Mail) {
        match mail {
            Mail::Opened { connection, peer, outgoing } => {
                let state =
                    Connection { peer: peer.address, outgoing, greeted: false, refusals: 0 };
                self.connections.insert(connection, state);
                self.hear(Input::Opened { connection });
            }
            Mail::Received { connection, message, at, room } => {
                self.gauge.meters.received.count(&message);
                if let Some(state) = self.connections.get_mut(&connection)
                    && !std::mem::replace(&mut state.greeted, true)
                {
                    log_hello(connection, state.peer, &message);
                }
                let frame = trace::frame(connection, &message);
                let entered = frame.enter();
                self.hear_of(Input::Received { connection, message }, at, &frame);
                drop((entered, room));
            }
            Mail::Closed { connection } => {
                self.connections.remove(&connection);
                self.hear(Input::Closed { connection });
            }
        }
    }

    /// Carries out everything that the hub asks. Answers whether it asked to stop.
    fn carry_out(&mut self) -> bool {
        while let Some(effect) = self.hub.poll_effect() {
            match effect {
                Effect::Send { connection, message } => self.send(connection, message),
                Effect::Close { connection, code } => {
                    if let Some(state) = self.connections.get(&connection) {
                        state.outgoing.close(code);
                    }
                }
                Effect::Hold { connection, pause } => {
                    if let Some(state) = self.connections.get(&connection) {
                        state.outgoing.hold(tokio::time::Instant::now() + pause);
                    }
                }
                Effect::ReadRules { space } => self.work.rules(space),
                Effect::Index { address } => self.work.index(address),
                Effect::Load { address } => match fresh_epoch() {
                    Ok(epoch) => self.work.load(address, epoch),
                    Err(failure) => {
                        self.failure = Some(failure);
                        return true;
                    }
                },
                Effect::Commit { appends } => {
                    let span = self.gauge.commits(&appends);
                    self.work.commit(appends, span);
                }
                Effect::Read { request, address, from_seq, bytes_max } => self.work.read(
                    address,
                    move |store, address| store.read(address, from_seq, bytes_max),
                    move |_, result| Input::RecordsRead { request, result },
                ),
                Effect::ReadSnapshot { request, address, cursor, offset, bytes_max } => {
                    self.work.read(
                        address,
                        move |store, address| {
                            store.read_snapshot(address, cursor, offset, bytes_max)
                        },
                        move |_, result| Input::SnapshotRead { request, result },
                    );
                }
                Effect::Compact { address, cursor, keep_from } => {
                    self.work.compact(Compaction { address, cursor, keep_from });
                }
                Effect::RollOver { address, end, at, keep_since } => match fresh_epoch() {
                    Ok(fresh_epoch) => {
                        self.work.roll_over(EpochEnd { address, end, fresh_epoch, at, keep_since });
                    }
                    Err(failure) => {
                        self.failure = Some(failure);
                        return true;
                    }
                },
                Effect::ReadPosts { request, space, wanted } => {
                    self.work.posts(request, space, wanted);
                }
                Effect::Summarise { space, after } => self.work.summarise(space, after),
                Effect::EmptySpace { .. } | Effect::ForgetUser { .. } | Effect::Rewrite { .. } => {
                    self.orders.ready()
                }
                Effect::Stop => return true,
            }
        }
        false
    }

    fn send(&mut self, connection: ConnectionId, message: Bytes) {
        // The hub may not have heard yet that it is gone.
        let Some(state) = self.connections.get_mut(&connection) else { return };
        self.gauge.meters.sent.count(&message);
        if refusals::may_be_one(&message)
            && let Some(code) =
                refusals::log(connection, &message, state.refusals < REFUSALS_LOGGED)
        {
            state.refusals += 1;
            self.gauge.meters.refused(code);
        }
        state.outgoing.push(message);
    }
}

/// How long to sleep. Never nothing, so that a hub that wants what it cannot have does not spin.
fn until(now: Timestamp, wake: Option<Wake>) -> Duration {
    /// Without a wish the loop wakes for nothing once in a while, which costs nothing.
    const LONG: Duration = Duration::from_secs(3_600);
    wake.map_or(LONG, |wake| wake.at.since(now).clamp(Duration::from_millis(1), LONG))
}

fn fresh_epoch() -> Result<Epoch, HubFailure> {
    let mut epoch = [0; 16];
    getrandom::fill(&mut epoch).map_err(|error| HubFailure::Random(error.to_string()))?;
    Ok(Epoch(epoch))
}

/// Logs who a connection says it is. Never the token; names are printed with escapes, because
/// nobody has looked at them yet.
fn log_hello(connection: ConnectionId, peer: SocketAddr, message: &[u8]) {
    if message.len() > HELLO_BYTES_MAX {
        return;
    }
    if let Ok(ClientFrame::Hello(hello)) = ClientFrame::decode(message) {
        let user: String = hello.user.chars().take(80).collect();
        let agent: String = hello.agent.chars().take(80).collect();
        tracing::info!(connection = connection.0, %peer, ?user, ?agent, "connection says hello");
    }
}
