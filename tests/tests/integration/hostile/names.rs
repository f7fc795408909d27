//! Names that somebody hopes are paths, or become others on the way: none of them is a name, over
//! WebSocket as little as over HTTP, and nothing on the disk is called as a client likes.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use syncline_engine::codes::Code;
use syncline_engine::ids::{Address, Facet};
use syncline_engine::wire::frame::{
    Enter, FollowFeed, ListPosts, ReadStream, Subscribe, WriteStream,
};
use syncline_engine::wire::{ClientFrame, CloseCode, ServerFrame};
use syncline_tests::web::Web;
use tempfile::tempdir;

use super::{Stage, address, send};
use crate::support::{RawClient, ServerProcess, fresh_id};

/// What is no name, as it is and as it stands in the path of a request.
const TRICKS: [(&str, &str); 20] = [
    (".", "%2e"),
    ("..", "%2e%2E"),
    ("../rules", "..%2Frules"),
    ("..\\rules", "..%5crules"),
    ("%2e%2e", "%252e%252e"),
    ("a/b", "a%2fb"),
    ("/etc/passwd", "%2Fetc%2Fpasswd"),
    ("a\0b", "a%00b"),
    ("\0", "%00"),
    ("a\nb", "a%0ab"),
    ("a\r\nset-cookie: a=b", "a%0D%0Aset-cookie:%20a=b"),
    (" a", "%20a"),
    ("a\u{202e}b", "a%E2%80%AEb"),
    ("a\u{ff0f}b", "a%EF%BC%8Fb"),
    ("\u{ff0e}\u{ff0e}", "%EF%BC%8E%EF%BC%8E"),
    ("ä", "%C3%A4"),
    ("C:\\a", "C:%5Ca"),
    ("a?b", "a%3fb"),
    ("a#b", "a%23b"),
    ("~a", "~a"),
];

fn too_long() -> String {
    "a".repeat(65)
}

/// All files below a directory, by name.
fn files(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).expect("it is there").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            found.insert(name);
        }
    }
    found
}

#[test]
fn each_trick_is_no_name() {
    for (trick, _) in TRICKS {
        assert!(Address::new("town", trick, Facet::Likes).is_err(), "{trick:?}");
    }
}

#[tokio::test]
async fn names_that_are_none_lead_nowhere_over_http() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let server = ServerProcess::start(&data, &[]).await;
    let web = Web::new(server.port());
    let bad = (400, "bad_address".to_owned());
    let long = too_long();
    // Ill-formed and overlong UTF-8 has no text that it stands for.
    let bytes = ["%FF", "%c0%ae%c0%ae", "%e0%80%af", "%c0%80", "%ED%A0%80"];
    let tricks = TRICKS.iter().map(|(_, path)| *path).chain(bytes).chain([long.as_str()]);
    for trick in tricks {
        for path in [
            format!("/v1/documents/{trick}/square/likes?user=ada"),
            format!("/v1/documents/town/{trick}/likes?user=ada"),
            format!("/v1/documents/town/{trick}/likes/events?user=ada"),
            format!("/v1/spaces/{trick}/events?user=ada"),
            format!("/v1/spaces/{trick}/posts?user=ada"),
            format!("/v1/spaces/town/events?user=ada&documents={trick}/likes"),
        ] {
            let answer = web.get(&path, &[]).await;
            assert_eq!(answer.problem(), bad, "{path}");
            assert_eq!(answer.header("set-cookie"), None, "{path}");
        }
        let path = format!("/v1/documents/town/{trick}/likes/commands?user=ada");
        let like = web.post(&path, &[], &json!({"likes": {"like": {}}})).await;
        assert_eq!(like.problem(), bad, "{path}");
    }
    // Facets and paths are as they are written.
    for facet in ["Likes", "LIKES", "likes.", "likes%20", "%4cikes", "likes%00", "rules", "stream"]
    {
        let answer = web.get(&format!("/v1/documents/town/square/{facet}?user=ada"), &[]).await;
        assert_eq!(answer.problem(), bad, "{facet}");
    }
    for path in ["/V1/spaces/town/posts", "/v1/Spaces/town/posts", "/v1//spaces/town/posts"] {
        assert_eq!(web.get(path, &[]).await.status, 404, "{path}");
    }
    // An escape that is none is no trick: it is the name that it stands for.
    let plain = web.get("/v1/documents/to%77n/%73quare/%6cikes?user=ada", &[]).await;
    assert_eq!(plain.fine()["address"], "town/square/likes");
    let is_ours = |file: &String| {
        ["format", "lock", "admin.sock"].contains(&file.as_str())
            || file.starts_with("log")
            || file.starts_with("base")
    };
    let all = files(&data);
    assert!(all.iter().all(is_ours), "{all:?}");
}

#[tokio::test]
async fn names_that_are_none_are_refused_by_name_over_websocket_sub1() {
    let mut stage = Stage::set().await;
    let mut eve = stage.hello().await;
    let long = too_long();
    for trick in TRICKS.iter().map(|(trick, _)| *trick).chain(["", long.as_str()]) {
        let (space, outbox) = (trick.to_owned(), fresh_id());
        let subscribe = |address: String| Subscribe { address, cursor: None, outbox, write: true };
        let (stream, asked_by) = (format!("town/{trick}/stream"), None);
        let frames: [ClientFrame; 8] = [
            subscribe(format!("{trick}/square/likes")).into(),
            subscribe(format!("town/{trick}/likes")).into(),
            subscribe(format!("town/square/{trick}")).into(),
            Enter { space: space.clone(), visible: true, sayings: vec![] }.into(),
            FollowFeed { space: space.clone(), newest: 5 }.into(),
            ListPosts { nonce: 1, space, after: None, limit: 5 }.into(),
            WriteStream { address: stream.clone(), create: true, asked_by, since: 0 }.into(),
            ReadStream { address: stream, from: 0, since: 0 }.into(),
        ];
        for frame in frames {
            let shown = format!("{frame:?}");
            eve.say(frame).await;
            assert_eq!(code(&mut eve, &shown).await, Code::BadAddress.number(), "{shown}");
        }
    }
    // Bytes that are no text are no frame.
    let place = "town/XX/likes".to_owned();
    let subscribe = Subscribe { address: place, cursor: None, outbox: fresh_id(), write: false };
    let frame = ClientFrame::from(subscribe).encode().expect("it fits").to_vec();
    let at = frame.windows(2).position(|two| two == b"XX").expect("it is in there");
    for overlong in [[0xc0, 0xae], [0xc0, 0x80], [0xff, 0xfe]] {
        let mut frame = frame.clone();
        frame[at..at + 2].copy_from_slice(&overlong);
        let mut eve = stage.hello().await;
        assert_eq!(send(&mut eve, frame).await.1, Some(CloseCode::of(Code::BadFrame).0));
    }
    stage.others_go_on().await;
    stage.ends_unharmed().await;
}

/// The code of the refusal that comes next.
async fn code(client: &mut RawClient, of: &str) -> u16 {
    match client.hear().await {
        ServerFrame::Error(error) if !error.fatal => error.code,
        ServerFrame::SentAway(away) => away.code,
        ServerFrame::FeedEnded(ended) => ended.code,
        ServerFrame::PostsRefused(refused) => refused.code,
        ServerFrame::StreamRefused(refused) => refused.code,
        other => panic!("{other:?} answers {of}"),
    }
}

#[tokio::test]
async fn names_that_differ_in_case_are_different_documents() {
    let mut stage = Stage::set().await;
    stage.others_go_on().await;
    let mut eve = stage.hello().await;
    for other in ["Town/square/likes", "town/Square/likes", "TOWN/SQUARE/likes"] {
        let opened = eve.subscribe(&address(other), fresh_id(), false).await;
        assert_eq!(opened.end_seq, 0, "{other}");
    }
    let opened = eve.subscribe(&address("town/square/likes"), fresh_id(), false).await;
    assert_eq!(opened.end_seq, stage.written);
    stage.ends_unharmed().await;
}
