//! Several replicas of one document under arbitrary commands, deliveries in any order and twice, forks
//! (also from the past), merges and reloads: in the end all agree, every view that followed patches
//! equals one that was read anew, and our reader takes every change that was made.

use std::collections::BTreeSet;

use automerge::{ActorId as Actor, Automerge, Change, ChangeHash, LoadOptions, PatchLog, TextEncoding};
use syncline_engine::change::{self, ChangeSet};
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, Counter, JsonCommand, LikesCommand, MarkName, MarkValue, PathSegment,
    PostCommand, PostStatus, Target, TextField, View, genesis,
};
use syncline_engine::ids::{ActorId, Address, Facet, Ulid, UserId};

/// More replicas than this only make an input slower.
const REPLICAS_MAX: usize = 5;
const STEPS_MAX: usize = 120;
const ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

/// One input: its bytes are the choices, in order; see [`Choices`].
pub fn run(data: &[u8]) {
    let mut choices = Choices(data);
    let facet = Facet::ALL[choices.pick(Facet::ALL.len(), "facet")];
    let mut world = World::new(facet);
    for _ in 0..STEPS_MAX {
        if choices.are_over() {
            break;
        }
        world.step(&mut choices);
    }
    world.settle(&mut choices);
}

/// Everything that is up to chance, fed by bytes. When they are over, every choice is the first.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    /// One of `n`, of which there are at most 256. The label says what is chosen, for whoever debugs.
    fn pick(&mut self, n: usize, _label: &str) -> usize {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*byte) % n.max(1)
    }

    fn are_over(&self) -> bool {
        self.0.is_empty()
    }

    fn text(&mut self, label: &str) -> String {
        const PIECES: &[&str] = &["", "a", "bc", "é", "👍🏽", "def", "\n", "longer text"];
        PIECES[self.pick(PIECES.len(), label)].to_owned()
    }

    fn user(&mut self) -> UserId {
        let name = ["ada", "bob", "eve"][self.pick(3, "user")];
        UserId::new(name).expect("a plain name")
    }

    /// Few ids, so that they meet.
    fn id(&mut self) -> Ulid {
        let n = self.pick(6, "id") as u64 + 1;
        Ulid::new(Timestamp(n), u128::from(n))
    }
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
        let command = match self.facet {
            Facet::Post => Command::Post(post(choices)),
            Facet::Likes => Command::Likes(self.like(choices)),
            Facet::Comments => Command::Comments(self.comment(choices)),
            Facet::Json => Command::Json(json(choices)),
        };
        assert_eq!(command.facet(), self.facet);
        let replica = &mut self.replicas[at];
        for piece in command.split(&replica.doc) {
            let mut tx = replica.doc.transaction_log_patches(PatchLog::active()).expect("an open document");
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

    fn like(&mut self, choices: &mut Choices<'_>) -> LikesCommand {
        let target = match choices.pick(2, "target") {
            0 => Target::Post,
            _ => Target::Comment(choices.id()),
        };
        let reaction = ["like", "👍🏽"][choices.pick(2, "reaction")].to_owned();
        let user = choices.user();
        let counter = Counter::ALL[choices.pick(2, "counter")];
        match choices.pick(5, "like") {
            0..=2 => {
                let at = Ulid::new(Timestamp(self.ticks), u128::from(self.ticks));
                LikesCommand::Like { target, reaction, user, at }
            }
            3 => LikesCommand::Unlike { target, reaction, user },
            _ => LikesCommand::Count { counter, by: choices.pick(9, "by") as i64 - 4 },
        }
    }

    fn comment(&mut self, choices: &mut Choices<'_>) -> CommentsCommand {
        let (id, now) = (choices.id(), Timestamp(self.ticks));
        match choices.pick(4, "comment") {
            0 | 1 => CommentsCommand::Add {
                id,
                author: choices.user(),
                parent: (choices.pick(2, "reply") == 1).then(|| choices.id()),
                created: now,
                body: choices.text("body"),
            },
            2 => CommentsCommand::Edit { id, body: choices.text("body"), edited: now },
            _ => CommentsCommand::Delete { id, at: now },
        }
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
        assert!(!events.is_empty() || before == fresh, "nobody was told");
    }
}

fn post(choices: &mut Choices<'_>) -> PostCommand {
    let (index, length) = (choices.pick(16, "index"), choices.pick(5, "length"));
    let field = [TextField::Title, TextField::Body][choices.pick(2, "field")];
    let name = MarkName::ALL[choices.pick(MarkName::ALL.len(), "mark")];
    let tag = ["rust", "crdt"][choices.pick(2, "tag")].to_owned();
    match choices.pick(12, "post") {
        0 | 1 => PostCommand::Create {
            author: choices.user(),
            created: Timestamp(choices.pick(4, "created") as u64),
            title: choices.text("title"),
            body: choices.text("body"),
            tags: vec![tag],
        },
        2..=4 => PostCommand::Splice { field, index, delete: length, insert: choices.text("insert") },
        5 => {
            let value = match name {
                MarkName::Link => MarkValue::Text("https://example.org/".to_owned()),
                MarkName::Bold | MarkName::Italic | MarkName::Code => MarkValue::Flag(true),
            };
            PostCommand::Mark { start: index, end: index + length, name, value }
        }
        6 => PostCommand::Unmark { start: index, end: index + length, name },
        7 => PostCommand::AddTag { tag },
        8 => PostCommand::RemoveTag { tag },
        9 => PostCommand::AddEditor { user: choices.user() },
        10 => PostCommand::RemoveEditor { user: choices.user() },
        _ => {
            let all = [PostStatus::Published, PostStatus::Hidden, PostStatus::Deleted];
            PostCommand::SetStatus { status: all[choices.pick(3, "status")] }
        }
    }
}

fn json(choices: &mut Choices<'_>) -> JsonCommand {
    let path: Vec<PathSegment> = (0..=choices.pick(3, "depth"))
        .map(|_| match choices.pick(5, "segment") {
            0 => 0.into(),
            1 => 1.into(),
            key => PathSegment::from(["a", "b", "c"][key - 2]),
        })
        .collect();
    let value = match choices.pick(6, "value") {
        0 => serde_json::json!(null),
        1 => serde_json::json!(choices.pick(3, "number")),
        2 => serde_json::json!(choices.text("string")),
        3 => serde_json::json!([]),
        4 => serde_json::json!({}),
        _ => serde_json::json!({ "a": [1, "two", { "c": 3.5 }], "b": {} }),
    };
    match choices.pick(8, "json") {
        0 | 1 => JsonCommand::Put { path, value },
        2 => JsonCommand::PutText { path, text: choices.text("text") },
        3 => JsonCommand::PutCounter { path, value: choices.pick(3, "counter") as i64 },
        4 => JsonCommand::Delete { path },
        5 => JsonCommand::Insert { path, index: choices.pick(3, "index"), value },
        6 => JsonCommand::Splice {
            path,
            index: choices.pick(6, "index"),
            delete: choices.pick(3, "delete"),
            insert: choices.text("insert"),
        },
        _ => JsonCommand::Increment { path, by: choices.pick(9, "by") as i64 - 4 },
    }
}
