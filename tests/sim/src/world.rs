//! The world's clock: every event of a simulated day in one ordered queue, and the machines' own
//! wishes to be woken between them. Decides what comes next, not what it does.

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use bytes::Bytes;
use syncline_engine::document::View;
use syncline_engine::hub;
use syncline_engine::ids::{Address, StreamAddress, UserId};
use syncline_engine::machine::Machine;
use syncline_engine::policy::Role;
use syncline_engine::session;
use syncline_engine::wire::CloseCode;

use crate::client::Client;
use crate::hostile::Hostile;
use crate::network::Network;
use crate::oracle::Oracle;
use crate::report::{Report, Violation};
use crate::run::{Run, Setup};
use crate::server::Server;
use crate::step::Step;
use crate::story::Story;
use crate::weather::Weather;

/// When the world begins, so that no clock is ever before zero.
const BEGIN_MS: u64 = 1_000_000_000_000;
/// Peace lasts at most this long; a world that is not quiet by then never will be.
const PEACE_MS: u64 = 3_600_000;
/// After that long everybody knows who has gone without a word, and nothing that lapses is left.
const SETTLE_MS: u64 = 120_000;
/// A run with more events is one that turns in a circle.
const EVENTS_MAX: u64 = 3_000_000;
/// A machine that wants so many ticks at one moment will want them for ever.
const TICKS_MAX: u32 = 50;

/// Something that an action has put off.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Relief {
    Open(usize, usize),
    Online(usize),
    Network(usize),
    Visible(usize),
    StartClient(usize, u64),
}

#[derive(Debug)]
pub(crate) enum Event {
    /// The next step is due.
    Step,
    Relief(Relief),
    Connect {
        client: usize,
        life: u64,
        connection: session::ConnectionId,
    },
    Deliver {
        wire: u64,
        up: bool,
    },
    ServerHears {
        wire: u64,
    },
    ClientHears {
        wire: u64,
        code: Option<CloseCode>,
    },
    Stored {
        client: usize,
        life: u64,
    },
    Read {
        client: usize,
        life: u64,
        token: session::StoreToken,
        prefix: Vec<u8>,
    },
    Token {
        client: usize,
        life: u64,
    },
    Committed {
        life: u64,
    },
    Server {
        life: u64,
        input: Box<hub::Input>,
    },
    StartServer,
    /// A message arrives a second time.
    SayAgain {
        wire: u64,
        message: Bytes,
        /// How often the client had entered or left spaces when it said that.
        stays: u32,
    },
    /// Somebody looks at the clients whose connection has failed, and asks them to try again.
    LookAround,
}

/// Who wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sleeper {
    Hub,
    Client(usize),
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) began: u64,
    pub(crate) setup: Setup,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    steps: VecDeque<Step>,
    pub(crate) documents: Vec<Address>,
    /// Streams that somebody wanted to make.
    pub(crate) streams: Vec<StreamAddress>,
    /// What was said last in a space or a stream has this number.
    pub(crate) said: u64,
    /// Some step makes the server lose something.
    pub(crate) loses: bool,
    /// What the documents show in the end.
    pub(crate) views: BTreeMap<Address, View>,
    pub(crate) server: Server,
    pub(crate) clients: Vec<Client>,
    pub(crate) hostile: Vec<Hostile>,
    pub(crate) network: Network,
    pub(crate) oracle: Oracle,
    pub(crate) report: Report,
    pub(crate) story: Story,
    /// The roles of users that are other than member.
    pub(crate) roles: BTreeMap<UserId, Role>,
    /// No new tokens before this.
    pub(crate) tokens_from: u64,
    /// Nothing goes wrong any more.
    pub(crate) peace: bool,
    /// Everybody goes home.
    pub(crate) leaving: bool,
    /// Something that was durable is not on the server's disk any more.
    pub(crate) destroyed: bool,
    /// Something on the server's disk was replaced, and with it all summaries.
    pub(crate) repaired: bool,
    /// What is damaged on the disk, and its bytes at that time.
    pub(crate) damaged: BTreeMap<Address, Vec<(u64, Bytes)>>,
    /// Ticks of one machine without anything in between.
    ticks: (Option<Sleeper>, u64, u32),
}

/// Plays a run and judges it. A panic of a machine is a violation like any other.
#[must_use]
pub fn play(run: &Run) -> Report {
    told(run, false).0
}

/// Plays a run and tells it, one line for each thing that happened.
#[must_use]
pub fn tell(run: &Run) -> (Report, Vec<String>) {
    told(run, true)
}

fn told(run: &Run, on: bool) -> (Report, Vec<String>) {
    let mut world = World::new(run);
    world.story.on = on;
    // What is left of a world after a panic is only read.
    let unwind = std::panic::AssertUnwindSafe(|| world.live());
    if let Err(panic) = std::panic::catch_unwind(unwind) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        world.complain("panic", text.unwrap_or("a panic without words").to_owned());
    }
    let oracle = mem::take(&mut world.oracle.violations);
    for violation in oracle {
        world.complain(&violation.rule, violation.what);
    }
    (world.report, world.story.lines)
}

impl World {
    fn new(run: &Run) -> Self {
        let setup = run.setup.clone();
        let documents: Vec<Address> =
            setup.documents.iter().filter_map(|address| address.parse().ok()).collect();
        let clients = setup.clients.iter().enumerate();
        let clients: Vec<Client> = clients
            .map(|(number, of)| Client::new(number, run.seed, of.clone(), documents.clone()))
            .collect();
        let weather = setup.clients.iter().map(|client| {
            let (name, begin) = client.weather.as_ref()?;
            Weather::named(name, *begin)
        });
        let network = Network { weather: weather.collect(), ..Network::default() };
        let asks_tokens = setup.token_ms.is_some();
        let moderates = setup.server.social.as_ref().is_some_and(|social| social.moderates);
        let first = clients.first().filter(|_| moderates && asks_tokens);
        let roles =
            first.map(|client| (client.user.clone(), Role::Moderator)).into_iter().collect();
        Self {
            now: BEGIN_MS,
            began: BEGIN_MS,
            queue: BTreeMap::new(),
            queued: 0,
            steps: run.steps.iter().cloned().collect(),
            server: Server::new(setup.server.config(), asks_tokens, run.seed),
            hostile: (0..setup.hostile).map(|_| Hostile::default()).collect(),
            report: Report { seed: run.seed, ..Report::default() },
            story: Story { begin: BEGIN_MS, ..Story::default() },
            documents,
            streams: Vec::new(),
            said: 0,
            loses: run.steps.iter().any(|step| step.action.loses()),
            views: BTreeMap::new(),
            clients,
            network,
            oracle: Oracle::new(asks_tokens, setup.server.offline_window),
            setup,
            roles,
            tokens_from: 0,
            peace: false,
            leaving: false,
            destroyed: false,
            repaired: false,
            damaged: BTreeMap::new(),
            ticks: (None, 0, 0),
        }
    }

    fn live(&mut self) {
        self.start_server();
        for client in 0..self.clients.len() {
            self.start_client(client);
        }
        self.next_step();
        self.turn_until(Self::is_quiet);
        if !self.report.acts.is_empty() {
            // So that who is gone is noticed to be, and what lapses has.
            let until = self.now + SETTLE_MS;
            self.turn_until(|world| world.now >= until);
            self.turn_until(Self::is_quiet);
        }
        self.judge();
        self.leave();
        self.turn_until(Self::is_empty);
        self.judge_what_is_left();
        self.report.simulated_ms = self.now - self.began;
    }

    /// Lets events happen until the world is at peace and `done`.
    fn turn_until(&mut self, done: impl Fn(&Self) -> bool) {
        let mut until = None;
        while self.turn() {
            if self.peace {
                let until = *until.get_or_insert(self.now + PEACE_MS);
                if done(self) {
                    return;
                }
                if self.now > until || self.report.events > EVENTS_MAX {
                    let what = self.unrest();
                    return self.complain("restless", what);
                }
            }
        }
        if !done(self) {
            let what = self.unrest();
            self.complain("restless", format!("nothing will happen any more: {what}"));
        }
    }

    /// Lets the next thing happen. `false` if nothing ever will.
    fn turn(&mut self) -> bool {
        let wake = self.next_wake();
        let next = self.queue.first_key_value().map(|((at, _), _)| *at);
        self.report.events += 1;
        match (wake, next) {
            (Some((at, sleeper)), next) if next.is_none_or(|next| at < next) => {
                self.now = self.now.max(at);
                self.wake(sleeper);
            }
            (_, Some(_)) => {
                let Some(((at, _), event)) = self.queue.pop_first() else { return false };
                self.now = self.now.max(at);
                self.ticks = (None, 0, 0);
                self.carry_out_event(event);
            }
            _ => return false,
        }
        if self.report.events.is_multiple_of(64) {
            self.check_bounds();
        }
        true
    }

    fn next_wake(&self) -> Option<(u64, Sleeper)> {
        let hub = self.server.hub.as_ref().and_then(Machine::poll_timeout);
        let hub = hub.map(|wake| (wake.at.0, Sleeper::Hub));
        let clients = self.clients.iter();
        let clients = clients.filter_map(|c| Some((c.wake()?, Sleeper::Client(c.number))));
        hub.into_iter().chain(clients).min_by_key(|(at, _)| *at)
    }

    fn wake(&mut self, sleeper: Sleeper) {
        let (last, at, ticks) = self.ticks;
        self.ticks = match last == Some(sleeper) && at == self.now {
            true => (last, at, ticks + 1),
            false => (Some(sleeper), self.now, 1),
        };
        if self.ticks.2 == TICKS_MAX {
            self.complain("busy", format!("{sleeper:?} wants one tick after another"));
        }
        if self.ticks.2 >= TICKS_MAX {
            // Time goes on all the same, so that the run ends.
            self.now += 1;
        }
        match sleeper {
            Sleeper::Hub => self.tell_hub(hub::Input::Tick),
            Sleeper::Client(client) => self.tell_client(client, session::Input::Tick),
        }
    }

    pub(crate) fn at(&mut self, in_ms: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((self.now + in_ms, self.queued), event);
    }

    /// Until when an event has to wait because the client that it is for is frozen.
    #[allow(clippy::wildcard_enum_match_arm, reason = "few events are for a client")]
    fn thawed(&self, event: &Event) -> Option<u64> {
        let client = match event {
            Event::Connect { client, .. }
            | Event::Stored { client, .. }
            | Event::Read { client, .. }
            | Event::Token { client, .. } => *client,
            Event::ClientHears { wire, .. } => self.network.wires.get(wire)?.client()?,
            Event::Relief(Relief::Open(client, _) | Relief::Online(client))
            | Event::Relief(Relief::Network(client) | Relief::Visible(client)) => *client,
            _ => return None,
        };
        let until = self.clients[client].frozen_until;
        (until > self.now).then_some(until)
    }

    fn carry_out_event(&mut self, event: Event) {
        if let Some(until) = self.thawed(&event) {
            return self.at(until - self.now, event);
        }
        match event {
            Event::Step => self.step(),
            Event::Relief(relief) => self.relieve(relief),
            Event::Connect { client, life, connection } => self.connect(client, life, connection),
            Event::Deliver { wire, up } => self.deliver(wire, up),
            Event::ServerHears { wire } => self.close_at_server(wire),
            Event::ClientHears { wire, code } => self.close_at_client(wire, code),
            Event::Stored { client, life } => {
                if self.lives(client, life)
                    && let Some(token) = self.clients[client].written()
                {
                    self.tell_client(client, session::Input::Written { token, result: Ok(()) });
                }
            }
            Event::Read { client, life, token, prefix } => {
                if self.lives(client, life) {
                    let result = Ok(self.clients[client].read(&prefix));
                    self.tell_client(client, session::Input::Read { token, result });
                }
            }
            Event::Token { client, life } => {
                if self.lives(client, life) {
                    self.give_token(client);
                }
            }
            Event::Committed { life } => {
                if self.server.life == life {
                    self.commit_ends();
                }
            }
            Event::Server { life, input } => {
                if self.server.life == life {
                    self.tell_hub(*input);
                }
            }
            Event::SayAgain { wire, message, stays } => self.arrive_again(wire, message, stays),
            Event::StartServer => self.start_server(),
            Event::LookAround => self.look_around(),
        }
    }

    pub(crate) fn lives(&self, client: usize, life: u64) -> bool {
        self.clients[client].life == life && !self.clients[client].down
    }

    fn next_step(&mut self) {
        match self.steps.front().map(|step| step.after_ms) {
            Some(after) => self.at(after, Event::Step),
            None => self.make_peace(),
        }
    }

    fn step(&mut self) {
        if let Some(step) = self.steps.pop_front() {
            self.report.steps += 1;
            self.act(&step.action);
        }
        self.next_step();
    }

    fn leave(&mut self) {
        self.leaving = true;
        for client in 0..self.clients.len() {
            self.tell_client(client, session::Input::Shutdown);
        }
    }

    pub(crate) fn say(&mut self, client: usize, what: &str) {
        if self.story.on {
            self.story.note(self.now, &format!("client{client}"), what);
        }
    }

    pub(crate) fn complain(&mut self, rule: &str, what: String) {
        self.story.note(self.now, "VIOLATED", &format!("{rule}: {what}"));
        self.report.violations.push(Violation { rule: rule.to_owned(), what });
    }
}
