//! Races between those who use one document, by name and over real sockets: many like at once, frames
//! come in an order that nobody expects, work is done on what others have changed meanwhile, and a
//! session comes back before it was gone. Whatever is first, each thing happens once and all agree.
//!
//! Of the same kind, elsewhere: likes from two devices and like against unlike made offline
//! (`apart.rs`), a thousand users who come and go (`crowd.rs`), acknowledgements that are cut off and
//! networks that break in mid-push (`returning.rs`), frames before `Hello` and after `Bye`
//! (`hostile.rs`), a second subscription and a handle that was given back (`manners.rs`).

use automerge::ChangeHash;
use syncline_client::engine::codes::Code;
use syncline_client::engine::document::{Counter, Target, TextField, View};
use syncline_client::engine::session::Resolution;
use syncline_client::{Client, Likes};
use syncline_engine::ids::Address;
use syncline_engine::wire::frame::{
    Ping, Release, RequestLease, Subscribe, Subscribed, Unsubscribe, WireLease,
};
use syncline_engine::wire::{CloseCode, ServerFrame};
use syncline_tests::raw::{RawDocument, hello};
use tempfile::tempdir;

use crate::support::{
    Proxy, RawClient, ServerProcess, agree, confirmed, fresh_id, join, join_stored, like_a_comment,
    shows, synced, user, within,
};

async fn likes_of(client: &Client) -> Likes {
    within(client.likes("town", "square")).await.expect("it opens")
}

async fn counted(likes: &Likes, expected: usize) {
    let right = |view: &View| matches!(view, View::Likes(view) if view.count(Target::Post, "like") == expected);
    shows(likes.document(), right).await;
}

const USERS: usize = 8;
const DEVICES: usize = 3;

#[tokio::test]
async fn simultaneous_likes_of_one_post_count_each_user_once_whatever_their_devices() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let mut devices = Vec::new();
    for n in 0..USERS * DEVICES {
        let client = join(&server.url(), &format!("user{}", n % USERS)).await;
        let likes = likes_of(&client).await;
        within(likes.document().live()).await.expect("in sync");
        devices.push((client, likes));
    }
    for (round, expected) in [(1, USERS), (2, 0), (3, USERS)] {
        // Nobody waits in between, so that nobody has heard of any other.
        let act = |(_, likes): &(Client, Likes)| match expected {
            0 => likes.unlike(Target::Post, "like").expect("taken"),
            _ => likes.like(Target::Post, "like").expect("taken"),
        };
        let pending: Vec<_> = devices.iter().map(act).collect();
        for pending in pending {
            // Who comes second with an unlike, or is rebased over the other's, does nothing more.
            let end = within(pending).await;
            let fits = matches!(end, Ok(Resolution::Confirmed | Resolution::NoEffect));
            assert!(fits, "round {round}: {end:?}");
        }
        for (_, likes) in &devices {
            counted(likes, expected).await;
        }
        let fresh = join(&server.url(), "carol").await;
        let seen = likes_of(&fresh).await;
        within(seen.document().live()).await.expect("in sync");
        assert_eq!(seen.count(Target::Post, "like"), expected, "round {round}");
        for (client, likes) in &devices {
            agree(seen.document(), likes.document()).await;
            assert_eq!(seen.contains(Target::Post, "like", client.user()), expected > 0);
        }
        fresh.close().await;
    }
}

/// Somebody with a document open for writing, who pushes what and when a test says.
struct Teller {
    client: RawClient,
    place: Address,
    outbox: [u8; 16],
    opened: Subscribed,
    lease: WireLease,
    document: RawDocument,
}

impl Teller {
    async fn begin(server: &ServerProcess, place: &Address) -> Self {
        let mut client = RawClient::hello(&server.url(), "ada", fresh_id(), 1).await;
        let outbox = fresh_id();
        let opened = client.subscribe(place, outbox, true).await;
        let lease = opened.lease.expect("a lease was asked for");
        let document = RawDocument::new(place);
        Self { client, place: place.clone(), outbox, opened, lease, document }
    }

    fn write(&mut self, count: usize) -> Vec<automerge::Change> {
        let commands: Vec<_> = (0..count).map(|_| like_a_comment("ada")).collect();
        self.document.write(&self.lease, &commands)
    }

    async fn push(&mut self, first: u64, changes: &[automerge::Change]) {
        self.client.push(self.opened.handle, first, changes).await;
    }

    /// Until the server has answered everything before this: what it said of pushes and leases.
    async fn answers(&mut self) -> Answers {
        self.client.say(Ping { nonce: 1 }).await;
        let mut answers = Answers::default();
        loop {
            match self.client.hear().await {
                ServerFrame::Pong(_) => return answers,
                frame => answers.note(&frame),
            }
        }
    }

    /// Gets another lease, and gives up on what was not answered.
    async fn leased_again(&mut self) {
        self.client.say(RequestLease { handle: self.opened.handle }).await;
        self.lease = self
            .client
            .hear_until(|frame| match frame {
                ServerFrame::Leased(leased) => Some(leased.lease),
                _ => None,
            })
            .await;
    }

    async fn refused(&mut self, number: u64) -> Code {
        let reject = self
            .client
            .hear_until(|frame| match frame {
                ServerFrame::Reject(reject) => Some(reject),
                _ => None,
            })
            .await;
        assert_eq!(reject.number, number, "{reject:?}");
        Code::from_number(reject.code).expect("a known code")
    }

    /// The log is exactly this, as somebody new reads it.
    async fn ends(mut self, server: &ServerProcess, log: &[automerge::Change]) {
        let opened = self.client.subscribe(&self.place, self.outbox, false).await;
        let mut reader = RawClient::hello(&server.url(), "bob", fresh_id(), 1).await;
        let his = reader.subscribe(&self.place, fresh_id(), false).await;
        let read = reader.read(&self.place, &his).await;
        let expected: Vec<ChangeHash> = log.iter().map(automerge::Change::hash).collect();
        assert_eq!(read.hashes, expected);
        assert_eq!(opened.end_seq, read.seq());
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Answers {
    acked: Vec<u64>,
    rejected: Vec<(u64, u16)>,
    errors: Vec<u16>,
    leased: Vec<WireLease>,
    settled: Vec<u64>,
}

impl Answers {
    fn note(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Ack(ack) => self.acked.push(ack.number),
            ServerFrame::Reject(reject) => self.rejected.push((reject.number, reject.code)),
            ServerFrame::Error(error) => self.errors.push(error.code),
            ServerFrame::Leased(leased) => self.leased.push(leased.lease),
            ServerFrame::Subscribed(opened) => self.settled.push(opened.settled),
            _ => {}
        }
    }
}

fn place() -> Address {
    "town/square/likes".parse().expect("an address")
}

#[tokio::test]
async fn a_push_of_number_two_before_one_settles_both_and_one_with_a_gap_is_refused_pu3() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let mut ada = Teller::begin(&server, &place()).await;
    let changes = ada.write(4);
    // Under a new lease the first number may be any, and settles those before it.
    ada.push(2, &changes[..1]).await;
    ada.push(1, &changes[1..2]).await;
    ada.client.acked(ada.opened.handle, 2).await;
    // The third is on its way when the fifth comes.
    ada.push(5, &changes[2..3]).await;
    assert_eq!(ada.refused(5).await, Code::NumberGap);
    // What comes under the lease that ended by that is passed over.
    ada.push(3, &changes[1..2]).await;
    assert_eq!(ada.answers().await, Answers::default());
    ada.leased_again().await;
    ada.push(3, &changes[1..3]).await;
    ada.client.acked(ada.opened.handle, 4).await;
    // Late copies of everything.
    for first in [1, 3, 2] {
        ada.push(first, &changes[1..2]).await;
    }
    let answers = ada.answers().await;
    assert_eq!((answers.acked, answers.rejected, answers.errors), (vec![4; 3], vec![], vec![]));
    ada.ends(&server, &changes[..3]).await;
}

#[tokio::test]
async fn a_push_before_a_lease_is_refused_and_taken_once_there_is_one_le1_pu2() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    // Somebody else's lease makes no difference.
    let other = Teller::begin(&server, &place()).await;
    let mut client = RawClient::hello(&server.url(), "ada", fresh_id(), 1).await;
    let outbox = fresh_id();
    let opened = client.subscribe(&place(), outbox, false).await;
    assert_eq!(opened.lease, None);
    let (lease, document) = (other.lease, RawDocument::new(&place()));
    let mut ada = Teller { client, place: place(), outbox, opened, lease, document };
    let stolen = ada.write(1);
    ada.push(1, &stolen).await;
    assert_eq!(ada.refused(1).await, Code::LeaseLost);
    // The request is behind a push that is passed over, and before one that is not.
    ada.push(1, &stolen).await;
    ada.leased_again().await;
    assert_ne!(ada.lease.actor, lease.actor);
    ada.document = RawDocument::new(&place());
    let changes = ada.write(2);
    ada.push(1, &changes).await;
    ada.client.acked(ada.opened.handle, 2).await;
    ada.ends(&server, &changes).await;
}

#[tokio::test]
async fn a_push_on_a_handle_that_is_not_open_is_answered_and_changes_nothing_sub7() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let mut ada = Teller::begin(&server, &place()).await;
    let changes = ada.write(3);
    let handle = ada.opened.handle;
    ada.push(1, &changes[..1]).await;
    ada.client.say(Unsubscribe { handle }).await;
    ada.push(2, &changes[1..2]).await;
    ada.client.say(RequestLease { handle }).await;
    ada.client.say(Release { handle }).await;
    let unknown = Code::UnknownHandle.number();
    assert_eq!(ada.answers().await.errors, [unknown; 3]);
    // A handle that another connection uses.
    let mut eve = RawClient::hello(&server.url(), "eve", fresh_id(), 1).await;
    eve.push(handle, 1, &changes[1..2]).await;
    let code = eve
        .hear_until(|frame| match frame {
            ServerFrame::Error(error) => Some(error.code),
            _ => None,
        })
        .await;
    assert_eq!(code, unknown);
    // What was pushed in time is in the log; the rest is sent again.
    let again = ada.client.subscribe(&place(), ada.outbox, true).await;
    assert_eq!((again.settled, again.end_seq), (1, 1));
    let lease = again.lease.expect("a lease was asked for");
    ada.opened = again;
    assert_eq!((lease.actor, lease.next_seq), (ada.lease.actor, 2), "its own slot");
    ada.push(2, &changes[1..]).await;
    ada.client.acked(ada.opened.handle, 3).await;
    ada.ends(&server, &changes).await;
}

#[tokio::test]
async fn a_lease_asked_for_or_given_back_between_pushes_loses_nothing_le5_le6() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let mut ada = Teller::begin(&server, &place()).await;
    let mut changes = ada.write(8);
    let handle = ada.opened.handle;
    for (first, change) in (1_u64..).zip(&changes) {
        ada.client.say(RequestLease { handle }).await;
        ada.client.push(handle, first, std::slice::from_ref(change)).await;
    }
    ada.client.acked(handle, 8).await;
    // Given back with pushes on both sides of it: the second has no lease.
    let before = ada.write(1);
    let after = ada.write(1);
    ada.push(9, &before).await;
    ada.client.say(Release { handle }).await;
    ada.push(10, &after).await;
    changes.extend(before);
    ada.leased_again().await;
    let opened = ada.client.subscribe(&place(), ada.outbox, true).await;
    assert_eq!((opened.settled, opened.end_seq), (9, 9), "the tenth was passed over");
    ada.document = ada.client.read(&place(), &opened).await;
    ada.lease = opened.lease.expect("a lease was asked for");
    ada.opened = opened;
    let last = ada.write(1);
    ada.push(10, &last).await;
    ada.client.acked(handle, 10).await;
    changes.extend(last);
    ada.ends(&server, &changes).await;
}

#[tokio::test]
async fn subscriptions_with_pushes_in_between_take_each_number_once_sub2_sub7() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let mut ada = Teller::begin(&server, &place()).await;
    let changes = ada.write(20);
    let (outbox, handle) = (ada.outbox, ada.opened.handle);
    for (first, change) in (1_u64..).zip(&changes) {
        let address = place().to_string();
        ada.client.say(Subscribe { address, cursor: None, outbox, write: true }).await;
        ada.client.push(handle, first, std::slice::from_ref(change)).await;
    }
    // A subscription is answered when what was pushed before it is durable; until then a push is on
    // a handle that is not open. Where the disk was slow, a later push comes after one that was lost
    // that way.
    let answers = ada.answers().await;
    assert!(answers.settled.is_sorted() && answers.acked.is_sorted(), "{answers:?}");
    let out_of_turn = Code::WrongSeq.number();
    assert!(answers.rejected.iter().all(|(_, code)| *code == out_of_turn), "{answers:?}");
    let unknown = Code::UnknownHandle.number();
    assert!(answers.errors.iter().all(|code| *code == unknown), "{answers:?}");
    let opened = ada.client.subscribe(&place(), outbox, true).await;
    assert!(opened.settled >= 1, "{opened:?}");
    loop {
        ada.push(1, &changes).await;
        let answered = ada
            .client
            .hear_until(|frame| match frame {
                ServerFrame::Ack(ack) if ack.number == 20 => Some(true),
                ServerFrame::Error(error) => {
                    assert_eq!(error.code, unknown);
                    Some(false)
                }
                _ => None,
            })
            .await;
        if answered {
            break;
        }
    }
    ada.ends(&server, &changes).await;
}

const TIMES: u64 = 30;

#[tokio::test]
async fn a_session_that_comes_back_before_it_was_gone_pushes_each_number_once_hs2_pu3_le4() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let (session, outbox) = (fresh_id(), fresh_id());
    let (mut document, mut changes) = (RawDocument::new(&place()), Vec::new());
    let mut replaced = Vec::new();
    let (mut settled, mut actor) = (0, None);
    for generation in 1..=TIMES {
        let mut client = RawClient::hello(&server.url(), "ada", session, generation).await;
        // The older one says something more meanwhile, which comes too late.
        if let Some(older) = replaced.last_mut() {
            let older: &mut RawClient = older;
            let ping = syncline_engine::wire::ClientFrame::from(Ping { nonce: 1 });
            older.say_bytes(ping.encode().expect("it fits").to_vec()).await;
        }
        let opened = client.subscribe(&place(), outbox, true).await;
        let lease = opened.lease.expect("a lease was asked for");
        assert_eq!(*actor.get_or_insert(lease.actor), lease.actor, "one session, one actor");
        assert!(opened.settled >= settled && opened.settled <= changes.len() as u64);
        assert_eq!(opened.settled, opened.end_seq, "each is in the log once");
        settled = opened.settled;
        // All that is not settled goes again, with two more, and nobody waits for the answer.
        changes.extend(document.write(&lease, &[like_a_comment("ada"), like_a_comment("ada")]));
        let from = usize::try_from(settled).expect("small");
        client.push(opened.handle, settled + 1, &changes[from..]).await;
        replaced.push(client);
    }
    let mut last = replaced.pop().expect("there were some");
    let opened = last.subscribe(&place(), outbox, true).await;
    last.push(opened.handle, 1, &changes).await;
    last.acked(opened.handle, 2 * TIMES).await;
    for mut older in replaced {
        let close = loop {
            if let Err(close) = older.hear_or_close().await {
                break close;
            }
        };
        // A socket into which somebody still spoke may end without a word.
        assert!(close.is_none_or(|code| code == CloseCode::of(Code::Replaced).0), "{close:?}");
    }
    // Who is older than the one that is there is sent away, and disturbs nobody.
    let mut late = RawClient::connect(&server.url()).await;
    late.say(hello("ada", session, TIMES)).await;
    let answer = late.hear().await;
    let ServerFrame::Error(error) = answer else { panic!("{answer:?}") };
    assert_eq!(error.code, Code::Replaced.number());
    let (opened, lease) = (opened.clone(), opened.lease.expect("a lease was asked for"));
    let ada = Teller { client: last, place: place(), outbox, opened, lease, document };
    ada.ends(&server, &changes).await;
    // Were there another session left, it would have kept the lowest slot.
    let mut bob = RawClient::hello(&server.url(), "bob", fresh_id(), 1).await;
    let his = bob.subscribe(&place(), fresh_id(), true).await.lease.expect("a lease");
    let actor = |actor| syncline_engine::ids::ActorId(actor).slot();
    assert!(actor(his.actor) <= 2, "{his:?}");
}

#[tokio::test]
async fn a_client_whose_network_comes_and_goes_in_mid_push_counts_each_share_once_pu3_ak3() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let proxy = Proxy::start(server.port()).await;
    let alice = join_stored(&proxy.url(), "alice", &dir.path().join("alice"), true).await;
    let hers = likes_of(&alice).await;
    within(hers.document().live()).await.expect("in sync");
    let mut shares: i64 = 0;
    for round in 0..12 {
        // Sometimes nothing comes back, so that it leaves with everything open.
        proxy.hold_down(round % 3 == 0);
        let sent = proxy.bytes_up();
        for _ in 0..5 {
            drop(hers.add(Counter::Shares, 1).expect("taken"));
            shares += 1;
        }
        let mut bytes_up = proxy.watch_bytes_up();
        within(bytes_up.wait_for(|bytes| *bytes > sent)).await.expect("the proxy is there");
        alice.set_network(false);
        alice.set_network(true);
        proxy.hold_down(false);
    }
    synced(&alice).await;
    let fresh = join(&server.url(), "carol").await;
    let seen = likes_of(&fresh).await;
    within(seen.document().live()).await.expect("in sync");
    agree(seen.document(), hers.document()).await;
    assert_eq!(
        (seen.share_counter(), seen.document().status().seq),
        (shares, shares.cast_unsigned())
    );
}

#[tokio::test]
async fn an_offline_toggle_of_a_like_that_was_renewed_meanwhile_takes_only_the_old_one_back() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let url = server.url();
    for restarted in [false, true] {
        let (place, store) = (format!("square{restarted}"), dir.path().join(restarted.to_string()));
        let open =
            async |client: &Client| within(client.likes("town", &place)).await.expect("it opens");
        let mut phone = join_stored(&url, "alice", &store, true).await;
        let (laptop, bob) = (join(&url, "alice").await, join(&url, "bob").await);
        let (mut on_phone, on_laptop, his) =
            (open(&phone).await, open(&laptop).await, open(&bob).await);
        confirmed(on_phone.like(Target::Post, "like").expect("taken")).await;
        confirmed(his.like(Target::Post, "like").expect("taken")).await;
        for likes in [&on_phone, &on_laptop, &his] {
            counted(likes, 2).await;
        }
        synced(&phone).await;
        // Offline it writes under the lease that it still holds; started again it has none, and has
        // to write everything anew when it is back.
        phone.set_online(false);
        if restarted {
            drop(on_phone);
            phone.close().await;
            phone = join_stored(&url, "alice", &store, false).await;
            on_phone = open(&phone).await;
        }
        counted(&on_phone, 2).await;
        let stale = on_phone.toggle(Target::Post, "like").expect("taken");
        within(stale.stored()).await.expect("stored");
        counted(&on_phone, 1).await;
        confirmed(on_laptop.toggle(Target::Post, "like").expect("taken")).await;
        confirmed(on_laptop.toggle(Target::Post, "like").expect("taken")).await;
        confirmed(his.toggle(Target::Post, "like").expect("taken")).await;
        phone.set_online(true);
        // The same bytes as ever are confirmed; written anew, nothing would be left of it.
        let end = if restarted { Resolution::NoEffect } else { Resolution::Confirmed };
        assert_eq!(within(stale).await, Ok(end));
        synced(&phone).await;
        let alice = user("alice");
        for likes in [&on_phone, &on_laptop, &his] {
            counted(likes, 1).await;
            assert!(likes.contains(Target::Post, "like", &alice), "the renewed one stays");
            agree(likes.document(), on_phone.document()).await;
        }
    }
}

#[tokio::test]
async fn an_offline_edit_of_a_comment_that_was_edited_or_deleted_meanwhile_harms_neither() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let url = server.url();
    for restarted in [false, true] {
        let (place, store) = (format!("square{restarted}"), dir.path().join(restarted.to_string()));
        let open = async |client: &Client| {
            within(client.comments("town", &place)).await.expect("it opens")
        };
        let mut phone = join_stored(&url, "alice", &store, true).await;
        let laptop = join(&url, "alice").await;
        let (mut on_phone, on_laptop) = (open(&phone).await, open(&laptop).await);
        let (edited, first) = on_phone.add(None, "first").expect("taken");
        let (deleted, second) = on_phone.add(None, "second").expect("taken");
        let (untouched, third) = on_phone.add(None, "third").expect("taken");
        for pending in [first, second, third] {
            confirmed(pending).await;
        }
        synced(&phone).await;
        synced(&laptop).await;
        agree(on_phone.document(), on_laptop.document()).await;
        // Offline it writes under the lease that it still holds; started again it has none, and has
        // to write everything anew when it is back.
        phone.set_online(false);
        if restarted {
            drop(on_phone);
            phone.close().await;
            phone = join_stored(&url, "alice", &store, false).await;
            on_phone = open(&phone).await;
        }
        let mut stale = Vec::new();
        for id in [edited, deleted, untouched] {
            stale.push(on_phone.edit(id, "from the phone").expect("taken"));
        }
        confirmed(on_laptop.edit(edited, "from the laptop").expect("taken")).await;
        confirmed(on_laptop.delete(deleted).expect("taken")).await;
        phone.set_online(true);
        let mut ends = Vec::new();
        for pending in stale {
            ends.push(within(pending).await.expect("it ends"));
        }
        synced(&phone).await;
        agree(on_phone.document(), on_laptop.document()).await;
        let body = |id| on_laptop.with(|v| v.comment(id).map(|comment| comment.body.clone()));
        let shown = body(edited);
        if restarted {
            // Its text is handed back, and does not write over what is newer.
            assert_eq!(ends[0], Resolution::Superseded);
            assert_eq!(shown.as_deref(), Some("from the laptop"));
        } else {
            // At the same time as the other, as it was written: one is shown, the same to all.
            assert_eq!(ends[0], Resolution::Confirmed);
            let known = ["from the laptop", "from the phone"];
            assert!(shown.as_deref().is_some_and(|shown| known.contains(&shown)), "{shown:?}");
        }
        assert_eq!(ends[2], Resolution::Confirmed);
        assert_eq!(body(untouched).as_deref(), Some("from the phone"));
        let gone = on_laptop.with(|v| v.comment(deleted).is_none_or(|c| c.deleted.is_some()));
        assert!(gone, "deleted stays deleted");
    }
}

#[tokio::test]
async fn offline_edits_of_a_text_merge_with_those_of_others_letter_by_letter() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let url = server.url();
    let alice = join_stored(&url, "alice", &dir.path().join("alice"), true).await;
    let bob = join(&url, "bob").await;
    let hers = within(alice.post("town", "square")).await.expect("it opens");
    let his = within(bob.post("town", "square")).await.expect("it opens");
    confirmed(hers.create("title", "one two three", &[]).expect("taken")).await;
    confirmed(hers.add_editor(bob.user()).expect("taken")).await;
    synced(&bob).await;
    agree(hers.document(), his.document()).await;
    alice.set_online(false);
    let body = TextField::Body;
    // "one 2 three" and a tail; against a head, a tail, and a cut into the word that she replaces.
    let mut pending = vec![hers.splice(body, 4, 3, "2").expect("taken")];
    pending.push(hers.splice(body, 11, 0, " four").expect("taken"));
    assert_eq!(hers.body(), "one 2 three four");
    confirmed(his.splice(body, 0, 0, "zero ").expect("taken")).await;
    confirmed(his.splice(body, 10, 2, "").expect("taken")).await;
    confirmed(his.splice(body, his.body().len(), 0, "!").expect("taken")).await;
    assert_eq!(his.body(), "zero one t three!");
    alice.set_online(true);
    for pending in pending {
        confirmed(pending).await;
    }
    synced(&alice).await;
    agree(hers.document(), his.document()).await;
    let merged = hers.body();
    // Both wrote at the end: whose comes first is the same for all, and neither is cut.
    assert!(
        ["zero one 2 three four!", "zero one 2 three! four"].contains(&merged.as_str()),
        "{merged:?}"
    );
    let carol = join(&url, "carol").await;
    let seen = within(carol.post("town", "square")).await.expect("it opens");
    within(seen.document().live()).await.expect("in sync");
    agree(seen.document(), hers.document()).await;
}
