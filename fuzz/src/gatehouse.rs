//! A document behind the gate, the people who write it, and one plain copy that takes in whatever is
//! accepted.

use automerge::{ActorId as Actor, Automerge, Change, ReadDoc as _, TextEncoding};
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::{
    Command, CommentsCommand, JsonCommand, LikesCommand, PostCommand, View, genesis,
};
use syncline_engine::gate::{Index, Refusal};
use syncline_engine::ids::{ActorId, Address, Facet, Ulid, UserId};
use syncline_engine::policy::{Principal, Role, Rules, allows_command};

use super::commands::{self, Choices};
use super::forgeries;
use super::trespass::trespass;

const STEPS_MAX: usize = 60;
const ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

pub(crate) fn run(choices: &mut Choices<'_>, with_forgers: bool) {
    let facet = Facet::DOCUMENTS[choices.pick(Facet::DOCUMENTS.len(), "facet")];
    let mut world = World::new(facet, choices);
    for _ in 0..STEPS_MAX {
        if choices.are_over() {
            break;
        }
        world.step(choices, with_forgers);
    }
    world.settle(choices);
}

/// What became of many forgeries.
#[allow(dead_code, reason = "each target and test has its own of these")]
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) judged: u64,
    pub(crate) accepted: u64,
}

/// Forges `count` changes on a document made by chance, all on the same state of it; whatever is
/// accepted applies, saves, loads and merges. `fill` gives chances.
#[allow(dead_code, reason = "each target and test has its own of these")]
pub(crate) fn mutations(count: u64, mut fill: impl FnMut(&mut [u8])) -> Tally {
    let mut bytes = [0; 600];
    fill(&mut bytes);
    let mut choices = Choices(&bytes);
    let facet = Facet::DOCUMENTS[choices.pick(Facet::DOCUMENTS.len(), "facet")];
    let mut world = World::new(facet, &mut choices);
    while !choices.are_over() {
        world.step(&mut choices, false);
    }
    let mut forgers = Vec::new();
    for who in 0..world.people.len() {
        fill(&mut bytes);
        let mut doc = world.copy();
        let command = world.command(who, &mut Choices(&bytes));
        // What he may not do, or does nothing, is a beginning too.
        if let Some(change) = World::execute(&mut doc, &command) {
            forgers.push((who, forgeries::Forger::new(&change, &world.accepted, true)));
        }
    }
    let mut tally = Tally::default();
    for (who, forger) in forgers.iter().cycle().take(usize::try_from(count).unwrap_or(0)) {
        let mut bytes = [0; 24];
        fill(&mut bytes);
        let forged = forger.forge(&mut Choices(&bytes));
        tally.judged += 1;
        if world.check(*who, &forged).is_ok() {
            tally.accepted += 1;
            world.takes(&forged);
        }
    }
    tally
}

struct Person {
    principal: Principal,
    doc: Automerge,
    /// Changes of the document that the server does not have.
    unpushed: Vec<Change>,
}

struct World {
    address: Address,
    index: Index,
    people: Vec<Person>,
    /// In the order of acceptance, genesis first.
    accepted: Vec<Change>,
    server: Automerge,
    slots: u32,
    ticks: u64,
}

impl World {
    fn new(facet: Facet, choices: &mut Choices<'_>) -> Self {
        let address = Address::new("town", "square", facet).expect("plain names");
        let mut rules = Rules::default();
        let server = genesis::document(&address, ENCODING);
        let mut world = Self {
            index: Index::new(&address),
            accepted: vec![genesis::change(&address)],
            people: Vec::new(),
            slots: 0,
            ticks: 0,
            server,
            address,
        };
        let roles = [Role::Member, Role::Moderator, Role::Owner, Role::Viewer];
        // Where everybody may do everything, all that protects is the structure.
        let owners = choices.pick(2, "owners") == 1;
        for name in ["ada", "bob", "eve"] {
            let user = UserId::new(name).expect("a plain name");
            let role = roles[choices.pick(6, "role").saturating_sub(2)].clone();
            let role = if owners { Role::Owner } else { role };
            rules.members.insert(user.clone(), role);
            let principal = rules.principal(&user, None);
            let doc = world.copy();
            world.people.push(Person { principal, doc, unpushed: Vec::new() });
        }
        if choices.pick(4, "begun") > 0 {
            world.begin();
        }
        world
    }

    /// Something to begin with, by whoever may.
    fn begin(&mut self) {
        for who in 0..self.people.len() {
            let author = self.people[who].principal.user.clone();
            let (created, parent) = (Timestamp(1), None);
            let command = match self.address.facet() {
                Facet::Post => Command::Post(PostCommand::Create {
                    author,
                    created,
                    title: "A title".into(),
                    body: "Some text to mark".into(),
                    tags: vec!["rust".into()],
                }),
                Facet::Comments => {
                    let (id, body) = (Ulid::new(created, who as u128), "first".into());
                    Command::Comments(CommentsCommand::Add { id, author, parent, created, body })
                }
                Facet::Likes => return,
                Facet::Json | Facet::Stream => Command::Json(JsonCommand::Put {
                    path: vec!["a".into()],
                    value: serde_json::json!([1, "two", { "c": 3.5 }]),
                }),
            };
            if let Some(change) = Self::execute(&mut self.people[who].doc, &command)
                && self.check(who, &change).is_ok()
            {
                self.accept(who, &change);
            }
            self.people[who].doc = self.copy();
        }
    }

    /// A command, mostly in his own name.
    fn command(&self, who: usize, choices: &mut Choices<'_>) -> Command {
        let mut command = commands::command(self.address.facet(), self.ticks, choices);
        if choices.pick(4, "own name") > 0 {
            let own = self.people[who].principal.user.clone();
            if let Command::Likes(
                LikesCommand::Like { user, .. } | LikesCommand::Unlike { user, .. },
            )
            | Command::Comments(CommentsCommand::Add { author: user, .. })
            | Command::Post(PostCommand::Create { author: user, .. }) = &mut command
            {
                *user = own;
            }
        }
        command
    }

    /// What the server has, under an actor of its own.
    fn copy(&mut self) -> Automerge {
        let doc = self.server.clone();
        self.under_new_actor(doc)
    }

    fn under_new_actor(&mut self, mut doc: Automerge) -> Automerge {
        self.slots += 1;
        doc.set_actor(Actor::from(ActorId::leased(1, self.slots).0));
        doc
    }

    fn step(&mut self, choices: &mut Choices<'_>, with_forgers: bool) {
        self.ticks += 1;
        let who = choices.pick(self.people.len(), "who");
        match choices.pick(8, "step") {
            0 | 1 => self.write(who, choices),
            2 => self.push(who),
            3 => self.pull(who),
            4 => self.try_at_once(who, choices),
            _ if !with_forgers => self.try_at_once(who, choices),
            _ => self.forge(who, choices),
        }
    }

    fn view(&self, doc: &Automerge) -> View {
        View::read(self.address.facet(), doc)
    }

    /// Carries a command out on a document; the change, if it made one.
    fn execute(doc: &mut Automerge, command: &Command) -> Option<Change> {
        let mut tx = doc.transaction();
        if command.apply(&mut tx).is_err() {
            tx.rollback();
            return None;
        }
        tx.commit().0.and_then(|hash| doc.get_change_by_hash(&hash))
    }

    /// Somebody does something that his client lets him do, apart from the others.
    fn write(&mut self, who: usize, choices: &mut Choices<'_>) {
        let command = self.command(who, choices);
        let view = self.view(&self.people[who].doc);
        let person = &mut self.people[who];
        if allows_command(&person.principal, &self.address, &view, &command).is_ok() {
            person.unpushed.extend(Self::execute(&mut person.doc, &command));
        }
    }

    fn pull(&mut self, who: usize) {
        let person = &mut self.people[who];
        let news =
            self.accepted.iter().filter(|c| person.doc.get_change_by_hash(&c.hash()).is_none());
        let news: Vec<_> = news.cloned().collect();
        person.doc.apply_changes(news).expect("what was accepted applies");
    }

    fn check(&self, who: usize, change: &Change) -> Result<(), Refusal> {
        let principal = &self.people[who].principal;
        self.index.check(change.raw_bytes(), principal).map(drop)
    }

    fn push(&mut self, who: usize) {
        for change in std::mem::take(&mut self.people[who].unpushed) {
            match self.check(who, &change) {
                Ok(()) => self.accept(who, &change),
                Err(refusal) => {
                    // What others did meanwhile can take away the right to it.
                    let fair = [Code::NoEffect, Code::NotAuthor, Code::NotFound];
                    assert!(fair.contains(&refusal.code), "{refusal:?} {:#?}", change.decode());
                    self.people[who].doc = self.copy();
                    return;
                }
            }
        }
    }

    /// Somebody who has seen everything tries something: client and gate agree about it.
    fn try_at_once(&mut self, who: usize, choices: &mut Choices<'_>) {
        self.push(who);
        self.pull(who);
        let command = self.command(who, choices);
        let view = self.view(&self.people[who].doc);
        let allowed = allows_command(&self.people[who].principal, &self.address, &view, &command);
        let Some(change) = Self::execute(&mut self.people[who].doc, &command) else { return };
        match (allowed, self.check(who, &change)) {
            (Ok(()), Ok(())) => self.accept(who, &change),
            (Err(client), Err(gate)) => {
                assert_eq!(client.code, gate.code, "{command:?}: {client} but {gate}");
                self.people[who].doc = self.copy();
            }
            (client, gate) => panic!("{command:?}: {client:?} but {gate:?}"),
        }
    }

    /// The document as those know it who have not seen this change, nor what builds on it.
    fn without(&self, hidden: usize) -> Automerge {
        let mut hidden = vec![self.accepted[hidden.max(1).min(self.accepted.len() - 1)].hash()];
        let mut seen = Vec::new();
        for change in &self.accepted {
            if hidden.contains(&change.hash()) || change.deps().iter().any(|d| hidden.contains(d)) {
                hidden.push(change.hash());
            } else {
                seen.push(change.clone());
            }
        }
        let mut doc = Automerge::new_with_encoding(ENCODING);
        doc.apply_changes(seen).expect("what was accepted applies");
        doc
    }

    /// Somebody changes a change and hands it in.
    fn forge(&mut self, who: usize, choices: &mut Choices<'_>) {
        self.push(who);
        // Mostly on everything, sometimes on a past that hides something, be it that the forger does
        // not know it, or that he pretends not to.
        let seen = match choices.pick(3, "seen") {
            0 => self.without(choices.pick(self.accepted.len(), "hidden")),
            _ => self.server.clone(),
        };
        let pretends = choices.pick(2, "pretends") == 1;
        let known = if pretends { self.server.clone() } else { seen.clone() };
        let mut doc = self.under_new_actor(known);
        let command = self.command(who, choices);
        let Some(change) = Self::execute(&mut doc, &command) else { return };
        let change = forgeries::on_past(&change, &seen);
        let forged = match choices.pick(4, "forged") {
            0 => change,
            _ => forgeries::forge(&change, &self.accepted, choices),
        };
        if self.check(who, &forged).is_ok() {
            // It arrives where there is nothing but what it builds on.
            let mut alone = seen;
            alone.apply_changes([forged.clone()]).expect("what is accepted applies");
            Automerge::load(&alone.save()).expect("what was saved loads");
            self.accept(who, &forged);
            self.reload();
        }
    }

    /// Whether an accepted change applies, saves, loads and merges.
    fn takes(&self, change: &Change) {
        let mut one = self.server.clone();
        one.apply_changes([change.clone()]).expect("what is accepted applies");
        assert!(one.get_missing_deps(&[]).is_empty());
        let mut loaded = Automerge::load(&one.save()).expect("what was saved loads");
        assert_eq!(loaded.get_heads(), one.get_heads());
        let mut other = self.server.clone();
        other.merge(&mut loaded).expect("it merges");
        assert_eq!(self.view(&other), self.view(&one));
    }

    /// Takes a change in, everywhere.
    fn accept(&mut self, who: usize, change: &Change) {
        let checked = self.index.check_structure(change.raw_bytes()).expect("it was checked");
        self.index.apply(&checked);
        self.accepted.push(change.clone());
        let before = self.view(&self.server);
        self.server.apply_changes([change.clone()]).expect("what is accepted applies");
        assert!(self.server.get_missing_deps(&[]).is_empty());
        let after = self.view(&self.server);
        let person = &self.people[who].principal;
        if let Some(done) = trespass(&before, &after, person, person.may) {
            panic!("{person:?} {done}: {:#?}", change.decode());
        }
        assert_eq!(self.heads(), self.index.heads().map(|hash| hash.0).collect::<Vec<_>>());
    }

    fn heads(&self) -> Vec<[u8; 32]> {
        let mut heads: Vec<_> = self.server.get_heads().iter().map(|hash| hash.0).collect();
        heads.sort_unstable();
        heads
    }

    /// Saves and loads: the same document.
    fn reload(&self) -> Automerge {
        let loaded = Automerge::load(&self.server.save()).expect("what was saved loads");
        assert_eq!(loaded.get_heads(), self.server.get_heads());
        assert_eq!(self.view(&loaded), self.view(&self.server));
        loaded
    }

    /// In the end everybody has the same, in whatever order it came, and so has an index that is
    /// built from a snapshot.
    fn settle(mut self, choices: &mut Choices<'_>) {
        for who in 0..self.people.len() {
            self.push(who);
        }
        let view = self.view(&self.server);
        for who in 0..self.people.len() {
            self.pull(who);
            assert_eq!(self.view(&self.people[who].doc), view);
        }
        let loaded = self.reload();
        let changes: Vec<_> =
            loaded.get_changes(&[]).iter().map(|c| c.raw_bytes().to_vec()).collect();
        assert_eq!(changes.len(), self.accepted.len());
        let mut index = Index::new(&self.address);
        index.replay(changes.iter().map(Vec::as_slice)).expect("what was accepted fits");
        assert!(index.heads().eq(self.index.heads()));
        // In another order: whatever lacks something waits for it.
        let mut other = Automerge::new_with_encoding(ENCODING);
        let mut left = self.accepted.clone();
        while !left.is_empty() {
            let many = left.len().min(1 + choices.pick(4, "many"));
            let batch: Vec<_> =
                (0..many).map(|_| left.remove(choices.pick(left.len(), "which"))).collect();
            other.apply_changes(batch).expect("what is accepted applies in any order");
        }
        assert_eq!(self.view(&other), view);
        let loaded = Automerge::load(&other.save()).expect("what was saved loads");
        assert_eq!(self.view(&loaded), view);
    }
}
