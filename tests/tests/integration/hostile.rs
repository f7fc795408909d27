//! Whatever somebody sends, it is answered by a code or a close, others go on, and the server stays
//! alive and small.

mod bombs;
mod names;

use std::num::NonZeroU64;

use automerge::{Change, ExpandedChange};
use syncline_engine::codes::Code;
use syncline_engine::ids::Address;
use syncline_engine::limits::{CHANGE_BYTES_MAX, FRAME_BYTES_MAX, PUSH_CHANGES_MAX};
use syncline_engine::wire::frame::{
    Blob, Bye, Ping, Push, RequestLease, Restore, Subscribe, Subscribed, Unsubscribe, WireLease,
};
use syncline_engine::wire::{ClientFrame, CloseCode, ServerFrame};
use syncline_tests::raw::{RawDocument, hello};
use tempfile::{TempDir, tempdir};

use crate::support::{RawClient, ServerProcess, fresh_id, like, like_a_comment};

/// What a server may grow by under all that is done to it here.
const GROWTH_BYTES_MAX: u64 = 96 << 20;

fn address(name: &str) -> Address {
    name.parse().expect("an address")
}

/// A server, and somebody decent who uses it all along.
struct Stage {
    server: ServerProcess,
    good: RawClient,
    document: RawDocument,
    opened: Subscribed,
    written: u64,
    idle_bytes: Option<u64>,
    _dir: TempDir,
}

impl Stage {
    async fn set() -> Self {
        let dir = tempdir().expect("a directory");
        let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
        let mut good = RawClient::hello(&server.url(), "good", fresh_id(), 1).await;
        let address = address("town/square/likes");
        let opened = good.subscribe(&address, fresh_id(), true).await;
        let document = good.read(&address, &opened).await;
        let idle_bytes = server.resident_bytes();
        Self { server, good, document, opened, written: 0, idle_bytes, _dir: dir }
    }

    /// The decent one writes, and is acknowledged.
    async fn others_go_on(&mut self) {
        self.written += 1;
        let lease = self.opened.lease.expect("a lease was asked for");
        let changes = self.document.write(&lease, &[like_a_comment("good")]);
        self.good.push(self.opened.handle, self.written, &changes).await;
        self.good.acked(self.opened.handle, self.written).await;
    }

    async fn hello(&self) -> RawClient {
        RawClient::hello(&self.server.url(), "eve", fresh_id(), 1).await
    }

    /// The end of every test: alive, and not grown.
    async fn ends_unharmed(mut self) {
        self.others_go_on().await;
        assert!(self.server.is_alive());
        if let (Some(idle), Some(grown)) = (self.idle_bytes, self.server.resident_bytes()) {
            assert!(grown < idle + GROWTH_BYTES_MAX, "from {idle} to {grown} bytes");
        }
        let log = self.server.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// What became of a connection: the codes of the errors that were said, and the close.
async fn outcome(client: &mut RawClient) -> (Vec<u16>, Option<u16>) {
    let mut codes = Vec::new();
    loop {
        match client.hear_or_close().await {
            Ok(ServerFrame::Error(error)) => codes.push(error.code),
            Ok(ServerFrame::Reject(reject)) => codes.push(reject.code),
            Ok(ServerFrame::Restored(restored)) => codes.extend(restored.refused),
            Ok(ServerFrame::Pong(_)) => return (codes, None),
            Ok(_) => {}
            Err(close) => return (codes, close),
        }
    }
}

/// Sends bytes and then a ping, which is answered if the connection goes on.
async fn send(client: &mut RawClient, bytes: Vec<u8>) -> (Vec<u16>, Option<u16>) {
    if client.say_bytes(bytes).await {
        let ping = ClientFrame::from(Ping { nonce: 1 }).encode().expect("it fits");
        client.say_bytes(ping.to_vec()).await;
    }
    outcome(client).await
}

/// Frames of every kind, with a change in those that carry one.
fn frames(handle: u32, change: &Change) -> Vec<Vec<u8>> {
    let blob = || vec![Blob(change.raw_bytes().to_vec().into())];
    let address = "town/elsewhere/likes".to_owned();
    let frames: [ClientFrame; 8] = [
        hello("eve", [7; 16], 9).into(),
        Subscribe { address, cursor: None, outbox: [7; 16], write: true }.into(),
        Unsubscribe { handle }.into(),
        RequestLease { handle }.into(),
        Push { handle, first: 1, changes: blob() }.into(),
        Restore { handle, proof: None, changes: blob(), last: true }.into(),
        Ping { nonce: 77 }.into(),
        Bye {}.into(),
    ];
    frames.iter().map(|frame| frame.encode().expect("it fits").to_vec()).collect()
}

#[tokio::test]
async fn malformed_truncated_oversized_and_flipped_frames_hurt_their_own_connection_only_fr3_fr4() {
    let mut stage = Stage::set().await;
    let place = address("town/hostile/likes");
    let mut eve = stage.hello().await;
    let opened = eve.subscribe(&place, fresh_id(), true).await;
    let lease = opened.lease.expect("a lease was asked for");
    let change = RawDocument::new(&place).write(&lease, &[like("eve")]).remove(0);
    drop(eve);

    let mut hostile: Vec<(Vec<u8>, Option<Code>)> = vec![
        (vec![], Some(Code::BadFrame)),
        (vec![1], Some(Code::BadFrame)),
        (vec![1, 63], Some(Code::BadFrame)),
        (vec![1, 64], Some(Code::BadFrame)),
        (vec![2, 7, 0], Some(Code::UnsupportedVersion)),
        (vec![0; FRAME_BYTES_MAX + 1], Some(Code::FrameTooLarge)),
        (vec![1; 5 * FRAME_BYTES_MAX], Some(Code::FrameTooLarge)),
        // A push of 2^60 changes, and one change of 2^60 bytes.
        ([&[1, 5, 1, 1, 253][..], &(1_u64 << 60).to_le_bytes()].concat(), Some(Code::BadFrame)),
        ([&[1, 5, 1, 1, 1, 253][..], &(1_u64 << 60).to_le_bytes()].concat(), Some(Code::BadFrame)),
    ];
    for frame in frames(opened.handle, &change) {
        let step = frame.len() / 12 + 1;
        let cut = (2..frame.len()).step_by(step).map(|end| frame[..end].to_vec());
        hostile.extend(cut.map(|bytes| (bytes, Some(Code::BadFrame))));
        let longer = [&frame[..], &[0]].concat();
        hostile.push((longer, Some(Code::BadFrame)));
        for bit in (0..frame.len() * 8).step_by(8 * step + 3) {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            hostile.push((flipped, None));
        }
    }
    let mut refused = 0;
    for (round, (bytes, expected)) in hostile.into_iter().enumerate() {
        let mut eve = stage.hello().await;
        let shown = format!("{:?}", &bytes[..bytes.len().min(200)]);
        eve.say(Subscribe {
            address: place.to_string(),
            cursor: None,
            outbox: fresh_id(),
            write: true,
        })
        .await;
        let (codes, close) = send(&mut eve, bytes).await;
        if let Some(code) = expected {
            // A socket that is full of what nobody reads may break before the close is read.
            let close = close.unwrap_or(CloseCode::of(code).0);
            assert_eq!(close, CloseCode::of(code).0, "{codes:?} {shown}");
        }
        for code in &codes {
            assert!(Code::from_number(*code).is_some(), "{code} {shown}");
        }
        refused += usize::from(close.is_some() || !codes.is_empty());
        if round % 16 == 0 {
            stage.others_go_on().await;
        }
    }
    assert!(refused > 100, "{refused}");
    stage.ends_unharmed().await;
}

#[tokio::test]
async fn frames_out_of_the_protocols_order_are_refused_hs1_hs2_sub1() {
    let mut stage = Stage::set().await;
    let url = stage.server.url();
    let fatal = CloseCode::of(Code::OutOfProtocol).0;
    let change = RawDocument::new(&address("town/x/likes"))
        .write(&WireLease { actor: [3; 16], next_seq: 1, after: 0 }, &[like("eve")])
        .remove(0);
    // Anything but a greeting first; the greeting twice.
    for frame in frames(1, &change).into_iter().skip(1) {
        let mut eve = RawClient::connect(&url).await;
        assert_eq!(send(&mut eve, frame).await.1, Some(fatal));
        stage.others_go_on().await;
    }
    let mut eve = stage.hello().await;
    eve.say(hello("eve", fresh_id(), 2)).await;
    assert_eq!(outcome(&mut eve).await.1, Some(fatal));
    // A handle that the connection has not opened, though somebody else has.
    let mut eve = stage.hello().await;
    for frame in frames(stage.opened.handle, &change).into_iter().skip(2).take(4) {
        let (codes, close) = send(&mut eve, frame).await;
        assert_eq!((codes, close), (vec![Code::UnknownHandle.number()], None));
    }
    // Addresses that are none are answered by an error that names them; the connection goes on.
    for address in ["", "town", "town/square", "../../etc/passwd", "town/square/votes"] {
        let (address, outbox) = (address.to_owned(), fresh_id());
        eve.say(Subscribe { address: address.clone(), cursor: None, outbox, write: true }).await;
        let ServerFrame::Error(error) = eve.hear().await else { panic!("an error was expected") };
        assert_eq!((error.code, error.address), (Code::BadAddress.number(), Some(address)));
        assert!(!error.fatal);
    }
    // A second connection of a session takes over; one of an older generation does not.
    let session = fresh_id();
    let mut first = RawClient::hello(&url, "eve", session, 5).await;
    let mut second = RawClient::hello(&url, "eve", session, 6).await;
    let replaced = Some(CloseCode::of(Code::Replaced).0);
    assert_eq!(outcome(&mut first).await.1, replaced);
    let mut late = RawClient::connect(&url).await;
    late.say(hello("eve", session, 6)).await;
    assert_eq!(outcome(&mut late).await.1, replaced);
    second.say(Ping { nonce: 1 }).await;
    assert_eq!(outcome(&mut second).await, (vec![], None));
    stage.ends_unharmed().await;
}

#[tokio::test]
async fn a_connection_holds_no_more_documents_than_it_may() {
    let dir = tempdir().expect("a directory");
    let settings = ["--documents-max", "5"];
    let server = ServerProcess::start(&dir.path().join("server"), &settings).await;
    let mut eve = RawClient::hello(&server.url(), "eve", fresh_id(), 1).await;
    for n in 0..5 {
        eve.subscribe(&address(&format!("town/n{n}/json")), fresh_id(), false).await;
    }
    let sixth = Subscribe {
        address: "town/n5/json".to_owned(),
        cursor: None,
        outbox: fresh_id(),
        write: false,
    };
    let bytes = ClientFrame::from(sixth).encode().expect("it fits").to_vec();
    let refused = (vec![Code::TooManyDocuments.number()], None);
    assert_eq!(send(&mut eve, bytes).await, refused);
}

/// A change with something else in it, its checksum and hash right for that.
fn forge(change: &Change, edit: impl FnOnce(&mut ExpandedChange)) -> Change {
    let mut expanded = change.decode();
    expanded.hash = None;
    edit(&mut expanded);
    Change::from(expanded)
}

fn earlier(counter: NonZeroU64) -> NonZeroU64 {
    NonZeroU64::new(counter.get() - 1).expect("genesis has operations")
}

/// Somebody who writes a document by hand and is refused.
struct Forger {
    client: RawClient,
    document: RawDocument,
    opened: Subscribed,
    lease: WireLease,
    next: u64,
}

impl Forger {
    async fn begin(stage: &Stage, place: &Address) -> Self {
        let mut client = stage.hello().await;
        let opened = client.subscribe(place, fresh_id(), true).await;
        let document = client.read(place, &opened).await;
        let lease = opened.lease.expect("a lease was asked for");
        Self { client, document, opened, lease, next: 1 }
    }

    /// An honest change, which is not kept here.
    fn honest(&self) -> Change {
        let automerge = self.document.automerge.clone();
        let (cursor, snapshot_bytes) = (self.document.cursor, 0);
        let mut scratch = RawDocument { automerge, cursor, snapshot_bytes, hashes: vec![] };
        scratch.write(&self.lease, &[like_a_comment("eve")]).remove(0)
    }

    /// Pushes changes that are refused at the first, with a code.
    async fn is_refused(&mut self, changes: &[Change], expected: Code) {
        self.client.push(self.opened.handle, self.next, changes).await;
        let reject = self
            .client
            .hear_until(|frame| match frame {
                ServerFrame::Reject(reject) => Some(reject),
                ServerFrame::Ack(_) => panic!("{expected} was expected"),
                _ => None,
            })
            .await;
        assert_eq!((reject.number, reject.code), (self.next, expected.number()), "{reject:?}");
        assert!(!reject.message.is_empty());
    }

    /// The lease has ended with the refusal: what is pushed before a new one is passed over.
    async fn recovers(&mut self) {
        let (handle, honest) = (self.opened.handle, self.honest());
        self.client.push(handle, self.next, &[honest]).await;
        self.client.say(RequestLease { handle }).await;
        self.lease = self
            .client
            .hear_until(|frame| match frame {
                ServerFrame::Leased(leased) => Some(leased.lease),
                ServerFrame::Ack(ack) => panic!("{ack:?} under a lease that has ended"),
                _ => None,
            })
            .await;
        assert_eq!(self.lease.next_seq, self.next, "nothing of the forged was kept");
        let changes = self.document.write(&self.lease, &[like_a_comment("eve")]);
        self.client.push(handle, self.next, &changes).await;
        self.client.acked(handle, self.next).await;
        self.next += 1;
    }
}

#[tokio::test]
async fn changes_that_do_not_fit_are_refused_with_their_code_pu1_pu2_pu4_rj1_le1_le2_le5() {
    let mut stage = Stage::set().await;
    let place = address("town/forged/likes");
    let mut eve = Forger::begin(&stage, &place).await;
    let unknown = automerge::ChangeHash([0xab; 32]);
    let another =
        RawDocument::new(&address("town/other/likes")).write(&eve.lease, &[like("eve")]).remove(0);
    eve.is_refused(&[another], Code::UnknownDeps).await;
    eve.recovers().await;
    stage.others_go_on().await;
    type Edit = Box<dyn FnOnce(&mut ExpandedChange)>;
    let edits: Vec<(Edit, Code)> = vec![
        (Box::new(move |c| c.deps = vec![unknown]), Code::UnknownDeps),
        (Box::new(move |c| c.deps.push(unknown)), Code::UnknownDeps),
        (Box::new(|c| c.deps.clear()), Code::UnknownDeps),
        (Box::new(|c| c.actor_id = [9_u8; 16].as_slice().into()), Code::WrongActor),
        (Box::new(|c| c.actor_id = [0_u8; 16].as_slice().into()), Code::WrongActor),
        (Box::new(|c| c.seq += 1), Code::WrongSeq),
        (Box::new(|c| c.seq = 1), Code::WrongSeq),
        (Box::new(|c| c.start_op = c.start_op.saturating_add(5)), Code::WrongStartOp),
        (Box::new(|c| c.start_op = earlier(c.start_op)), Code::WrongStartOp),
        // Before the objects that it writes to.
        (Box::new(|c| c.start_op = NonZeroU64::MIN), Code::BadChange),
    ];
    for (edit, code) in edits {
        let forged = forge(&eve.honest(), edit);
        // What follows a refused change is not looked at, however honest it is.
        let honest = eve.honest();
        eve.is_refused(&[forged, honest], code).await;
        eve.recovers().await;
        stage.others_go_on().await;
    }
    let reader = Forger::begin(&stage, &place).await;
    assert_eq!(reader.document.seq(), eve.next - 1, "the log holds what was acknowledged");
    stage.ends_unharmed().await;
}

#[tokio::test]
async fn bytes_that_are_no_change_and_too_many_of_them_are_refused_pu1_pu3() {
    let mut stage = Stage::set().await;
    let mut eve = Forger::begin(&stage, &address("town/bytes/likes")).await;
    let handle = eve.opened.handle;
    eve.recovers_from_nothing().await;
    let honest = eve.honest().raw_bytes().to_vec();
    let mut garbage: Vec<(Vec<u8>, Code)> = vec![
        (vec![], Code::BadChange),
        (vec![0x85; 40], Code::BadChange),
        (honest[..honest.len() - 1].to_vec(), Code::BadChange),
        (vec![0x85; CHANGE_BYTES_MAX + 1], Code::ChangeTooLarge),
    ];
    for at in (0..honest.len()).step_by(7) {
        let mut flipped = honest.clone();
        flipped[at] ^= 0x10;
        // The checksum sees to it that none of them passes.
        garbage.push((flipped, Code::BadChange));
    }
    for (bytes, expected) in garbage {
        let changes = vec![Blob(bytes.into())];
        eve.client.say(Push { handle, first: eve.next, changes }).await;
        assert_eq!(refusal(&mut eve.client).await, expected.number());
        eve.recovers().await;
    }
    let changes = vec![Blob::default(); PUSH_CHANGES_MAX + 1];
    eve.client.say(Push { handle, first: eve.next, changes }).await;
    assert_eq!(refusal(&mut eve.client).await, Code::TooManyChanges.number());
    eve.recovers().await;
    // A number that leaves out others, after one that did not.
    let first = eve.document.write(&eve.lease, &[like_a_comment("eve"), like_a_comment("eve")]);
    eve.client.push(handle, eve.next, &first[..1]).await;
    eve.client.push(handle, eve.next + 5, &first[1..]).await;
    assert_eq!(refusal(&mut eve.client).await, Code::NumberGap.number());
    // The same number with other content: the store was cloned.
    let other = eve.honest();
    eve.client.say(RequestLease { handle }).await;
    eve.client.push(handle, eve.next, &[other]).await;
    assert_eq!(refusal(&mut eve.client).await, Code::OutboxReused.number());
    stage.others_go_on().await;
    stage.ends_unharmed().await;
}

/// The code of the next refusal. It may come late, after what was accepted before it is durable.
async fn refusal(client: &mut RawClient) -> u16 {
    client
        .hear_until(|frame| match frame {
            ServerFrame::Reject(reject) => Some(reject.code),
            ServerFrame::Error(error) => Some(error.code),
            _ => None,
        })
        .await
}

impl Forger {
    /// A first honest change, so that there is something that the next one must follow.
    async fn recovers_from_nothing(&mut self) {
        let changes = self.document.write(&self.lease, &[like_a_comment("eve")]);
        self.client.push(self.opened.handle, self.next, &changes).await;
        self.client.acked(self.opened.handle, self.next).await;
        self.next += 1;
    }
}

#[tokio::test]
async fn nobody_restores_what_the_server_never_leased_rs2() {
    let mut stage = Stage::set().await;
    let mut eve = Forger::begin(&stage, &address("town/restore/likes")).await;
    let handle = eve.opened.handle;
    // Under this term's own lease, which has a push for that; under one of nobody's; in the place
    // of genesis, which the server has.
    let wrong = Some(Code::WrongActor.number());
    for (actor, expected) in [(None, wrong), (Some([9_u8; 16]), wrong), (Some([0; 16]), None)] {
        let forged = forge(&eve.honest(), |change| {
            if let Some(actor) = actor {
                change.actor_id = actor.as_slice().into();
            }
        });
        let changes = vec![Blob(forged.raw_bytes().to_vec().into())];
        eve.client.say(Restore { handle, proof: None, changes, last: true }).await;
        let restored = eve
            .client
            .hear_until(|frame| match frame {
                ServerFrame::Restored(restored) => Some(restored),
                _ => None,
            })
            .await;
        assert_eq!((restored.accepted, restored.refused), (0, expected), "{actor:?}");
    }
    let reader = Forger::begin(&stage, &address("town/restore/likes")).await;
    assert_eq!(reader.document.seq(), 0, "nothing was appended");
    eve.recovers_from_nothing().await;
    stage.others_go_on().await;
    stage.ends_unharmed().await;
}
