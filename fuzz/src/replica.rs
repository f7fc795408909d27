//! Replicas against a model that is too simple to be wrong: users who each edit their own part of one
//! document, alone and at the same time, with and without a lease; acknowledgements that get lost,
//! refusals of any command, servers that begin a new term or a new epoch, restarts, undo and redo. In the end every
//! replica shows what a fold over the commands that were not rolled back makes, each of these has
//! had exactly one end, and nothing of the refused ones is anywhere.

#[allow(
    clippy::duplicate_mod,
    dead_code,
    reason = "each target is a crate with commands of its own; the test that replays them has all"
)]
#[path = "commands.rs"]
mod commands;

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Change, TextEncoding};
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::{
    Command, CommentsCommand, Counter, LikesCommand, PostCommand, Target, TextField, View,
    begin_epoch, genesis,
};
use syncline_engine::ids::{
    ActorId, Address, ChangeHash, Cursor, Epoch, EpochStart, Facet, Lease, Tip, Ulid, UserId,
};
use syncline_engine::replica::{Outcome, Pending, Replica, Resolution, Stored};

use self::commands::Choices;

const CLIENTS: usize = 3;
const STEPS_MAX: usize = 80;
const EPOCHS_MAX: usize = 6;
const ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

/// One input: its bytes are the choices, in order; see [`Choices`].
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices(data);
    let facets = [Facet::Post, Facet::Likes, Facet::Comments];
    let mut world = World::new(facets[choices.pick(facets.len(), "facet")]);
    for _ in 0..STEPS_MAX {
        if choices.are_over() {
            break;
        }
        world.step(&mut choices);
    }
    world.settle();
}

/// One part of one command, in the order of execution.
struct Part {
    id: Ulid,
    command: Command,
    /// The letters that it removed, and those that it inserted.
    removed: Vec<char>,
    added: Vec<char>,
    end: Option<Resolution>,
}

struct Client {
    number: usize,
    replica: Replica,
    /// The epoch that it is in, and how much of that one's log it has.
    epoch: usize,
    seen: usize,
    /// What the server knows: the lease with its next seq, and what is settled.
    lease: Option<(ActorId, u64)>,
    settled: u64,
    parts: Vec<Part>,
}

struct World {
    address: Address,
    clients: Vec<Client>,
    log: Vec<Change>,
    /// The logs of the epochs before, and where each went on.
    sealed: Vec<(Vec<Change>, EpochStart)>,
    slots: u32,
    ticks: u64,
}

/// What is in a document, without its order: letters and how many of each, who likes how, comments
/// with their text and whether they are deleted, shares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Things {
    letters: BTreeMap<char, i64>,
    likes: BTreeSet<(String, UserId)>,
    comments: BTreeMap<Ulid, (String, bool)>,
    shares: i64,
}

impl Things {
    fn of(view: &View) -> Self {
        let mut things = Self::default();
        match view {
            View::Post(view) => {
                view.body().chars().for_each(|c| *things.letters.entry(c).or_default() += 1);
            }
            View::Likes(view) => {
                let likes = view.iter().map(|(_, how, user, _)| (how.to_owned(), user.clone()));
                things.likes = likes.collect();
                things.shares = view.counter(Counter::Shares);
            }
            View::Comments(view) => {
                let comments =
                    view.iter().map(|(id, c)| (id, (c.body.clone(), c.deleted.is_some())));
                things.comments = comments.collect();
            }
            View::Json(_) => {}
        }
        things
    }

    /// What a part of a command does to what is the same user's alone.
    fn apply(&mut self, part: &Part) {
        match &part.command {
            Command::Post(_) => {
                for letter in &part.removed {
                    self.letters.entry(*letter).and_modify(|n| *n = (*n - 1).max(0));
                }
                part.added.iter().for_each(|c| *self.letters.entry(*c).or_default() += 1);
                self.letters.retain(|_, count| *count > 0);
            }
            Command::Likes(LikesCommand::Count { by, .. }) => self.shares += by,
            Command::Likes(LikesCommand::Like { reaction, user, .. }) => {
                self.likes.insert((reaction.clone(), user.clone()));
            }
            Command::Likes(LikesCommand::Unlike { reaction, user, .. }) => {
                self.likes.remove(&(reaction.clone(), user.clone()));
            }
            Command::Comments(CommentsCommand::Add { id, body, .. }) => {
                self.comments.insert(*id, (body.clone(), false));
            }
            Command::Comments(CommentsCommand::Edit { id, body, .. }) => {
                self.comments.entry(*id).and_modify(|(old, _)| old.clone_from(body));
            }
            Command::Comments(CommentsCommand::Delete { id, .. }) => {
                self.comments.entry(*id).and_modify(|(_, deleted)| *deleted = true);
            }
            Command::Json(_) => {}
        }
    }

    fn join(&mut self, other: Self) {
        other.letters.into_iter().for_each(|(c, n)| *self.letters.entry(c).or_default() += n);
        self.likes.extend(other.likes);
        self.comments.extend(other.comments);
        self.shares += other.shares;
    }
}

fn cursor(epoch: usize, seq: usize) -> Cursor {
    let number = u8::try_from(epoch + 1).expect("few epochs");
    Cursor { epoch: Epoch([number; 16]), seq: seq as u64, tip: Tip::EMPTY }
}

impl Client {
    fn user(&self) -> UserId {
        UserId::new(["ada", "bob", "eve"][self.number]).expect("a plain name")
    }

    /// Letters of its own, of which no two are the same.
    fn letter(&self, tick: u64) -> char {
        let place = 0x4e00 + 1_000 * u32::try_from(self.number).unwrap_or(0);
        char::from_u32(place + u32::try_from(tick).unwrap_or(0)).expect("a letter")
    }

    fn owns(&self, letter: char) -> bool {
        let place = 0x4e00 + 1_000 * u32::try_from(self.number).unwrap_or(0);
        (place..place + 1_000).contains(&u32::from(letter))
    }

    /// A command on what is its own.
    fn command(&self, tick: u64, choices: &mut Choices<'_>) -> Option<Command> {
        let (user, what) = (self.user(), choices.pick(4, "command"));
        let now = Timestamp(tick);
        Some(match self.replica.view() {
            View::Post(view) => {
                view.author()?;
                let letters: Vec<char> = view.body().chars().collect();
                let index = choices.pick(letters.len() + 1, "index");
                let own = letters[index..].iter().take_while(|letter| self.owns(**letter)).count();
                let delete = if what == 0 { own.min(1 + choices.pick(3, "length")) } else { 0 };
                let insert = if what == 1 || delete == 0 {
                    self.letter(tick).to_string()
                } else {
                    String::new()
                };
                let field = TextField::Body;
                Command::Post(PostCommand::Splice { field, index, delete, insert })
            }
            View::Likes(_) => {
                let reaction = ["like", "wow"][choices.pick(2, "reaction")].to_owned();
                let target = Target::Post;
                Command::Likes(match what {
                    0 => LikesCommand::Unlike { target, reaction, user },
                    1 => LikesCommand::Count {
                        counter: Counter::Shares,
                        by: choices.pick(9, "by") as i64 - 4,
                    },
                    _ => {
                        let at = Ulid::new(now, self.number as u128);
                        LikesCommand::Like { target, reaction, user, at }
                    }
                })
            }
            View::Comments(view) => {
                let own: Vec<Ulid> = view
                    .iter()
                    .filter(|(_, comment)| comment.author == user)
                    .map(|(id, _)| id)
                    .collect();
                let known = own.get(choices.pick(own.len(), "comment")).copied();
                Command::Comments(match (what, known) {
                    (0, Some(id)) => CommentsCommand::Delete { id, at: now },
                    (1, Some(id)) => {
                        CommentsCommand::Edit { id, body: format!("edit {tick}"), edited: now }
                    }
                    _ => CommentsCommand::Add {
                        id: Ulid::new(now, self.number as u128),
                        author: user,
                        parent: None,
                        created: now,
                        body: format!("said {tick}"),
                    },
                })
            }
            View::Json(_) => return None,
        })
    }

    /// Has the replica do something as a new command, and notes what that did.
    fn issue(&mut self, id: Ulid, act: impl FnOnce(&mut Replica) -> Option<Outcome>) {
        let shown = self.replica.view().clone();
        let before = self.replica.pending().len();
        let Some(outcome) = act(&mut self.replica) else {
            assert_eq!(self.replica.view(), &shown, "what fails leaves no trace");
            return;
        };
        assert!(outcome.ended.is_empty(), "nothing ends by a command");
        let mut letters: Vec<char> = match &shown {
            View::Post(view) => view.body().chars().collect(),
            View::Likes(_) | View::Comments(_) | View::Json(_) => Vec::new(),
        };
        for pending in self.replica.pending().skip(before) {
            let command = pending.command.clone();
            let (mut removed, mut added) = (Vec::new(), Vec::new());
            if let Command::Post(PostCommand::Splice { index, delete, insert, .. }) = &command {
                added.extend(insert.chars());
                removed.extend(letters.splice(*index..index + delete, insert.chars()));
            }
            self.parts.push(Part { id, command, removed, added, end: None });
        }
        if let View::Post(view) = self.replica.view() {
            assert_eq!(view.body(), letters.iter().collect::<String>(), "its parts, one by one");
        }
    }

    fn take(&mut self, outcome: Outcome) {
        for (pending, resolution) in outcome.ended {
            let Pending { id, command, .. } = pending;
            let part = self
                .parts
                .iter_mut()
                .find(|part| part.id == id && part.command == command && part.end.is_none());
            let part = part.expect("what ends was begun and has not ended");
            assert!(resolution != Resolution::Superseded, "nobody else writes there");
            part.end = Some(resolution);
        }
        let fresh = View::read(self.replica.address().facet(), self.replica.document());
        assert_eq!(self.replica.view(), &fresh, "the view, and the one read anew");
    }

    /// What its commands make that were not rolled back.
    fn model(&self) -> Things {
        let mut things = Things::default();
        let kept = self.parts.iter().filter(|part| part.end == Some(Resolution::Confirmed));
        kept.for_each(|part| things.apply(part));
        things
    }
}

impl World {
    fn new(facet: Facet) -> Self {
        let address = Address::new("town", "square", facet).expect("plain names");
        let clients = (0..CLIENTS)
            .map(|number| Client {
                number,
                replica: Replica::new(
                    address.clone(),
                    ENCODING,
                    ActorId::provisional(number as u64),
                ),
                epoch: 0,
                seen: 0,
                lease: None,
                settled: 0,
                parts: Vec::new(),
            })
            .collect();
        let mut world =
            Self { address, clients, log: Vec::new(), sealed: Vec::new(), slots: 0, ticks: 0 };
        if facet == Facet::Post {
            world.write_post();
        }
        world
    }

    /// Everybody has the post before anything else happens.
    fn write_post(&mut self) {
        let create = Command::Post(PostCommand::Create {
            author: self.clients[0].user(),
            created: Timestamp(1),
            title: String::new(),
            body: String::new(),
            tags: Vec::new(),
        });
        let id = Ulid::new(Timestamp(0), 0);
        self.clients[0].issue(id, |replica| replica.execute(Timestamp(1), id, create).ok());
        self.grant(0);
        self.push(0, 1, true);
        (0..CLIENTS).for_each(|at| self.catch_up(at, 1));
        self.lose_lease(0);
        // Nothing is left that could be undone.
        self.restart(0);
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        self.ticks += 1;
        let at = choices.pick(CLIENTS, "client");
        let (now, id) = (Timestamp(self.ticks), Ulid::new(Timestamp(self.ticks), at as u128));
        match choices.pick(17, "step") {
            0..=4 => {
                if let Some(command) = self.clients[at].command(self.ticks, choices) {
                    self.clients[at].issue(id, |replica| replica.execute(now, id, command).ok());
                }
            }
            5 => self.clients[at].issue(id, |replica| replica.undo(now, id).ok()),
            6 => self.clients[at].issue(id, |replica| replica.redo(now, id).ok()),
            7 | 8 => self.catch_up(at, choices.pick(4, "entries") + 1),
            9 => self.grant(at),
            10 | 11 => self.push(at, choices.pick(3, "pushed") + 1, choices.pick(3, "answer") != 0),
            12 => self.lose_lease(at),
            13 => self.lapse(at),
            14 => self.refuse(at, choices.pick(4, "refused")),
            15 if self.sealed.len() < EPOCHS_MAX => self.roll_over(),
            _ => self.restart(at),
        }
    }

    /// The log of an epoch.
    fn log_of(&self, epoch: usize) -> &[Change] {
        self.sealed.get(epoch).map_or(&self.log, |(log, _)| log)
    }

    /// The server ends the epoch; who is in it hears of that later.
    fn roll_over(&mut self) {
        let old = std::mem::take(&mut self.log);
        let document = genesis::document_with(&self.address, old.clone(), ENCODING);
        let document = document.expect("the log has no gap");
        let (begun, at) = (self.sealed.len() + 1, Timestamp(self.ticks));
        let next = begin_epoch(&self.address, &document, cursor(begun, 0).epoch, at);
        let next = next.expect("it is written down again");
        self.log = next.get_changes(&[]).split_off(1);
        let head = ChangeHash(next.get_heads()[0].0);
        let cursor = cursor(begun, self.log.len());
        self.sealed.push((old, EpochStart { cursor, head, at }));
        self.clients.iter_mut().for_each(|client| client.lease = None);
    }

    /// Reads the epochs that have ended to their ends, and goes on in the present one.
    fn enter(&mut self, at: usize) {
        while self.clients[at].epoch < self.sealed.len() {
            let client = &mut self.clients[at];
            let outcome = client.replica.reconcile(client.settled);
            client.take(outcome);
            self.catch_up(at, usize::MAX);
            let client = &mut self.clients[at];
            let start = self.sealed[client.epoch].1;
            let shown = Things::of(client.replica.view());
            let outcome = client.replica.roll_over(start).expect("it goes on");
            client.take(outcome.expect("it begins as the server's does"));
            assert_eq!(Things::of(client.replica.view()), shown, "a new epoch shows the same");
            client.epoch += 1;
            client.seen = usize::try_from(start.cursor.seq).expect("few changes");
        }
    }

    fn catch_up(&mut self, at: usize, count: usize) {
        let log = self.log_of(self.clients[at].epoch);
        let (seen, epoch) = (self.clients[at].seen, self.clients[at].epoch);
        let to = seen.saturating_add(count).min(log.len());
        let changes = log[seen..to].to_vec();
        let client = &mut self.clients[at];
        if !changes.is_empty() {
            let outcome =
                client.replica.accept(changes, cursor(epoch, to)).expect("the log has no gap");
            client.seen = to;
            client.take(outcome);
        }
    }

    fn grant(&mut self, at: usize) {
        if self.clients[at].lease.is_some() {
            return;
        }
        self.enter(at);
        self.catch_up(at, usize::MAX);
        self.slots += 1;
        let actor = ActorId::leased(1, self.slots);
        let lease = Lease { actor, next_seq: 1, after: self.log.len() as u64 };
        let client = &mut self.clients[at];
        client.lease = Some((actor, 1));
        let outcome = client.replica.adopt(lease).expect("it is caught up");
        client.take(outcome);
    }

    fn push(&mut self, at: usize, count: usize, answered: bool) {
        let client = &mut self.clients[at];
        let Some((actor, next_seq)) = client.lease else { return };
        let final_until = client.replica.final_until();
        let pushed: Vec<Pending> = client
            .replica
            .pending()
            .filter(|pending| pending.number > client.settled && pending.number <= final_until)
            .take(count)
            .cloned()
            .collect();
        for (offset, pending) in pushed.iter().enumerate() {
            assert_eq!(pending.change.actor_id().to_bytes(), actor.0, "the leased actor's");
            assert_eq!(pending.change.seq(), next_seq + offset as u64, "the actor's next");
            assert_eq!(pending.number, client.settled + 1 + offset as u64, "no gap");
            self.log.push(pending.change.clone());
        }
        client.lease = Some((actor, next_seq + pushed.len() as u64));
        if let Some(last) = pushed.last() {
            client.settled = last.number;
            if answered {
                let outcome = client.replica.acknowledge(last.number);
                client.take(outcome);
            }
        }
        if client.replica.final_until() != u64::MAX && !client.replica.is_lapsed() {
            client.lease = None;
        }
    }

    fn lose_lease(&mut self, at: usize) {
        self.enter(at);
        let client = &mut self.clients[at];
        client.lease = None;
        let outcome = client.replica.reconcile(client.settled);
        client.take(outcome);
        let outcome = client.replica.fall_back().expect("what is pending can be written again");
        client.take(outcome);
    }

    /// The server began a new term, in which it takes what was made in the last one as it is.
    fn lapse(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.lease.is_none() || client.replica.lease().is_none() {
            return;
        }
        let outcome = client.replica.reconcile(client.settled);
        client.take(outcome);
        if client.replica.unsettled() == 0 {
            return self.lose_lease(at);
        }
        client.replica.lapse();
    }

    /// The server takes what comes before a command, and refuses that one.
    fn refuse(&mut self, at: usize, place: usize) {
        let client = &self.clients[at];
        let final_until = client.replica.final_until();
        let open = client
            .replica
            .pending()
            .filter(|p| p.number > client.settled && p.number <= final_until)
            .count();
        if client.lease.is_none() || open == 0 {
            return;
        }
        self.push(at, place.min(open - 1), true);
        let client = &mut self.clients[at];
        client.lease = None;
        // The answers to what was settled before came first.
        let outcome = client.replica.acknowledge(client.settled);
        client.take(outcome);
        let refused = client.settled + 1;
        let outcome = client.replica.refuse(refused, Code::Forbidden, "no");
        client.take(outcome.expect("the rest can be written again"));
    }

    fn restart(&mut self, at: usize) {
        let tail = self.log_of(self.clients[at].epoch)[..self.clients[at].seen].to_vec();
        let client = &mut self.clients[at];
        let before = client.replica.view().clone();
        let stored = Stored {
            tail,
            cursor: client.replica.cursor(),
            settled: client.replica.settled(),
            outbox: client.replica.pending().cloned().collect(),
            ..Stored::default()
        };
        self.slots += 1;
        let provisional = ActorId::provisional(u64::from(self.slots) + CLIENTS as u64);
        client.replica = Replica::load(self.address.clone(), ENCODING, provisional, stored)
            .expect("what was stored loads");
        assert_eq!(client.replica.view(), &before, "after a restart");
        self.lose_lease(at);
    }

    fn settle(&mut self) {
        for at in 0..CLIENTS {
            self.lose_lease(at);
            self.grant(at);
            self.push(at, usize::MAX, true);
        }
        for at in 0..CLIENTS {
            self.catch_up(at, usize::MAX);
        }
        let mut model = Things::default();
        for client in &self.clients {
            assert_eq!(client.replica.pending().len(), 0, "everything has come to its end");
            assert!(client.parts.iter().all(|part| part.end.is_some()), "each has its end");
            model.join(client.model());
        }
        let hashes: BTreeSet<_> = self.log.iter().map(Change::hash).collect();
        assert_eq!(hashes.len(), self.log.len(), "each change once");
        for client in &self.clients {
            assert_eq!(Things::of(client.replica.view()), model, "the replica, and the model");
        }
    }
}
