//! Replicas that talk to a server's log: commands with and without a lease, pushes whose answer is
//! lost, leases that end, refusals, reloads from a store. Whatever happens, a view equals one that is
//! read anew, a rebase that tells of no change shows what it showed before, nothing that was pushed
//! comes to lack something, and in the end all replicas and the log agree, each change there once.

use std::collections::BTreeSet;

use automerge::{Change, ChangeHash, TextEncoding};
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::View;
use syncline_engine::gate::{Index, Refusal};
use syncline_engine::ids::{ActorId, Address, Cursor, Epoch, Facet, Lease, Tip, Ulid};
use syncline_engine::replica::{Outcome, Replica, Stored};

use super::commands::{self, Choices};

const CLIENTS: usize = 3;
const STEPS_MAX: usize = 80;
const ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

pub(crate) fn run(choices: &mut Choices<'_>) {
    let facet = Facet::DOCUMENTS[choices.pick(Facet::DOCUMENTS.len(), "facet")];
    let mut world = World::new(facet);
    for _ in 0..STEPS_MAX {
        if choices.are_over() {
            break;
        }
        world.step(choices);
    }
    world.settle();
}

struct Client {
    replica: Replica,
    /// How much of the log has arrived.
    seen: usize,
    /// What the server knows of it: the lease with its next seq, and what is settled.
    lease: Option<(ActorId, u64)>,
    settled: u64,
}

struct World {
    address: Address,
    clients: Vec<Client>,
    log: Vec<Change>,
    /// The server's gate, without its policy: users here write in any name.
    index: Index,
    slots: u32,
    ticks: u64,
}

impl World {
    fn new(facet: Facet) -> Self {
        let address = Address::new("town", "square", facet).expect("plain names");
        let clients = (0..CLIENTS as u64)
            .map(|n| Client {
                replica: Replica::new(address.clone(), ENCODING, ActorId::provisional(n)),
                seen: 0,
                lease: None,
                settled: 0,
            })
            .collect();
        let index = Index::new(&address);
        Self { address, clients, log: Vec::new(), index, slots: 0, ticks: 0 }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        self.ticks += 1;
        let at = choices.pick(self.clients.len(), "client");
        match choices.pick(12, "step") {
            0..=4 => self.command(at, choices),
            5 | 6 => {
                let count = choices.pick(4, "entries") + 1;
                self.catch_up(at, count);
            }
            7 => self.grant(at),
            8 | 9 => self.push(at, choices.pick(3, "pushed") + 1, choices.pick(3, "answer") != 0),
            10 => self.lose_lease(at),
            _ => match choices.pick(2, "trouble") {
                0 => self.refuse(at),
                _ => self.restart(at),
            },
        }
        self.clients[at].check();
    }

    fn command(&mut self, at: usize, choices: &mut Choices<'_>) {
        let id = Ulid::new(Timestamp(self.ticks), 1);
        let command = commands::command(self.address.facet(), self.ticks, choices);
        let client = &mut self.clients[at];
        let before = client.replica.view().clone();
        if client.replica.execute(Timestamp(self.ticks), id, command).is_err() {
            assert_eq!(client.replica.view(), &before, "a command that fails leaves no trace");
        }
    }

    fn catch_up(&mut self, at: usize, count: usize) {
        let client = &mut self.clients[at];
        let to = (client.seen + count).min(self.log.len());
        let changes = self.log[client.seen..to].to_vec();
        if !changes.is_empty() {
            client.replica.accept(changes, cursor(to)).expect("the log has no gap");
            client.seen = to;
        }
    }

    /// A lease, taken up after the log was read as far as it says.
    fn grant(&mut self, at: usize) {
        if self.clients[at].lease.is_some() {
            return;
        }
        self.catch_up(at, self.log.len());
        self.slots += 1;
        let actor = ActorId::leased(1, self.slots);
        let lease = Lease { actor, next_seq: 1, after: self.log.len() as u64 };
        let client = &mut self.clients[at];
        client.lease = Some((actor, 1));
        client.rebase(|replica| replica.adopt(lease).expect("it is caught up"));
    }

    /// Hands in what follows what is settled. The server takes what passes its gate, and maybe the
    /// answer is lost; it refuses the first that does not.
    fn push(&mut self, at: usize, count: usize, answered: bool) {
        let client = &mut self.clients[at];
        let Some((actor, next_seq)) = client.lease else {
            return;
        };
        let mut pushed: Vec<_> = client
            .replica
            .pending()
            .filter(|pending| pending.number > client.settled)
            .take(count)
            .cloned()
            .collect();
        let known: BTreeSet<ChangeHash> = self.log.iter().map(Change::hash).collect();
        let genesis = self.clients[at].genesis();
        let mut own = BTreeSet::new();
        for (offset, pending) in pushed.iter().enumerate() {
            let change = &pending.change;
            assert_eq!(change.actor_id().to_bytes(), actor.0, "the leased actor's");
            assert_eq!(change.seq(), next_seq + offset as u64, "the actor's next");
            assert_eq!(pending.number, self.clients[at].settled + 1 + offset as u64, "no gap");
            for dep in change.deps() {
                let found = known.contains(dep) || own.contains(dep) || genesis == *dep;
                assert!(found, "a pushed change builds on what the log does not have");
            }
            own.insert(change.hash());
        }
        let passed = pushed.iter().take_while(|pending| self.passes(&pending.change)).count();
        let is_refused = passed < pushed.len();
        pushed.truncate(passed);
        self.log.extend(pushed.iter().map(|pending| pending.change.clone()));
        let client = &mut self.clients[at];
        client.lease = Some((actor, next_seq + pushed.len() as u64));
        if let Some(last) = pushed.last() {
            client.settled = last.number;
            if answered {
                client.replica.acknowledge(last.number);
            }
        }
        if is_refused {
            self.refuse(at);
        }
    }

    /// What a replica wrote, or wrote again, is refused only where it says what was said already, or
    /// answers what is not there.
    fn passes(&mut self, change: &Change) -> bool {
        match self.index.check_structure(change.raw_bytes()) {
            Ok(checked) => {
                self.index.apply(&checked);
                true
            }
            Err(Refusal { code: Code::NoEffect | Code::NotFound, .. }) => false,
            Err(refusal) => panic!("{refusal:?} {:#?}", change.decode()),
        }
    }

    /// The connection was gone for longer than the grace time.
    fn lose_lease(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.lease = None;
        client.replica.reconcile(client.settled);
        client.rebase(|replica| replica.fall_back().expect("what is pending can be written again"));
    }

    fn refuse(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.lease.is_none() || client.replica.pending().all(|p| p.number <= client.settled) {
            return;
        }
        client.lease = None;
        // The answers to what was settled before came first.
        client.replica.acknowledge(client.settled);
        let refused = client.settled + 1;
        client.rebase(|replica| {
            replica.refuse(refused, Code::Forbidden, "no").expect("the rest can be written again")
        });
    }

    /// The process ends and starts on its store: accepted, the tail of the log and the outbox.
    fn restart(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let before = client.replica.view().clone();
        let stored = Stored {
            base: None,
            tail: self.log[..client.seen].to_vec(),
            cursor: client.replica.cursor(),
            settled: client.replica.settled(),
            proof: None,
            outbox: client.replica.pending().cloned().collect(),
        };
        self.slots += 1;
        let provisional = ActorId::provisional(u64::from(self.slots) + CLIENTS as u64);
        client.replica = Replica::load(self.address.clone(), ENCODING, provisional, stored)
            .expect("what was stored loads");
        assert_eq!(client.replica.view(), &before, "after a restart");
        self.lose_lease(at);
    }

    fn settle(&mut self) {
        for at in 0..self.clients.len() {
            let mut rounds = 1 + self.clients[at].replica.pending().len();
            while rounds > 0 {
                self.lose_lease(at);
                self.grant(at);
                self.push(at, usize::MAX, true);
                rounds -= 1;
            }
        }
        let mut fresh = Replica::new(self.address.clone(), ENCODING, ActorId::provisional(99));
        if !self.log.is_empty() {
            fresh.accept(self.log.clone(), cursor(self.log.len())).expect("the log has no gap");
        }
        let hashes: BTreeSet<ChangeHash> = self.log.iter().map(Change::hash).collect();
        assert_eq!(hashes.len(), self.log.len(), "each change once");
        for at in 0..self.clients.len() {
            self.catch_up(at, self.log.len());
            let client = &self.clients[at];
            client.check();
            assert_eq!(client.replica.pending().len(), 0, "everything has come to its end");
            assert_eq!(client.replica.view(), fresh.view(), "a client and the log");
            assert_eq!(client.heads(), heads(&fresh));
        }
    }
}

impl Client {
    fn check(&self) {
        let facet = self.replica.address().facet();
        let fresh = View::read(facet, self.replica.document());
        assert_eq!(self.replica.view(), &fresh, "the view, and the one read anew");
    }

    /// A rebase may let go of what others replaced meanwhile, but not without telling.
    fn rebase(&mut self, how: impl FnOnce(&mut Replica) -> Outcome) {
        let before = self.replica.view().clone();
        let outcome = how(&mut self.replica);
        if outcome.events.is_empty() {
            let changed = before.diff(self.replica.view());
            assert!(changed.is_empty(), "a rebase changed silently what is seen: {changed:?}");
        }
    }

    fn heads(&self) -> BTreeSet<ChangeHash> {
        heads(&self.replica)
    }

    fn genesis(&self) -> ChangeHash {
        let actor = automerge::ActorId::from(ActorId::GENESIS.0);
        let first = self.replica.document().get_changes(&[]);
        let first = first.iter().find(|change| *change.actor_id() == actor);
        first.map(Change::hash).expect("every document has its genesis")
    }
}

fn heads(replica: &Replica) -> BTreeSet<ChangeHash> {
    replica.document().get_heads().into_iter().collect()
}

fn cursor(seq: usize) -> Cursor {
    Cursor { epoch: Epoch([1; 16]), seq: seq as u64, tip: Tip::EMPTY }
}
