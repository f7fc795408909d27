//! The rules of a space: what they let each do, how they change while everybody is there, and that
//! nothing but rules gets into their document.

use std::sync::Arc;

use automerge::ObjType;

use super::*;
use crate::hub::{AuthenticateError, Authenticator, Credentials};
use crate::policy::{Capabilities, Role};

/// Believes names; `user1` owns every space.
#[derive(Debug)]
pub(super) struct OneOwner;

impl Authenticator for OneOwner {
    fn authenticate(
        &self,
        now: Timestamp,
        claimed: &str,
        token: Option<&str>,
    ) -> Result<Credentials, AuthenticateError> {
        let mut credentials = TakesNames.authenticate(now, claimed, token)?;
        if claimed == "user1" {
            credentials.roles.insert("*".to_owned(), Role::Owner);
        }
        Ok(credentials)
    }
}

pub(super) fn world() -> World {
    let mut world = World::new();
    let identity = world.hub.identity.clone();
    world.hub = Hub::new(world.hub.config, identity).with_authenticator(Arc::new(OneOwner));
    world
}

/// Somebody with the rules open, for writing.
pub(super) struct Keeper {
    pub(super) connection: u64,
    handle: u32,
    doc: AutoCommit,
    number: u64,
    outbox: [u8; 16],
}

impl Keeper {
    pub(super) fn join(world: &mut World, session: u8) -> Self {
        let connection = world.hello(session, 1);
        let outbox = [session; 16];
        let mut keeper = Self { connection, handle: 0, doc: AutoCommit::new(), number: 0, outbox };
        keeper.open(world);
        keeper
    }

    fn open(&mut self, world: &mut World) {
        let address = Address::rules_of("town").unwrap();
        let (name, outbox) = (address.to_string(), self.outbox);
        world.say(self.connection, Subscribe { address: name, cursor: None, outbox, write: true });
        let mut doc = AutoCommit::new();
        doc.apply_changes([genesis::change(&address)]).unwrap();
        let mut actor = None;
        for frame in world.heard(self.connection) {
            match frame {
                ServerFrame::Subscribed(subscribed) => {
                    self.handle = subscribed.handle;
                    actor = subscribed.lease.map(|lease| Writer::from(lease.actor));
                }
                ServerFrame::Changes(changes) => {
                    let raw = changes.entries.iter().map(|e| &e.change.0[..]);
                    doc.apply_changes(raw.map(|raw| Change::try_from(raw).unwrap())).unwrap();
                }
                ServerFrame::SnapshotPart(part) => doc = AutoCommit::load(&part.bytes.0).unwrap(),
                ServerFrame::SettledAs(_) => {}
                other => panic!("{other:?}"),
            }
        }
        self.doc = doc.with_actor(actor.unwrap());
    }

    fn part(&self, name: &str) -> automerge::ObjId {
        self.doc.get(root(&self.doc), name).unwrap().unwrap().1
    }

    /// Writes and hands in; the code of the refusal, if there is one.
    fn edit(&mut self, world: &mut World, write: impl FnOnce(&mut Self)) -> Option<Code> {
        let before = self.doc.save();
        write(self);
        self.doc.commit();
        let change = self.doc.get_last_local_change().unwrap().raw_bytes().to_vec();
        let (handle, first) = (self.handle, self.number + 1);
        world.say(self.connection, Push { handle, first, changes: vec![Blob(change.into())] });
        for frame in world.heard(self.connection) {
            match frame {
                ServerFrame::Ack(_) => self.number += 1,
                ServerFrame::Reject(reject) => {
                    let actor = self.doc.get_actor().clone();
                    self.doc = AutoCommit::load(&before).unwrap().with_actor(actor);
                    world.say(self.connection, RequestLease { handle });
                    world.heard(self.connection);
                    return Code::from_number(reject.code);
                }
                ServerFrame::Error(error) if error.code == Code::RolledOver.number() => {
                    self.open(world);
                }
                _ => {}
            }
        }
        None
    }

    pub(super) fn set(
        &mut self,
        world: &mut World,
        part: &str,
        key: &str,
        value: &str,
    ) -> Option<Code> {
        self.edit(world, |keeper| {
            let part = keeper.part(part);
            keeper.doc.put(part, key, value).unwrap();
        })
    }

    pub(super) fn ban(&mut self, world: &mut World, user: &str, banned: bool) {
        let refused = self.edit(world, |keeper| {
            let part = keeper.part("banned");
            keeper.doc.put(part, user, banned).unwrap();
        });
        assert_eq!(refused, None);
    }
}

#[test]
fn a_changed_rule_takes_effect_at_once_on_who_is_there_pol1_pol2() {
    let mut world = world();
    let mut owner = Keeper::join(&mut world, 1);
    let mut bob = Client::join(&mut world, 2, true);
    let member = Role::Member.capabilities();
    assert_eq!(Capabilities::from_bits(bob.subscribed().may), member);
    bob.edit(&mut world, 1);
    assert_eq!(bob.acked, 1);

    assert_eq!(owner.set(&mut world, "members", "user2", "viewer"), None);
    bob.listen(&mut world);
    match &bob.news()[..] {
        [ServerFrame::May(may)] => {
            assert_eq!(Capabilities::from_bits(may.may), Role::Viewer.capabilities());
        }
        other => panic!("{other:?}"),
    }
    bob.edit(&mut world, 1);
    assert_eq!(bob.rejection(), (2, Code::Forbidden));

    assert_eq!(owner.set(&mut world, "members", "user2", "member"), None);
    bob.listen(&mut world);
    assert!(matches!(bob.news()[..], [ServerFrame::May(_)]));
}

#[test]
fn who_is_banned_is_sent_away_from_every_document_and_comes_back_when_he_may_pol2() {
    let mut world = world();
    let mut owner = Keeper::join(&mut world, 1);
    let mut bob = Client::join(&mut world, 2, true);
    let mut eve = Client::join(&mut world, 3, true);
    bob.news();
    owner.ban(&mut world, "user2", true);
    bob.listen(&mut world);
    match &bob.news()[..] {
        [ServerFrame::Error(error)] => {
            assert_eq!((error.code, error.fatal), (Code::Forbidden.number(), false));
            assert_eq!(error.address.as_deref(), Some(DOC));
        }
        other => panic!("{other:?}"),
    }
    // Nothing reaches him any more, and he cannot come in by asking again.
    eve.edit(&mut world, 1);
    bob.listen(&mut world);
    assert!(bob.news().is_empty());
    bob.subscribe(&mut world, true);
    assert!(
        matches!(&bob.news()[..], [ServerFrame::Error(e)] if e.code == Code::Forbidden.number())
    );
    assert_eq!(world.hub.stats().leases, 2, "the owner's and eve's");

    owner.ban(&mut world, "user2", false);
    bob.subscribe(&mut world, true);
    assert_eq!(bob.seq(), 1);
}

#[test]
fn only_who_manages_a_space_changes_its_rules_and_only_into_rules_pol3() {
    let mut world = world();
    let mut owner = Keeper::join(&mut world, 1);
    let mut bob = Keeper::join(&mut world, 2);
    assert_eq!(bob.set(&mut world, "members", "user2", "owner"), Some(Code::Forbidden));
    for (part, key, value) in [
        ("members", "not a name", "member"),
        ("members", "user2", "Not a role"),
        ("banned", "user2", "yes"),
        ("roles", "member", "everything"),
    ] {
        let refused = owner.set(&mut world, part, key, value);
        assert_eq!(refused, Some(Code::NotInSchema), "{part} {key} {value}");
    }
    let refused = owner.edit(&mut world, |owner| {
        let root = root(&owner.doc);
        owner.doc.put(root, "private", "maybe").unwrap();
    });
    assert_eq!(refused, Some(Code::NotInSchema));
    let refused = owner.edit(&mut world, |owner| {
        let roles = owner.part("roles");
        let may = owner.doc.put_object(roles, "guide", ObjType::List).unwrap();
        owner.doc.insert(&may, 0, "read").unwrap();
        owner.doc.insert(&may, 1, "manage").unwrap();
    });
    assert_eq!(refused, None);
    assert_eq!(owner.set(&mut world, "members", "user2", "guide"), None);

    // It is a document: after a restart it holds, and its second keeper finds it.
    let mut world = world.restarted();
    let mut bob = Keeper::join(&mut world, 2);
    assert_ne!(bob.outbox, owner.outbox);
    assert_eq!(bob.set(&mut world, "members", "user3", "viewer"), None);
}

#[test]
fn strangers_see_nothing_of_a_private_space_pol4() {
    let mut world = world();
    let mut owner = Keeper::join(&mut world, 1);
    let refused = owner.edit(&mut world, |owner| {
        let root = root(&owner.doc);
        owner.doc.put(root, "private", true).unwrap();
    });
    assert_eq!(refused, None);
    let mut bob = Client::join(&mut world, 2, true);
    assert!(
        matches!(&bob.news()[..], [ServerFrame::Error(e)] if e.code == Code::Forbidden.number())
    );
    assert_eq!(owner.set(&mut world, "members", "user2", "viewer"), None);
    bob.subscribe(&mut world, false);
    assert_eq!(bob.subscribed().may, Role::Viewer.capabilities().bits());
}

#[test]
fn who_may_not_read_has_nothing_loaded_for_him() {
    let mut world = world();
    let mut owner = Keeper::join(&mut world, 1);
    owner.ban(&mut world, "user2", true);
    let bob = world.hello(2, 1);
    let (mut gates, mut loads) = (0, 0);
    for n in 0..100_u32 {
        let address = format!("town/x{n}/json");
        let frame = Subscribe { address, cursor: None, outbox: [2; 16], write: true };
        let message = ClientFrame::from(frame).encode().unwrap();
        world.hub.handle(world.now, Input::Received { connection: ConnectionId(bob), message });
        while let Some(effect) = world.hub.poll_effect() {
            gates += u32::from(matches!(effect, Effect::Index { .. }));
            loads += u32::from(matches!(effect, Effect::Load { .. }));
            if let Some(answer) = world.carry_out(effect) {
                world.hub.handle(world.now, answer);
            }
        }
    }
    let documents = world.hub.stats().documents;
    assert_eq!((gates, loads, documents), (0, 0, 1), "gates, loads, documents in memory");
}

#[test]
fn what_was_asked_before_a_second_subscribe_does_not_count() {
    let mut world = world();
    let mut owner = Keeper::join(&mut world, 1);
    let mut bob = Client::join(&mut world, 2, false);
    bob.news();
    let handle = bob.handle;
    // The gate is being opened; the answer is held back.
    let say = |world: &mut World, frame: ClientFrame| {
        let connection = ConnectionId(bob.connection);
        let message = frame.encode().unwrap();
        world.hub.handle(world.now, Input::Received { connection, message });
    };
    say(&mut world, RequestLease { handle }.into());
    let index = world.hub.poll_effect().unwrap();
    assert!(matches!(index, Effect::Index { .. }), "{index:?}");
    let changes = vec![];
    say(&mut world, Restore { handle, proof: None, changes, last: true }.into());
    let address = DOC.to_owned();
    say(&mut world, Subscribe { address, cursor: None, outbox: [2; 16], write: true }.into());
    owner.ban(&mut world, "user2", true);
    let answer = world.read_log(index);
    world.tell(answer);
    let heard = world.heard(bob.connection);
    assert_eq!(heard.len(), 1, "{heard:#?}");
}

#[test]
fn who_gives_up_managing_manages_nothing_more_pol2() {
    let mut world = world();
    let mut owner = Keeper::join(&mut world, 1);
    assert_eq!(owner.set(&mut world, "members", "user2", "owner"), None);
    let mut two = Keeper::join(&mut world, 2);
    let mut changes = vec![];
    for (part, key, value) in [("members", "user2", "viewer"), ("members", "user3", "owner")] {
        let part = two.part(part);
        two.doc.put(part, key, value).unwrap();
        two.doc.commit();
        let raw = two.doc.get_last_local_change().unwrap().raw_bytes().to_vec();
        changes.push(Blob(raw.into()));
    }
    world.say(two.connection, Push { handle: two.handle, first: 1, changes });
    let rejected =
        world.heard(two.connection).into_iter().any(|f| matches!(f, ServerFrame::Reject(_)));
    assert!(rejected, "the second change was judged by the rules before the first");
}

#[test]
fn no_rules_lock_out_who_owns_every_space_pol4() {
    let mut world = world();
    let mut owner = Keeper::join(&mut world, 1);
    let refused = owner.edit(&mut world, |owner| {
        let roles = owner.part("roles");
        owner.doc.put_object(roles, "owner", ObjType::List).unwrap();
    });
    assert_eq!(refused, None);
    owner.ban(&mut world, "user1", true);
    assert_eq!(owner.set(&mut world, "members", "user2", "viewer"), None);
}

#[test]
fn what_nobody_has_written_is_not_kept() {
    let mut world = world();
    let bob = world.hello(2, 1);
    for i in 0..20 {
        let (address, outbox) = (format!("s{i}/x/json"), [2; 16]);
        world.say(bob, Subscribe { address, cursor: None, outbox, write: false });
        for frame in world.heard(bob) {
            if let ServerFrame::Subscribed(opened) = frame {
                world.say(bob, Unsubscribe { handle: opened.handle });
            }
        }
    }
    assert_eq!((world.hub.stats().documents, world.hub.spaces.len()), (0, 0));
}

#[test]
fn rules_have_a_size_of_their_own() {
    let mut world = world();
    let mut owner = Keeper::join(&mut world, 1);
    let mut refused = None;
    for batch in 0..100 {
        refused = owner.edit(&mut world, |owner| {
            let part = owner.part("members");
            for i in 0..400 {
                let name = format!("user-of-some-name-{batch}-{i}");
                owner.doc.put(&part, name, "member").unwrap();
            }
        });
        if refused.is_some() {
            break;
        }
    }
    assert_eq!(refused, Some(Code::DocumentFull));
    // They began anew on the way there, and are still what they were.
    let rules = &world.logs[&Address::rules_of("town").unwrap()];
    assert!(!rules.sealed.is_empty());
    let shown = owner.doc.length(owner.part("members"));
    assert_eq!(world.hub.rules_of("town").unwrap().members.len(), shown);
}
