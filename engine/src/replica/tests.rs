//! A replica against a log that behaves as the server's does: what is pushed is accepted as a
//! prefix, acknowledgements and connections get lost, leases end.

mod leaving_out;
mod undo;

use std::collections::BTreeMap;

use automerge::Change;
use proptest::prelude::*;

use super::*;
use crate::document::{
    CommentsCommand, Counter, LikesCommand, MarkName, MarkValue, PostCommand, Target, TextField,
};
use crate::ids::{Epoch, EpochStart, Facet, Tip, UserId};

/// The server, as far as a replica can tell.
#[derive(Default)]
struct Log {
    changes: Vec<Change>,
    settled: BTreeMap<usize, u64>,
    leases: BTreeMap<usize, u32>,
    /// The logs of the epochs before, and where each went on.
    sealed: Vec<(Vec<Change>, EpochStart)>,
    /// The highest slot of those epochs.
    spent: u32,
}

impl Log {
    /// The lowest slot that nobody holds, at the actor's next seq.
    fn lease(&mut self, client: usize) -> Lease {
        let taken: Vec<u32> = self.leases.values().copied().collect();
        let slot = (self.spent + 1..).find(|slot| !taken.contains(slot)).unwrap();
        self.leases.insert(client, slot);
        let actor = ActorId::leased(9, slot);
        let last = self.changes.iter().filter(|c| c.actor_id().to_bytes() == actor.0).count();
        Lease { actor, next_seq: last as u64 + 1, after: self.changes.len() as u64 }
    }

    fn cursor(&self, epoch: usize, seq: usize) -> Cursor {
        assert!(seq <= self.of(epoch).len());
        let number = 7 + u8::try_from(epoch).unwrap();
        Cursor { epoch: Epoch([number; 16]), seq: seq as u64, tip: Tip([1; 16]) }
    }

    /// The log of an epoch.
    fn of(&self, epoch: usize) -> &[Change] {
        self.sealed.get(epoch).map_or(&self.changes, |(changes, _)| changes)
    }

    /// Ends the epoch.
    fn roll_over(&mut self, address: &Address) {
        let used = self.changes.iter().map(|change| author_of_change(change).slot());
        self.spent = used.chain(self.leases.values().copied()).fold(self.spent, u32::max);
        self.leases.clear();
        let old = std::mem::take(&mut self.changes);
        let encoding = TextEncoding::UnicodeCodePoint;
        let document = genesis::document_with(address, old.clone(), encoding).unwrap();
        let (epoch, at) = (self.cursor(self.sealed.len() + 1, 0).epoch, Timestamp(9));
        let next = crate::document::begin_epoch(address, &document, epoch, at).unwrap();
        self.changes = next.get_changes(&[]).split_off(1);
        let head = ChangeHash(next.get_heads()[0].0);
        self.sealed
            .push((old, EpochStart { cursor: Cursor { epoch, ..self.cursor(0, 0) }, head, at }));
        let begun = self.sealed.len();
        let cursor = self.cursor(begun, self.changes.len());
        self.sealed[begun - 1].1.cursor = cursor;
    }
}

struct Client {
    replica: Replica,
    epoch: usize,
    read: usize,
    pushed: u64,
    ended: Vec<(Ulid, Resolution)>,
}

impl Client {
    fn new(address: &Address, number: u64) -> Self {
        let provisional = ActorId::provisional(number);
        let replica = Replica::new(address.clone(), TextEncoding::UnicodeCodePoint, provisional);
        Self { replica, epoch: 0, read: 0, pushed: 0, ended: Vec::new() }
    }

    fn take(&mut self, outcome: Outcome) {
        self.ended.extend(outcome.ended.into_iter().map(|(p, r)| (p.id, r)));
        let anew = View::read(self.replica.address.facet(), &self.replica.doc);
        assert!(self.replica.view == anew, "the view follows the document");
    }

    fn does(&mut self, number: u64, command: PostCommand) {
        let (now, id) = (Timestamp(number), Ulid::new(Timestamp(number), u128::from(number)));
        let outcome = self.replica.execute(now, id, command.into()).unwrap();
        self.take(outcome);
    }

    fn read_to(&mut self, log: &Log, seq: usize) {
        let fresh = log.of(self.epoch)[self.read..seq].to_vec();
        let outcome = self.replica.accept(fresh, log.cursor(self.epoch, seq)).unwrap();
        self.read = seq;
        self.take(outcome);
    }

    /// Pushes up to `count` commands; the server takes them in, the answer may be lost.
    fn push(&mut self, me: usize, log: &mut Log, count: usize, answered: bool) {
        if self.replica.lease().is_none() || !log.leases.contains_key(&me) {
            return;
        }
        let settled = log.settled.entry(me).or_default();
        let from = *settled;
        for pending in self.replica.pending().filter(|p| p.number > from).take(count) {
            assert_eq!(pending.number, *settled + 1);
            log.changes.push(pending.change.clone());
            *settled += 1;
        }
        let settled = *settled;
        self.pushed = settled;
        if answered {
            let outcome = self.replica.acknowledge(settled);
            self.take(outcome);
        }
    }

    /// Reads the epochs that have ended to their ends.
    fn enter_present_epoch(&mut self, me: usize, log: &Log) {
        while self.epoch < log.sealed.len() {
            let outcome = self.replica.reconcile(log.settled.get(&me).copied().unwrap_or(0));
            self.take(outcome);
            self.read_to(log, log.of(self.epoch).len());
            let shown = self.replica.view.clone();
            let start = log.sealed[self.epoch].1;
            let outcome = self.replica.roll_over(start).unwrap().expect("the same beginning");
            let told = !outcome.events.is_empty();
            assert!(
                told || shown.diff(&self.replica.view).is_empty(),
                "a new epoch shows the same"
            );
            self.take(outcome);
            self.epoch += 1;
            self.read = usize::try_from(start.cursor.seq).unwrap();
        }
    }

    /// A new connection after the lease ran out.
    fn come_back(&mut self, me: usize, log: &mut Log) {
        self.enter_present_epoch(me, log);
        log.leases.remove(&me);
        let shown = self.replica.view.clone();
        let mut outcome = self.replica.reconcile(log.settled.get(&me).copied().unwrap_or(0));
        let more = self.replica.fall_back().unwrap();
        outcome.ended.extend(more.ended);
        let told = !more.events.is_empty();
        self.take(outcome);
        assert!(told || shown.diff(&self.replica.view).is_empty(), "falling back shows the same");
    }

    fn adopt(&mut self, me: usize, log: &mut Log) {
        self.enter_present_epoch(me, log);
        if self.replica.lease().is_some() {
            return;
        }
        self.read_to(log, log.changes.len());
        let lease = log.lease(me);
        let shown = self.replica.view.clone();
        let outcome = self.replica.adopt(lease).unwrap();
        let told = !outcome.events.is_empty();
        self.take(outcome);
        assert!(told || shown.diff(&self.replica.view).is_empty(), "writing down shows the same");
    }

    /// A new process on the same store.
    fn restart(&mut self) {
        let stored = Stored {
            base: None,
            tail: Vec::new(),
            cursor: self.replica.cursor,
            settled: self.replica.settled,
            proof: None,
            outbox: self.replica.pending().cloned().collect(),
        };
        let heads: Vec<_> =
            self.replica.accepted_heads.iter().map(|h| automerge::ChangeHash(h.0)).collect();
        let base = self.replica.doc.fork_at(&heads).unwrap();
        let stored = Stored { base: Some(base.save()), ..stored };
        let loaded = Replica::load(
            self.replica.address.clone(),
            TextEncoding::UnicodeCodePoint,
            ActorId::provisional(self.read as u64 + 1_000),
            stored,
        )
        .unwrap();
        assert_eq!(loaded.view, self.replica.view, "a restart shows the same");
        self.replica = loaded;
    }
}

fn command(
    facet: Facet,
    who: u64,
    number: u64,
    a: usize,
    b: usize,
    view: &View,
) -> Option<Command> {
    let user = UserId::new(&format!("user{who}")).unwrap();
    Some(match (facet, view) {
        (Facet::Post, View::Post(view)) => {
            let length = view.body().chars().count();
            let index = a % (length + 1);
            Command::Post(PostCommand::Splice {
                field: TextField::Body,
                index,
                delete: (b % 4).min(length - index),
                insert: "abcdefg"[..1 + b % 7].to_owned(),
            })
        }
        (Facet::Likes, View::Likes(_)) => {
            let (target, reaction) = (Target::Post, ["like", "wow"][a % 2].to_owned());
            if b.is_multiple_of(3) {
                Command::Likes(LikesCommand::Unlike { target, reaction, user })
            } else {
                let at = Ulid::new(Timestamp(number), who.into());
                Command::Likes(LikesCommand::Like { target, reaction, user, at })
            }
        }
        (Facet::Comments, View::Comments(view)) => {
            let id = view.thread().nth(a % (view.thread().count() + 1)).map(|(_, id, _)| id);
            match (b % 4, id) {
                (0, Some(id)) => Command::Comments(CommentsCommand::Edit {
                    id,
                    body: format!("edited {number}"),
                    edited: Timestamp(number),
                }),
                (1, Some(id)) => {
                    Command::Comments(CommentsCommand::Delete { id, at: Timestamp(number) })
                }
                (_, parent) => Command::Comments(CommentsCommand::Add {
                    id: Ulid::new(Timestamp(number), u128::from(who)),
                    author: user,
                    parent,
                    created: Timestamp(number),
                    body: format!("comment {number}"),
                }),
            }
        }
        _ => return None,
    })
}

/// Plays random days, ends them in peace, and checks that everyone then has the same, and each
/// command exactly one end.
fn play(facet: Facet, steps: &[(u8, u8, u16, u16)]) {
    let address = Address::new("test", "play", facet).unwrap();
    let mut log = Log::default();
    let mut clients: Vec<Client> = (0..3).map(|n| Client::new(&address, n)).collect();
    let mut issued: Vec<Vec<Ulid>> = vec![Vec::new(); clients.len()];
    for (number, (who, what, a, b)) in steps.iter().enumerate() {
        let me = usize::from(*who) % clients.len();
        let (a, b) = (usize::from(*a), usize::from(*b));
        let client = &mut clients[me];
        match what % 9 {
            8 if log.sealed.len() < 5 => log.roll_over(&address),
            0..=2 => {
                let at = number as u64 + 1;
                let Some(command) = command(facet, me as u64, at, a, b, client.replica.view())
                else {
                    continue;
                };
                let id = Ulid::new(Timestamp(at), me as u128);
                let before = client.replica.pending().len();
                if let Ok(outcome) = client.replica.execute(Timestamp(at), id, command) {
                    if client.replica.pending().len() > before {
                        issued[me].push(id);
                    }
                    client.take(outcome);
                }
            }
            3 => client.push(me, &mut log, 1 + a % 4, b.is_multiple_of(2)),
            4 => {
                let to = client.read + a % (log.of(client.epoch).len() - client.read + 1);
                client.read_to(&log, to);
            }
            5 => client.come_back(me, &mut log),
            6 => client.adopt(me, &mut log),
            _ => client.restart(),
        }
    }
    for (me, client) in clients.iter_mut().enumerate() {
        client.come_back(me, &mut log);
        client.adopt(me, &mut log);
        client.push(me, &mut log, usize::MAX, true);
    }
    for (me, client) in clients.iter_mut().enumerate() {
        client.read_to(&log, log.changes.len());
        assert_eq!(client.replica.pending().len(), 0);
        let mut ended: Vec<Ulid> = client.ended.iter().map(|(id, _)| *id).collect();
        ended.sort();
        issued[me].sort();
        assert_eq!(ended, issued[me], "every command of client {me} ends exactly once");
    }
    let views: Vec<&View> = clients.iter().map(|c| c.replica.view()).collect();
    assert_eq!(views[0], views[1]);
    assert_eq!(views[0], views[2]);
    let mut seen = BTreeSet::new();
    let sealed = log.sealed.iter().flat_map(|(changes, _)| changes);
    for change in sealed.chain(&log.changes) {
        assert!(seen.insert((change.actor_id().clone(), change.seq())), "an actor's seq is unique");
        assert!(!ActorId::is_provisional(author_of_change(change)), "nothing provisional travels");
    }
}

/// The body's text and marks after some edits, of which the server refuses one.
fn after_refusal(edits: &[PostCommand], refused: u64) -> View {
    let address = Address::new("test", "refusal", Facet::Post).unwrap();
    let mut log = Log::default();
    let mut client = Client::new(&address, 1);
    client.read_to(&log, 0);
    let lease = log.lease(0);
    client.replica.adopt(lease).unwrap();
    for (number, edit) in edits.iter().enumerate() {
        let id = Ulid::new(Timestamp(number as u64 + 1), 1);
        let now = Timestamp(1);
        let outcome = client.replica.execute(now, id, Command::Post(edit.clone())).unwrap();
        client.take(outcome);
    }
    let outcome = client.replica.refuse(refused, Code::Forbidden, "no").unwrap();
    client.take(outcome);
    client.replica.view.clone()
}

fn create(body: &str) -> PostCommand {
    PostCommand::Create {
        author: UserId::new("ada").unwrap(),
        created: Timestamp(1),
        title: "Title".to_owned(),
        body: body.to_owned(),
        tags: Vec::new(),
    }
}

fn splice(index: usize, delete: usize, insert: &str) -> PostCommand {
    PostCommand::Splice { field: TextField::Body, index, delete, insert: insert.to_owned() }
}

fn mark(start: usize, end: usize, name: MarkName) -> PostCommand {
    PostCommand::Mark { start, end, name, value: MarkValue::Flag(true) }
}

#[test]
fn leaving_a_refused_edit_out_equals_never_having_made_it() {
    let bold = mark(2, 8, MarkName::Bold);
    let italic = mark(2, 8, MarkName::Italic);
    // Each case: the edits, which is refused (from 1), and the edits that show the same without it.
    let cases = [
        (
            vec![create("hello world"), splice(0, 0, ">> "), splice(14, 0, "!")],
            2,
            vec![create("hello world"), splice(11, 0, "!")],
        ),
        (
            vec![create("hello world"), splice(0, 6, ""), splice(5, 0, "!")],
            2,
            vec![create("hello world"), splice(11, 0, "!")],
        ),
        (
            vec![create("hello world"), bold.clone(), italic.clone(), splice(4, 3, "")],
            4,
            vec![create("hello world"), bold.clone(), italic.clone()],
        ),
        (vec![create("hello world"), bold.clone(), italic], 3, vec![create("hello world"), bold]),
    ];
    for (number, (edits, refused, without)) in cases.into_iter().enumerate() {
        // A refusal of the number after the last one refuses nothing.
        let expected = after_refusal(&without, without.len() as u64 + 1);
        let found = after_refusal(&edits, refused);
        assert!(found.diff(&expected).is_empty(), "case {number}: {:?}", found.diff(&expected));
    }
}

/// Another copy of a replica, as a copied store makes it.
fn copy(client: &Client) -> Client {
    let outbox: Vec<Pending> = client.replica.pending().cloned().collect();
    let cursor = client.replica.cursor;
    let stored = Stored { cursor, settled: client.replica.settled, outbox, ..Stored::default() };
    let (address, encoding) = (client.replica.address.clone(), TextEncoding::UnicodeCodePoint);
    let replica = Replica::load(address, encoding, ActorId::provisional(77), stored).unwrap();
    Client {
        replica,
        epoch: client.epoch,
        read: client.read,
        pushed: client.pushed,
        ended: Vec::new(),
    }
}

#[test]
fn what_another_copy_has_brought_into_the_log_is_not_made_again_ak4() {
    let count = Command::Likes(LikesCommand::Count { counter: Counter::Shares, by: 1 });
    let say = |number: u64| Ulid::new(Timestamp(number), 1);
    let address = Address::new("test", "copies", Facet::Likes).unwrap();
    let mut log = Log::default();
    let mut one = Client::new(&address, 1);
    // Twice the same at the same time, and once more later.
    for (number, at) in [(1, 10), (2, 10), (3, 11)] {
        let outcome = one.replica.execute(Timestamp(at), say(number), count.clone()).unwrap();
        one.take(outcome);
    }
    let mut other = copy(&one);
    for number in 4..=5 {
        let outcome = one.replica.execute(Timestamp(20), say(number), count.clone()).unwrap();
        one.take(outcome);
        let later = Timestamp(21);
        let outcome = other.replica.execute(later, say(number + 10), count.clone()).unwrap();
        other.take(outcome);
    }
    one.adopt(0, &mut log);
    one.push(0, &mut log, 2, true);
    let heads: Vec<ChangeHash> = other.replica.accepted_heads().collect();
    let outcome = other.replica.fall_back().unwrap();
    other.take(outcome);
    other.read_to(&log, log.changes.len());
    let outcome = other.replica.renumber(&heads).unwrap();
    other.take(outcome);
    let confirmed = |number| (say(number), Resolution::Confirmed);
    assert_eq!(other.ended, [confirmed(1), confirmed(2)]);
    let left: Vec<(u64, Ulid)> = other.replica.pending().map(|p| (p.number, p.id)).collect();
    assert_eq!(left, [(1, say(3)), (2, say(14)), (3, say(15))]);
    let View::Likes(view) = other.replica.view() else { panic!("likes") };
    assert_eq!(view.counter(Counter::Shares), 5, "each once");
}

#[test]
fn what_the_server_lost_and_does_not_take_back_is_let_go_of_rs4() {
    let address = Address::new("town", "square", Facet::Post).unwrap();
    let (mut ada, mut log) = (Client::new(&address, 1), Log::default());
    ada.adopt(0, &mut log);
    for (number, command) in (1..).zip([create("kept"), splice(4, 0, " and lost")]) {
        ada.does(number, command);
    }
    ada.push(0, &mut log, 2, true);
    ada.read_to(&log, 2);
    ada.does(3, splice(0, 0, "un"));
    log.changes.truncate(1);
    log.settled.insert(0, 1);

    let outcome = ada.replica.reconcile(1);
    ada.take(outcome);
    let outcome = ada.replica.fall_back().unwrap();
    ada.take(outcome);
    let outcome = ada.replica.start_over(None, log.cursor(0, 0)).unwrap();
    ada.take(outcome);
    ada.read = 0;
    ada.read_to(&log, 1);
    assert_eq!(ada.replica.missing_at_server().len(), 1);
    let outcome = ada.replica.drop_missing().unwrap();
    ada.take(outcome);
    assert!(ada.replica.missing_at_server().is_empty() && !ada.replica.is_starting_over());
    let View::Post(post) = ada.replica.view() else { panic!("a post") };
    assert_eq!(post.body(), "unkept");
    assert_eq!(ada.replica.unsettled(), 1);
}

#[test]
fn what_is_acknowledged_while_a_snapshot_comes_is_not_missing_rs1() {
    let address = Address::new("town", "square", Facet::Post).unwrap();
    let (mut ada, mut log) = (Client::new(&address, 1), Log::default());
    ada.adopt(0, &mut log);
    ada.does(1, create("kept"));
    ada.push(0, &mut log, 1, true);
    ada.does(2, splice(4, 0, " and pushed again"));
    let encoding = TextEncoding::UnicodeCodePoint;
    let snapshot = genesis::document_with(&address, log.changes.clone(), encoding).unwrap().save();

    // The server has begun a new term, and answers what it gets again before the snapshot has come.
    let outcome = ada.replica.reconcile(1);
    ada.take(outcome);
    ada.replica.lapse();
    log.changes.push(ada.replica.pending().last().unwrap().change.clone());
    let outcome = ada.replica.acknowledge(2);
    ada.take(outcome);
    let outcome = ada.replica.start_over(Some(&snapshot), log.cursor(0, 1)).unwrap();
    ada.take(outcome);
    assert!(ada.replica.missing_at_server().is_empty(), "the log brings it");
    ada.replica.finish_starting_over();
    ada.read = 1;
    ada.read_to(&log, 2);
    let View::Post(post) = ada.replica.view() else { panic!("a post") };
    assert_eq!(post.body(), "kept and pushed again");
}

#[test]
fn an_actor_and_seq_name_one_change_also_after_a_loss_rs4() {
    let address = Address::new("town", "square", Facet::Post).unwrap();
    let (mut ada, mut log) = (Client::new(&address, 1), Log::default());
    let mut bob = Client::new(&address, 2);
    ada.adopt(0, &mut log);
    for (number, command) in (1..).zip([create("kept"), splice(4, 0, " and lost")]) {
        ada.does(number, command);
    }
    ada.push(0, &mut log, 2, true);
    ada.read_to(&log, 2);
    bob.read_to(&log, 2);
    let was = log.changes[1].clone();
    ada.does(3, splice(0, 0, "un"));
    log.changes.truncate(1);
    log.settled.insert(0, 1);

    let outcome = ada.replica.reconcile(1);
    ada.take(outcome);
    // As the session does where the server began a new term.
    ada.replica.lapse();
    let outcome = ada.replica.start_over(None, log.cursor(0, 0)).unwrap();
    ada.take(outcome);
    ada.read = 0;
    ada.read_to(&log, 1);
    let outcome = ada.replica.drop_missing().unwrap();
    ada.take(outcome);
    let now = ada.replica.pending().next().unwrap().change.clone();
    // It comes to bob, who still has what it replaced.
    log.changes.push(now.clone());
    bob.replica.start_over(None, log.cursor(0, 0)).unwrap();
    bob.read = 0;
    let bobs = bob.replica.accept(log.changes.clone(), log.cursor(0, 2));
    assert!(bobs.is_ok(), "{:?}", bobs.err());
    assert!(
        (was.actor_id(), was.seq()) != (now.actor_id(), now.seq()) || was.hash() == now.hash(),
        "{:?} {} names two changes",
        was.actor_id(),
        was.seq()
    );
}

#[test]
fn what_stands_in_the_place_of_another_change_is_let_go_of_rs4() {
    let address = Address::new("town", "square", Facet::Post).unwrap();
    // Two pasts of one log, in which the same actor wrote something else.
    let past = |second: PostCommand| {
        let (mut ada, mut log) = (Client::new(&address, 1), Log::default());
        ada.adopt(0, &mut log);
        ada.does(1, create("first"));
        ada.does(2, second);
        ada.push(0, &mut log, 2, true);
        log
    };
    let (lost, log) = (past(splice(5, 0, " lost")), past(splice(0, 0, "the ")));
    let same = |at: usize| lost.changes[at].hash() == log.changes[at].hash();
    assert!(same(0) && !same(1) && lost.changes[1].seq() == log.changes[1].seq());
    let mut bob = Client::new(&address, 2);
    bob.read_to(&lost, 2);
    bob.does(7, PostCommand::AddTag { tag: "pending".to_owned() });
    let outcome = bob.replica.start_over(None, log.cursor(0, 0)).unwrap();
    bob.take(outcome);
    bob.read = 0;
    bob.read_to(&log, 2);
    assert!(bob.replica.missing_at_server().is_empty());
    let View::Post(post) = bob.replica.view() else { panic!("a post") };
    assert_eq!((post.body(), bob.replica.unsettled()), ("the first", 1));
    // Also where it comes as a snapshot.
    let mut eve = Client::new(&address, 3);
    eve.read_to(&lost, 2);
    let snapshot =
        genesis::document_with(&address, log.changes.clone(), TextEncoding::UnicodeCodePoint);
    let snapshot = snapshot.unwrap().save();
    let outcome = eve.replica.start_over(Some(&snapshot), log.cursor(0, 2)).unwrap();
    eve.take(outcome);
    let View::Post(post) = eve.replica.view() else { panic!("a post") };
    assert_eq!(post.body(), "the first");
}

fn author_of_change(change: &Change) -> ActorId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(change.actor_id().to_bytes());
    ActorId(bytes)
}

fn steps() -> impl Strategy<Value = Vec<(u8, u8, u16, u16)>> {
    proptest::collection::vec(any::<(u8, u8, u16, u16)>(), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn text_survives_lost_leases_lost_answers_and_restarts(steps in steps()) {
        play(Facet::Post, &steps);
    }

    #[test]
    fn likes_survive_lost_leases_lost_answers_and_restarts(steps in steps()) {
        play(Facet::Likes, &steps);
    }

    #[test]
    fn comments_survive_lost_leases_lost_answers_and_restarts(steps in steps()) {
        play(Facet::Comments, &steps);
    }
}
