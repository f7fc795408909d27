//! Several replicas of one document under arbitrary commands, deliveries in any order and twice, forks
//! (also from the past), merges and reloads: in the end all agree, every view that followed patches
//! equals one that was read anew, and our reader takes every change that was made.

use std::collections::BTreeSet;

use automerge::{
    ActorId as Actor, Automerge, Change, ChangeHash, LoadOptions, PatchLog, ReadDoc as _,
    TextEncoding,
};
use syncline_engine::change::{self, ChangeSet};
use syncline_engine::document::{View, genesis};
use syncline_engine::ids::{ActorId, Address, Facet};

use super::commands::{self, Choices};

/// More replicas than this only make an input slower.
const REPLICAS_MAX: usize = 5;
const STEPS_MAX: usize = 120;
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
    world.settle(choices);
}

struct Replica {
    doc: Automerge,
    view: View,
    /// Heads that it once had, to fork from.
    past: Vec<Vec<ChangeHash>>,
}

struct World {
    facet: Facet,
    replicas: Vec<Replica>,
    /// Every change made, in the order of making: deps first.
    made: Vec<Change>,
    /// Actors handed out; none is used by two replicas.
    slots: u32,
    ticks: u64,
}

impl World {
    fn new(facet: Facet) -> Self {
        let mut world = Self { facet, replicas: Vec::new(), made: Vec::new(), slots: 0, ticks: 0 };
        for _ in 0..3 {
            let address = Address::new("town", "square", facet).expect("plain names");
            world.add(genesis::document(&address, ENCODING));
        }
        world
    }

    fn add(&mut self, mut doc: Automerge) {
        self.slots += 1;
        doc.set_actor(Actor::from(ActorId::leased(1, self.slots).0));
        let view = View::read(self.facet, &doc);
        let past = vec![doc.get_heads()];
        self.replicas.push(Replica { doc, view, past });
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        self.ticks += 1;
        let at = choices.pick(self.replicas.len(), "replica");
        match choices.pick(10, "step") {
            0..=4 => self.command(at, choices),
            5 | 6 => self.deliver(at, choices),
            7 => self.merge(at, choices),
            8 => self.fork(at, choices),
            _ => self.reload(at),
        }
    }

    fn command(&mut self, at: usize, choices: &mut Choices<'_>) {
        let command = commands::command(self.facet, self.ticks, choices);
        let replica = &mut self.replicas[at];
        for piece in command.split(&replica.doc) {
            let mut tx =
                replica.doc.transaction_log_patches(PatchLog::active()).expect("an open document");
            // A command that does not fit the document is refused and leaves nothing behind.
            if piece.apply(&mut tx).is_err() {
                tx.rollback();
                break;
            }
            let (hash, mut patches) = tx.commit();
            replica.follow(&mut patches);
            let Some(hash) = hash else { continue };
            let change = replica.doc.get_change_by_hash(&hash).expect("it was just made");
            let header = change::read(change.raw_bytes()).expect("our reader takes what we write");
            assert_eq!(header.hash.0, hash.0);
            self.made.push(change);
        }
        replica.past.push(replica.doc.get_heads());
    }

    /// Some of the changes, in any order, some known already, some before what they depend on.
    fn deliver(&mut self, at: usize, choices: &mut Choices<'_>) {
        if self.made.is_empty() {
            return;
        }
        let count = choices.pick(8, "changes") + 1;
        let few: Vec<Change> = (0..count)
            .map(|_| self.made[choices.pick(self.made.len().min(256), "change")].clone())
            .collect();
        self.replicas[at].apply(few);
    }

    /// Everything that another replica has, the way it travels: as a change set.
    fn merge(&mut self, at: usize, choices: &mut Choices<'_>) {
        let from = choices.pick(self.replicas.len(), "from");
        if from == at {
            return;
        }
        let heads = self.replicas[at].doc.get_heads();
        let known: Vec<ChangeHash> = heads
            .into_iter()
            .filter(|hash| self.replicas[from].doc.get_change_by_hash(hash).is_some())
            .collect();
        let news = self.replicas[from].doc.get_changes(&known);
        let bytes = news.iter().map(|change| change.raw_bytes().to_vec().into());
        let set = ChangeSet::from_changes(bytes).expect("our reader takes what we write");
        let set = ChangeSet::decode(&set.encode()).expect("it was just written");
        let arrived = set
            .iter()
            .map(|(_, bytes)| Change::try_from(bytes.as_ref()).expect("it was read strictly"))
            .collect();
        self.replicas[at].apply(arrived);
    }

    /// A new replica, from a state that this one is or was in.
    fn fork(&mut self, at: usize, choices: &mut Choices<'_>) {
        if self.replicas.len() >= REPLICAS_MAX {
            return;
        }
        let replica = &self.replicas[at];
        let doc = match choices.pick(2, "fork") {
            0 => replica.doc.fork(),
            _ => {
                let heads = &replica.past[choices.pick(replica.past.len().min(256), "past")];
                replica.doc.fork_at(heads).expect("it had these heads")
            }
        };
        self.add(doc);
    }

    fn reload(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        let saved = replica.doc.save();
        let options = LoadOptions::new().text_encoding(ENCODING);
        let mut loaded =
            Automerge::load_with_options(&saved, options).expect("what was saved loads");
        assert_eq!(loaded.get_heads(), replica.doc.get_heads());
        loaded.set_actor(replica.doc.get_actor().clone());
        replica.doc = loaded;
        assert_eq!(View::read(self.facet, &replica.doc), replica.view, "after a reload");
    }

    /// Everybody gets everything, each in an order of its own; then all must be equal.
    fn settle(&mut self, choices: &mut Choices<'_>) {
        for replica in &mut self.replicas {
            let mut rest = self.made.clone();
            while !rest.is_empty() {
                let count = choices.pick(rest.len().min(256), "together") + 1;
                let batch = (0..count.min(rest.len()))
                    .map(|_| rest.swap_remove(choices.pick(rest.len().min(256), "next")))
                    .collect();
                replica.apply(batch);
            }
        }
        let [first, others @ ..] = self.replicas.as_slice() else {
            return;
        };
        for other in others {
            assert_eq!(first.heads(), other.heads(), "same changes, other heads");
            assert_eq!(first.view, other.view, "same changes, other views");
        }
        assert_eq!(first.doc.get_changes(&[]).len(), self.made.len() + 1, "genesis and each once");
    }
}

impl Replica {
    fn heads(&self) -> BTreeSet<ChangeHash> {
        self.doc.get_heads().into_iter().collect()
    }

    fn apply(&mut self, changes: Vec<Change>) {
        let mut patches = PatchLog::active();
        self.doc.apply_changes_log_patches(changes, &mut patches).expect("no actor is used twice");
        self.follow(&mut patches);
        self.past.push(self.doc.get_heads());
    }

    fn follow(&mut self, patches: &mut PatchLog) {
        let patches = self.doc.make_patches(patches);
        let before = self.view.clone();
        let events = self.view.patch(&self.doc, &patches);
        let fresh = View::read(self.view.facet(), &self.doc);
        assert_eq!(self.view, fresh, "the view that followed, and the one read anew");
        assert!(!events.is_empty() || before.diff(&fresh).is_empty(), "nobody was told");
    }
}
