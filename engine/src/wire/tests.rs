//! The bytes of every frame, pinned; that everything that encodes decodes to the same; and that
//! bytes from outside are refused with a reason, whatever they are.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::frame::*;
use super::pack::{pack, unpack};
use super::{ClientFrame, CloseCode, DecodeError, ServerFrame, VERSION};
use crate::codes::Code;
use crate::limits::FRAME_BYTES_MAX;

const A: [u8; 16] = [0xaa; 16];
const B: [u8; 16] = [0xbb; 16];
const CURSOR: WireCursor = WireCursor { epoch: A, seq: 300, tip: B };
const LEASE: WireLease = WireLease { actor: A, next_seq: 7, after: 70_000 };
const ADDRESS: &str = "town/square/likes";

fn blob(bytes: &[u8]) -> Blob {
    Blob(bytes.to_vec().into())
}

fn client_samples() -> Vec<(&'static str, ClientFrame)> {
    let hello = Hello {
        session: A,
        generation: 3,
        user: "ada".to_owned(),
        token: None,
        agent: "syncline/0.1.0".to_owned(),
    };
    let subscribe =
        Subscribe { address: ADDRESS.to_owned(), cursor: None, outbox: B, write: false };
    let changes = vec![blob(&[1, 2, 3]), blob(&[])];
    let proof = Proof { heads: vec![[0xcc; 32]], seal: B };
    vec![
        ("Hello", hello.clone().into()),
        ("Hello.token", Hello { token: Some("s3cret".to_owned()), ..hello }.into()),
        ("Subscribe", subscribe.clone().into()),
        ("Subscribe.resume", Subscribe { cursor: Some(CURSOR), write: true, ..subscribe }.into()),
        ("Unsubscribe", Unsubscribe { handle: 5 }.into()),
        ("RequestLease", RequestLease { handle: 251 }.into()),
        ("Push", Push { handle: 5, first: 1 << 40, changes: changes.clone() }.into()),
        (
            "Restore",
            Restore { handle: 5, proof: None, changes: changes.clone(), last: false }.into(),
        ),
        ("Restore.proof", Restore { handle: 5, proof: Some(proof), changes, last: true }.into()),
        ("Ping", Ping { nonce: 250 }.into()),
        ("Bye", Bye {}.into()),
        ("Release", Release { handle: 5 }.into()),
        ("Renew", Renew { token: "s3cret".to_owned() }.into()),
        ("Compare", Compare { handle: 5, seq: 300, heads: A }.into()),
        ("FollowFeed", FollowFeed { space: "town".to_owned(), newest: 300 }.into()),
        ("LeaveFeed", LeaveFeed { space: "town".to_owned() }.into()),
        (
            "ListPosts",
            ListPosts { nonce: 7, space: "town".to_owned(), after: None, limit: 50 }.into(),
        ),
        ("ListPosts.after", sample_listing().into()),
        ("Enter", Enter { space: "town".to_owned(), visible: true, sayings: sayings() }.into()),
        (
            "Enter.unseen",
            Enter { space: "town".to_owned(), visible: false, sayings: vec![] }.into(),
        ),
        ("Leave", Leave { handle: 6 }.into()),
        ("Announce", Announce { handle: 6, sayings: sayings() }.into()),
        ("Kick", Kick { handle: 6, user: "eve".to_owned(), for_ms: 60_000 }.into()),
    ]
    .into_iter()
    .chain(client_stream_samples())
    .collect()
}

fn sayings() -> Vec<WireSaying> {
    let (status, typing) = ("status".to_owned(), "typing".to_owned());
    vec![
        WireSaying { key: status, seq: 300, value: Some("\"busy\"".to_owned()), ttl_ms: None },
        WireSaying { key: typing, seq: 301, value: None, ttl_ms: Some(6_000) },
    ]
}

fn news() -> Vec<News> {
    let (ada, bob, role) = ("ada".to_owned(), "bob".to_owned(), "member".to_owned());
    let since_ms = 1_700_000_000_000;
    let (key, value) = ("typing".to_owned(), "\"town/square/comments\"".to_owned());
    let until_ms = Some(since_ms + 6_000);
    vec![
        News::Came { device: 7, user: ada, role, since_ms },
        News::Said { device: 7, key: key.clone(), value, at_ms: since_ms, until_ms },
        News::Unsaid { device: 7, key },
        News::Left { device: 300 },
        News::Seen { user: bob.clone(), at_ms: since_ms },
        News::Forgotten { user: bob },
    ]
}

fn presence_samples() -> Vec<(&'static str, ServerFrame)> {
    let (space, role) = ("town".to_owned(), "member".to_owned());
    let entered = Entered {
        space: space.clone(),
        handle: 6,
        device: Some(7),
        role: role.clone(),
        may: 0x1f,
        interval_ms: 100,
    };
    let presence = Presence {
        handle: 6,
        version: 300,
        whole: true,
        more: false,
        now_ms: 1_700_000_000_000,
        news: news(),
    };
    let crowd = Crowd {
        handle: 6,
        version: 300,
        now_ms: 1_700_000_000_000,
        devices: 1_200,
        users: 1_000,
        idle: 300,
        typing: 2,
        sample: news()[..2].to_vec(),
    };
    let kicked = Code::Kicked.number();
    let refused = Some(Code::Forbidden.number());
    let (eve, message) = ("eve".to_owned(), "no".to_owned());
    vec![
        ("Entered", entered.clone().into()),
        ("Entered.unseen", Entered { device: None, ..entered }.into()),
        ("Presence", presence.clone().into()),
        ("Presence.more", Presence { more: true, whole: false, news: vec![], ..presence }.into()),
        ("Crowd", crowd.into()),
        ("Standing", Standing { handle: 6, role, may: 0x5f }.into()),
        (
            "SentAway",
            SentAway {
                space,
                code: kicked,
                message: message.clone(),
                retry_after_ms: Some(60_000),
            }
            .into(),
        ),
        (
            "NotAnnounced",
            NotAnnounced {
                handle: 6,
                code: Code::BadPresence.number(),
                message,
                retry_after_ms: None,
            }
            .into(),
        ),
        ("Kicked", Kicked { handle: 6, user: eve.clone(), devices: 2, refused: None }.into()),
        ("Kicked.refused", Kicked { handle: 6, user: eve, devices: 0, refused }.into()),
    ]
}

const STREAM: &str = "town/answer-7/stream";

fn stream_result() -> Option<StreamResult> {
    Some(StreamResult { address: "town/square/comments".to_owned(), comment: A })
}

fn client_stream_samples() -> Vec<(&'static str, ClientFrame)> {
    let address = STREAM.to_owned();
    let asked_by = Some("ada".to_owned());
    let end = |outcome| EndStream { stream: 3, end: 300, outcome };
    vec![
        (
            "WriteStream",
            WriteStream { address: address.clone(), create: true, asked_by, since: 0 }.into(),
        ),
        ("ReadStream", ReadStream { address: address.clone(), from: 300, since: 200 }.into()),
        ("AppendStream", AppendStream { stream: 3, offset: 300, text: "Grüße".to_owned() }.into()),
        ("EndStream", end(StreamOutcome::Finished { result: stream_result() }).into()),
        (
            "EndStream.failed",
            end(StreamOutcome::Failed { reason: "out of power".to_owned() }).into(),
        ),
        ("EndStream.interrupted", end(StreamOutcome::Interrupted).into()),
        ("InterruptStream", InterruptStream { address }.into()),
        ("LeaveStream", LeaveStream { stream: 3, writes: true }.into()),
    ]
}

fn server_stream_samples() -> Vec<(&'static str, ServerFrame)> {
    let opened = StreamOpened {
        address: STREAM.to_owned(),
        stream: 3,
        writes: true,
        at: 300,
        since: 200,
        digest: B,
        producer: "agent".to_owned(),
        asked_by: Some("ada".to_owned()),
        created_ms: 1_700_000_000_000,
        window_bytes: 256 << 10,
    };
    let open = StreamStatus {
        stream: 3,
        end: 300,
        interrupted_by: Some("ada".to_owned()),
        stalled_since_ms: Some(1_700_000_000_000),
        outcome: None,
    };
    let over = StreamStatus {
        interrupted_by: None,
        stalled_since_ms: None,
        outcome: Some(StreamOutcome::Abandoned),
        ..open
    };
    let refused = StreamRefused {
        address: STREAM.to_owned(),
        asked: StreamAsk::Interrupt,
        code: Code::NoStream.number(),
        message: "nobody has made it".to_owned(),
        retry_after_ms: None,
    };
    vec![
        ("StreamOpened", opened.into()),
        ("StreamText", StreamText { stream: 3, offset: 300, text: "Grüße".to_owned() }.into()),
        ("StreamAck", StreamAck { stream: 3, end: 307 }.into()),
        ("StreamStatus", open.into()),
        ("StreamStatus.ended", over.into()),
        ("StreamInterrupted", StreamInterrupted { address: STREAM.to_owned() }.into()),
        ("StreamRefused", refused.into()),
    ]
}

fn sample_listing() -> ListPosts {
    let after = WirePlace { active_ms: 1_700_000_000_000, id: "square".to_owned() };
    ListPosts { nonce: 8, space: "town".to_owned(), after: Some(after), limit: 500 }
}

fn sample_summary() -> PostSummary {
    PostSummary {
        id: "square".to_owned(),
        active_ms: 1_700_000_000_000,
        author: "ada".to_owned(),
        created_ms: 1_600_000_000_123,
        status: 0,
        title: "A bénch".to_owned(),
        likes: 300,
        reactions: vec![("like".to_owned(), 298), ("👍".to_owned(), 2)],
        comments: 12,
        deleted: 1,
    }
}

fn feed_samples() -> Vec<(&'static str, ServerFrame)> {
    let space = "town".to_owned();
    let hidden = PostSummary { status: 1, title: String::new(), ..sample_summary() };
    let ended = FeedEnded {
        space: space.clone(),
        code: Code::Forbidden.number(),
        message: "no".to_owned(),
        retry_after_ms: None,
    };
    let refused = PostsRefused {
        nonce: 8,
        code: Code::Overloaded.number(),
        message: "later".to_owned(),
        retry_after_ms: Some(500),
    };
    vec![
        ("Feed", Feed { space: space.clone(), posts: vec![sample_summary(), hidden] }.into()),
        ("FeedChanged", FeedChanged { space, posts: vec![sample_summary()] }.into()),
        ("Posts", Posts { nonce: 7, posts: vec![sample_summary()], more: true }.into()),
        ("FeedEnded", ended.into()),
        ("PostsRefused", refused.into()),
    ]
}

fn sample_changes() -> Changes {
    Changes {
        handle: 5,
        first_seq: 301,
        tip: B,
        seal: Some(A),
        authors: vec!["ada".to_owned(), "bob".to_owned()],
        entries: vec![
            WireEntry { author: 1, at_ms: 1_700_000_000_000, change: blob(&[1, 2, 3]) },
            WireEntry { author: 0, at_ms: 1_700_000_000_001, change: blob(&[4]) },
        ],
    }
}

/// The deflated bytes are given, not made, so that another version of the compressor is no change
/// of the protocol. They are one stored block with the body of [`sample_changes`].
fn sample_packed() -> PackedChanges {
    let message = ServerFrame::from(sample_changes()).encode().expect("a small frame");
    let body = &message[2..];
    let length = u16::try_from(body.len()).expect("a small frame");
    let mut stored = vec![1];
    stored.extend(length.to_le_bytes());
    stored.extend((!length).to_le_bytes());
    stored.extend(body);
    PackedChanges { bytes: u32::from(length), deflated: blob(&stored) }
}

fn subscribed_samples() -> Vec<(&'static str, ServerFrame)> {
    let subscribed = Subscribed {
        address: ADDRESS.to_owned(),
        handle: 5,
        epoch: A,
        resume: Resume::Cursor,
        end_seq: 300,
        seal: Some(B),
        may: 0x1f,
        settled: 12,
        lease: Some(LEASE),
        lease_kept: true,
        next: None,
    };
    let beginning = Subscribed {
        resume: Resume::Beginning,
        end_seq: 0,
        seal: None,
        may: 1,
        settled: 0,
        lease: None,
        lease_kept: false,
        ..subscribed.clone()
    };
    let resume = Resume::Snapshot { cursor: CURSOR, bytes: 1 << 20 };
    let next = Some(NextEpoch { start: CURSOR, head: [0xcc; 32], at_ms: 1_700_000_000_000 });
    vec![
        ("Subscribed", subscribed.into()),
        ("Subscribed.beginning", beginning.clone().into()),
        ("Subscribed.snapshot", Subscribed { resume, end_seq: 300, ..beginning.clone() }.into()),
        ("Subscribed.next", Subscribed { resume, end_seq: 300, next, ..beginning }.into()),
    ]
}

fn server_samples() -> Vec<(&'static str, ServerFrame)> {
    let code = Code::Forbidden.number();
    let error = Error {
        code: Code::Overloaded.number(),
        message: "try later".to_owned(),
        address: None,
        fatal: false,
        retry_after_ms: Some(60_000),
    };
    let welcome =
        Welcome { term: 2, heartbeat_ms: 20_000, now_ms: 1_700_000_000_000, documents_max: 256 };
    let lost = Code::LeaseLost.number();
    let refused = Error {
        code,
        message: String::new(),
        address: Some(ADDRESS.to_owned()),
        fatal: true,
        retry_after_ms: None,
    };
    let mut samples = vec![("Welcome", welcome.into())];
    samples.extend(subscribed_samples());
    samples.extend([
        ("SnapshotPart", SnapshotPart { handle: 5, offset: 65_536, bytes: blob(&[9; 4]) }.into()),
        ("Changes", sample_changes().into()),
        ("PackedChanges", sample_packed().into()),
        ("Ack", Ack { handle: 5, number: 12 }.into()),
        ("Reject", Reject { handle: 5, number: 13, code, message: "no".to_owned() }.into()),
        ("Leased", Leased { handle: 5, lease: LEASE }.into()),
        ("LeaseEnded", LeaseEnded { handle: 5, code: lost }.into()),
        ("Restored", Restored { handle: 5, accepted: 2, refused: None }.into()),
        ("Restored.refused", Restored { handle: 5, accepted: 0, refused: Some(code) }.into()),
        ("Pong", Pong { nonce: u64::MAX }.into()),
        ("Error", error.into()),
        ("Error.address", refused.into()),
        (
            "Goodbye",
            Goodbye { code: Code::ShuttingDown.number(), retry_after_ms: Some(500) }.into(),
        ),
        ("Goodbye.final", Goodbye { code: Code::Replaced.number(), retry_after_ms: None }.into()),
        ("TokenExpires", TokenExpires { in_ms: 60_000 }.into()),
        (
            "SettledAs",
            SettledAs { address: ADDRESS.to_owned(), number: 12, digest: [0xdd; 8] }.into(),
        ),
        ("May", May { handle: 5, may: 0x101 }.into()),
        ("Compared", Compared { handle: 5, seq: 300, same: Some(true) }.into()),
    ]);
    samples.extend(presence_samples());
    samples.extend(server_stream_samples());
    samples.extend(feed_samples());
    samples
}

const VECTORS: &str = include_str!("../../vectors/frames.hex");

fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    VECTORS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (name, bytes) = line.split_once(' ').expect("`Name hex`");
            (name, hex::decode(bytes).expect("hex digits"))
        })
        .collect()
}

/// FR1, FR5. To pin a new frame, add its sample above and run with `UPDATE_EXPECT=1`; a line that is
/// there already must not change.
#[test]
fn fr1_every_frame_has_the_bytes_that_its_vector_pins() {
    let mut text = String::from(
        "# The bytes of one sample of every frame: version, type, body. `Name hex`, or\n\
         # `Name.case hex` for more samples of one frame. Lines are added, never changed.\n",
    );
    let client = client_samples().into_iter().map(|(name, frame)| (name, frame.encode()));
    let server = server_samples().into_iter().map(|(name, frame)| (name, frame.encode()));
    for (name, message) in client.chain(server) {
        let message = message.expect("samples are small");
        text.push_str(&format!("{name} {}\n", hex::encode(&message)));
    }
    expect_test::expect_file!["../../vectors/frames.hex"].assert_eq(&text);
}

#[test]
fn fr1_every_vector_decodes_to_the_sample_of_its_name() {
    let (client, server) = (client_samples(), server_samples());
    for (name, message) in vectors() {
        if let Some((_, frame)) = client.iter().find(|(sample, _)| *sample == name) {
            assert_eq!(ClientFrame::decode(&message).as_ref(), Ok(frame), "{name}");
        } else {
            let frame = server.iter().find(|(sample, _)| *sample == name).map(|(_, frame)| frame);
            assert_eq!(ServerFrame::decode(&message).as_ref().ok(), frame, "{name}");
        }
    }
}

#[test]
fn fr1_no_frame_lacks_a_vector_and_no_type_number_is_used_twice() {
    let kinds = ClientFrame::KINDS.iter().chain(ServerFrame::KINDS);
    let mut numbers = BTreeSet::new();
    for (number, name) in kinds {
        assert!(numbers.insert(number), "{number} is used twice");
        let has_vector = vectors().iter().any(|(vector, message)| {
            vector.split('.').next() == Some(name) && message[..2] == [VERSION, *number]
        });
        assert!(has_vector, "{name} has no line in vectors/frames.hex");
    }
}

fn bytes16() -> impl Strategy<Value = [u8; 16]> {
    any::<[u8; 16]>()
}

fn blobs() -> impl Strategy<Value = Vec<Blob>> {
    prop::collection::vec(any_blob(), 0..5)
}

fn any_blob() -> impl Strategy<Value = Blob> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Blob(bytes.into()))
}

fn cursor() -> impl Strategy<Value = WireCursor> {
    (bytes16(), any::<u64>(), bytes16()).prop_map(|(epoch, seq, tip)| WireCursor {
        epoch,
        seq,
        tip,
    })
}

fn lease() -> impl Strategy<Value = WireLease> {
    (bytes16(), any::<u64>(), any::<u64>()).prop_map(|(actor, next_seq, after)| WireLease {
        actor,
        next_seq,
        after,
    })
}

fn changes() -> impl Strategy<Value = Changes> {
    let entry = (any::<u16>(), any::<u64>(), any_blob())
        .prop_map(|(author, at_ms, change)| WireEntry { author, at_ms, change });
    let entries = prop::collection::vec(entry, 0..60);
    let authors = prop::collection::vec(any::<String>(), 0..4);
    let tip = (bytes16(), prop::option::of(bytes16()));
    (any::<u32>(), any::<u64>(), tip, authors, entries).prop_map(
        |(handle, first_seq, (tip, seal), authors, entries)| Changes {
            handle,
            first_seq,
            tip,
            seal,
            authors,
            entries,
        },
    )
}

fn proof() -> impl Strategy<Value = Proof> {
    let heads = prop::collection::vec(any::<[u8; 32]>(), 0..4);
    (heads, bytes16()).prop_map(|(heads, seal)| Proof { heads, seal })
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let hello =
        (bytes16(), any::<u64>(), any::<String>(), any::<Option<String>>(), any::<String>());
    let subscribe = (any::<String>(), prop::option::of(cursor()), bytes16(), any::<bool>());
    prop_oneof![
        hello.prop_map(|(session, generation, user, token, agent)| {
            Hello { session, generation, user, token, agent }.into()
        }),
        subscribe.prop_map(|(address, cursor, outbox, write)| {
            Subscribe { address, cursor, outbox, write }.into()
        }),
        any::<u32>().prop_map(|handle| Unsubscribe { handle }.into()),
        any::<u32>().prop_map(|handle| RequestLease { handle }.into()),
        (any::<u32>(), any::<u64>(), blobs()).prop_map(|(handle, first, changes)| Push {
            handle,
            first,
            changes
        }
        .into()),
        (any::<u32>(), prop::option::of(proof()), blobs(), any::<bool>()).prop_map(
            |(handle, proof, changes, last)| Restore { handle, proof, changes, last }.into()
        ),
        any::<u64>().prop_map(|nonce| Ping { nonce }.into()),
        Just(Bye {}.into()),
        any::<u32>().prop_map(|handle| Release { handle }.into()),
        ".{0,20}".prop_map(|token| Renew { token }.into()),
        any::<(u32, u64, [u8; 16])>().prop_map(|(handle, seq, heads)| Compare {
            handle,
            seq,
            heads
        }
        .into()),
        (any::<String>(), any::<bool>(), any_sayings())
            .prop_map(|(space, visible, sayings)| { Enter { space, visible, sayings }.into() }),
        any::<u32>().prop_map(|handle| Leave { handle }.into()),
        (any::<u32>(), any_sayings())
            .prop_map(|(handle, sayings)| Announce { handle, sayings }.into()),
        any::<(u32, String, u32)>().prop_map(|(handle, user, for_ms)| Kick {
            handle,
            user,
            for_ms
        }
        .into()),
    ]
}

fn any_sayings() -> impl Strategy<Value = Vec<WireSaying>> {
    let saying = any::<(String, u64, Option<String>, Option<u32>)>()
        .prop_map(|(key, seq, value, ttl_ms)| WireSaying { key, seq, value, ttl_ms });
    prop::collection::vec(saying, 0..4)
}

fn any_news() -> impl Strategy<Value = Vec<News>> {
    let news = prop_oneof![
        any::<(u64, String, String, u64)>().prop_map(|(device, user, role, since_ms)| {
            News::Came { device, user, role, since_ms }
        }),
        any::<u64>().prop_map(|device| News::Left { device }),
        any::<(u64, String, String, u64, Option<u64>)>().prop_map(
            |(device, key, value, at_ms, until_ms)| News::Said {
                device,
                key,
                value,
                at_ms,
                until_ms
            }
        ),
        any::<(u64, String)>().prop_map(|(device, key)| News::Unsaid { device, key }),
        any::<(String, u64)>().prop_map(|(user, at_ms)| News::Seen { user, at_ms }),
        any::<String>().prop_map(|user| News::Forgotten { user }),
    ];
    prop::collection::vec(news, 0..6)
}

fn presence_frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![
        (any::<(u32, u64, bool, bool, u64)>(), any_news()).prop_map(
            |((handle, version, whole, more, now_ms), news)| {
                Presence { handle, version, whole, more, now_ms, news }.into()
            }
        ),
        (any::<(u32, u64, u64, u32, u32, u32, u32)>(), any_news()).prop_map(
            |((handle, version, now_ms, devices, users, idle, typing), sample)| {
                Crowd { handle, version, now_ms, devices, users, idle, typing, sample }.into()
            }
        ),
        any::<(String, u32, Option<u64>, String, u16, u32)>().prop_map(
            |(space, handle, device, role, may, interval_ms)| {
                Entered { space, handle, device, role, may, interval_ms }.into()
            }
        ),
        any::<(String, u16, String, Option<u32>)>().prop_map(
            |(space, code, message, retry_after_ms)| {
                SentAway { space, code, message, retry_after_ms }.into()
            }
        ),
    ]
}

fn subscribed() -> impl Strategy<Value = Subscribed> {
    let resume = prop_oneof![
        Just(Resume::Cursor),
        Just(Resume::Beginning),
        (cursor(), any::<u64>()).prop_map(|(cursor, bytes)| Resume::Snapshot { cursor, bytes }),
    ];
    let names = (any::<String>(), any::<u32>(), bytes16());
    let numbers = (any::<u64>(), prop::option::of(bytes16()), any::<u16>(), any::<u64>());
    let next = (cursor(), bytes16(), any::<u64>()).prop_map(|(start, half, at_ms)| {
        let mut head = [0; 32];
        head[..16].copy_from_slice(&half);
        NextEpoch { start, head, at_ms }
    });
    let lease = (prop::option::of(lease()), any::<bool>(), prop::option::of(next));
    (names, resume, numbers, lease).prop_map(
        |(
            (address, handle, epoch),
            resume,
            (end_seq, seal, may, settled),
            (lease, lease_kept, next),
        )| {
            Subscribed {
                address,
                handle,
                epoch,
                resume,
                end_seq,
                seal,
                may,
                settled,
                lease,
                lease_kept,
                next,
            }
        },
    )
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let retry = || any::<Option<u32>>();
    let error = (any::<u16>(), any::<String>(), any::<Option<String>>(), any::<bool>(), retry());
    let reject = (any::<u32>(), any::<u64>(), any::<u16>(), any::<String>());
    prop_oneof![
        (any::<u64>(), any::<u32>(), any::<u64>(), any::<u32>()).prop_map(
            |(term, heartbeat_ms, now_ms, documents_max)| {
                Welcome { term, heartbeat_ms, now_ms, documents_max }.into()
            }
        ),
        subscribed().prop_map(Into::into),
        (any::<u32>(), any::<u64>(), any_blob()).prop_map(|(handle, offset, bytes)| SnapshotPart {
            handle,
            offset,
            bytes
        }
        .into()),
        changes().prop_map(Into::into),
        (any::<u32>(), any_blob())
            .prop_map(|(bytes, deflated)| PackedChanges { bytes, deflated }.into()),
        (any::<u32>(), any::<u64>()).prop_map(|(handle, number)| Ack { handle, number }.into()),
        reject.prop_map(|(handle, number, code, message)| {
            Reject { handle, number, code, message }.into()
        }),
        (any::<u32>(), lease()).prop_map(|(handle, lease)| Leased { handle, lease }.into()),
        (any::<u32>(), any::<u16>()).prop_map(|(handle, code)| LeaseEnded { handle, code }.into()),
        (any::<u32>(), any::<u32>(), any::<Option<u16>>())
            .prop_map(|(handle, accepted, refused)| Restored { handle, accepted, refused }.into()),
        any::<u64>().prop_map(|nonce| Pong { nonce }.into()),
        (any::<String>(), any::<u64>(), any::<[u8; 8]>())
            .prop_map(|(address, number, digest)| { SettledAs { address, number, digest }.into() }),
        error.prop_map(|(code, message, address, fatal, retry_after_ms)| {
            Error { code, message, address, fatal, retry_after_ms }.into()
        }),
        (any::<u16>(), retry())
            .prop_map(|(code, retry_after_ms)| Goodbye { code, retry_after_ms }.into()),
        presence_frame(),
    ]
}

proptest! {
    #[test]
    fn what_a_client_says_survives_the_wire(frame in client_frame()) {
        let message = frame.encode().expect("small");
        prop_assert_eq!(ClientFrame::decode(&message), Ok(frame));
        prop_assert!(matches!(
            ServerFrame::decode(&message),
            Err(DecodeError::UnknownType(_))
        ));
    }

    #[test]
    fn what_a_server_says_survives_the_wire(frame in server_frame()) {
        let message = frame.encode().expect("small");
        prop_assert_eq!(ServerFrame::decode(&message), Ok(frame));
        prop_assert!(matches!(
            ClientFrame::decode(&message),
            Err(DecodeError::UnknownType(_))
        ));
    }

    #[test]
    fn packed_changes_unpack_to_the_same(changes in changes()) {
        if let Some(packed) = pack(&changes) {
            prop_assert!(packed.deflated.0.len() * 5 <= usize::try_from(packed.bytes)? * 4);
            prop_assert_eq!(unpack(&packed), Ok(changes));
        }
    }

    #[test]
    fn bytes_from_nowhere_are_refused_or_are_a_frame(
        message in prop::collection::vec(any::<u8>(), 0..400),
        kind in 0_u8..90,
    ) {
        let mut framed = vec![VERSION, kind];
        framed.extend(&message);
        // A frame that was read can be sent again and is then read the same.
        for bytes in [message, framed] {
            if let Ok(frame) = ClientFrame::decode(&bytes) {
                let again = frame.encode().expect("no larger than it came");
                prop_assert_eq!(ClientFrame::decode(&again), Ok(frame));
            }
            if let Ok(frame) = ServerFrame::decode(&bytes) {
                let again = frame.encode().expect("no larger than it came");
                prop_assert_eq!(ServerFrame::decode(&again), Ok(frame));
            }
        }
    }
}

fn decodes(message: &[u8]) -> Result<(), DecodeError> {
    match ClientFrame::decode(message) {
        Err(DecodeError::UnknownType(_)) => ServerFrame::decode(message).map(drop),
        other => other.map(drop),
    }
}

#[test]
fn fr3_a_frame_that_is_cut_off_or_goes_on_too_long_is_refused() {
    for (name, message) in vectors() {
        for end in 2..message.len() {
            assert_eq!(decodes(&message[..end]), Err(DecodeError::Malformed), "{name} at {end}");
        }
        let longer = [message.as_slice(), &[0]].concat();
        assert_eq!(decodes(&longer), Err(DecodeError::TrailingBytes(1)), "{name}");
    }
    assert_eq!(decodes(&[]), Err(DecodeError::Short));
    assert_eq!(decodes(&[VERSION]), Err(DecodeError::Short));
}

#[test]
fn fr3_flipped_bits_never_panic_and_a_flip_in_front_is_noticed() {
    for (name, message) in vectors() {
        for bit in 0..message.len() * 8 {
            let mut flipped = message.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let outcome = decodes(&flipped);
            if bit < 8 {
                assert_eq!(outcome, Err(DecodeError::Version(flipped[0])), "{name}");
            }
        }
    }
}

#[test]
fn fr2_a_message_of_more_than_a_frame_is_not_looked_into() {
    let message = vec![VERSION; FRAME_BYTES_MAX + 1];
    assert_eq!(decodes(&message), Err(DecodeError::TooLarge(FRAME_BYTES_MAX + 1)));
    let part = SnapshotPart { handle: 1, offset: 0, bytes: blob(&vec![0; FRAME_BYTES_MAX]) };
    assert!(ServerFrame::from(part).encode().is_err());
}

/// FR4. A varint of nine bytes can announce 2^64 - 1 of anything. bincode checks an announced
/// length against its limit before it allocates, so the answer is an error and not an abort.
#[test]
fn fr4_announced_lengths_beyond_the_message_are_refused() {
    let lengths = [
        [&[253][..], &u64::MAX.to_le_bytes()].concat(),
        [&[253][..], &(1_u64 << 63).to_le_bytes()].concat(),
        [&[252][..], &u32::MAX.to_le_bytes()].concat(),
        [&[252][..], &(1_u32 << 22).to_le_bytes()].concat(),
        [&[251][..], &u16::MAX.to_le_bytes()].concat(),
        vec![250],
    ];
    for length in lengths {
        let changes_at = [[0; 18].as_slice(), &length].concat();
        for (kind, body) in [
            (5_u8, [&[5, 1][..], &length].concat()),
            (5, [&[5, 1, 1][..], &length].concat()),
            (6, [&[5][..], &length].concat()),
            (2, length.clone()),
            (1, [[0; 17].as_slice(), &length].concat()),
            (66, [&[5, 0][..], &length].concat()),
            (67, changes_at.clone()),
            (67, [[0; 19].as_slice(), &length].concat()),
            (68, [&[5][..], &length].concat()),
            (75, [&[5][..], &length].concat()),
        ] {
            let message = [&[VERSION, kind][..], &body].concat();
            assert_eq!(decodes(&message), Err(DecodeError::Malformed), "{kind} {length:?}");
        }
    }
}

fn many_changes(entries: usize) -> Changes {
    let entry = |n: usize| WireEntry {
        author: 0,
        at_ms: 1_700_000_000_000 + n as u64,
        change: Blob([&[0x85, 0x6f, 0x4a, 0x83][..], &[7; 90], &n.to_le_bytes()].concat().into()),
    };
    Changes {
        handle: 5,
        first_seq: 1,
        tip: A,
        seal: None,
        authors: vec!["ada".to_owned()],
        entries: (0..entries).map(entry).collect(),
    }
}

#[test]
fn catch_up_is_packed_and_a_single_change_is_not() {
    let changes = many_changes(1_000);
    let packed = pack(&changes).expect("repetitive changes deflate well");
    assert!(packed.deflated.0.len() * 4 < usize::try_from(packed.bytes).expect("a frame"));
    assert_eq!(unpack(&packed), Ok(changes));
    assert_eq!(pack(&many_changes(1)), None);
}

#[test]
fn what_does_not_deflate_is_not_packed() {
    // A xorshift stream: no byte follows from another.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(1_000)
    .flatten()
    .collect();
    let entries = vec![WireEntry { author: 0, at_ms: 0, change: Blob(noise.into()) }];
    assert_eq!(pack(&Changes { entries, ..many_changes(0) }), None);
}

fn deflate(bytes: &[u8]) -> Blob {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    flate2::Compress::new(flate2::Compression::best(), false)
        .compress_vec(bytes, &mut out, flate2::FlushCompress::Finish)
        .expect("into memory");
    Blob(out.into())
}

#[test]
fn pk1_a_bomb_is_not_inflated_past_a_frame() {
    let bomb = deflate(&vec![0; 64 << 20]);
    assert!(bomb.0.len() < 100 << 10);
    let announced = [
        (u32::MAX, Err(DecodeError::TooLarge(u32::MAX as usize))),
        (64 << 20, Err(DecodeError::TooLarge(64 << 20))),
        (1 << 20, Err(DecodeError::Malformed)),
        (0, Err(DecodeError::Malformed)),
    ];
    for (bytes, outcome) in announced {
        assert_eq!(unpack(&PackedChanges { bytes, deflated: bomb.clone() }), outcome, "{bytes}");
    }
}

#[test]
fn pk1_a_packed_body_must_be_whole_exact_and_alone() {
    let packed = pack(&many_changes(100)).expect("repetitive changes deflate well");
    for wrong in [packed.bytes - 1, packed.bytes + 1] {
        let outcome = unpack(&PackedChanges { bytes: wrong, ..packed.clone() });
        assert_eq!(outcome, Err(DecodeError::Malformed));
    }
    for end in 0..packed.deflated.0.len() {
        let cut = PackedChanges { deflated: Blob(packed.deflated.0.slice(..end)), ..packed };
        assert_eq!(unpack(&cut), Err(DecodeError::Malformed), "cut at {end}");
    }
    let more = [packed.deflated.0.as_ref(), &[0, 0]].concat();
    let outcome = unpack(&PackedChanges { deflated: Blob(more.into()), ..packed });
    assert_eq!(outcome, Err(DecodeError::TrailingBytes(2)));
    let body_and_more = deflate(&[&[0; 21][..], &[0; 5]].concat());
    let outcome = unpack(&PackedChanges { bytes: 26, deflated: body_and_more });
    assert_eq!(outcome, Err(DecodeError::TrailingBytes(5)));
}

#[test]
fn cl1_close_codes_are_distinct_and_tell_whether_to_come_back() {
    let mut seen = BTreeSet::new();
    for code in Code::ALL {
        let close = CloseCode::of(*code);
        assert!(seen.insert(close.0), "{code} shares its close code");
        assert_eq!(close.may_retry(), !super::close::fatal(*code), "{code}");
        assert!((4000..5000).contains(&close.0), "{code}");
    }
    assert!(CloseCode::NORMAL.may_retry());
    assert!(CloseCode(1006).may_retry());
}

#[test]
fn codes_are_found_by_their_numbers() {
    for code in Code::ALL {
        assert_eq!(Code::from_number(code.number()), Some(*code));
    }
    assert_eq!(Code::from_number(0), None);
}
