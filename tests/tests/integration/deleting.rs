//! Spaces that are deleted and users who are forgotten while the server runs: those who are there are told,
//! and nobody who comes back later brings anything back.

use std::path::Path;

use serde_json::Value;
use syncline_client::engine::document::View;
use syncline_client::engine::session::{FeedStatus, Resolution, SpaceStatus};
use syncline_client::{Client, Comments, Document, Pending, Post};
use syncline_engine::codes::Code;
use syncline_engine::ids::StreamAddress;
use syncline_tests::process::{data_command, run_json};
use tempfile::tempdir;

use crate::support::{ServerProcess, agree, confirmed, join, join_stored, shows, synced, within};

async fn post(client: &Client, space: &str, id: &str) -> Post {
    within(client.post(space, id)).await.expect("it opens")
}

async fn comments(client: &Client, space: &str, id: &str) -> Comments {
    within(client.comments(space, id)).await.expect("it opens")
}

/// Orders something of the server that runs on a directory.
async fn order(data: &Path, arguments: &[&str]) -> Value {
    run_json(data_command(data, &[arguments, &["--json"]].concat())).await
}

/// The code under which a command was refused.
async fn refused(pending: Pending) -> Code {
    match within(pending).await {
        Ok(Resolution::Refused { code, .. }) => code,
        other => panic!("not refused: {other:?}"),
    }
}

/// Waits until a document is said to be gone with its space, and shows nothing.
async fn is_gone(document: &Document) {
    let mut changes = document.events();
    within(async {
        while document.problem().map(|problem| problem.code) != Some(Code::SpaceDeleted) {
            tokio::select! {
                _ = changes.next() => {}
                live = document.live() => {
                    // It is in sync until it hears of it.
                    if live.is_ok() {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    })
    .await;
    match &*document.view() {
        View::Post(view) => assert!(view.author().is_none(), "{view:?}"),
        View::Comments(view) => assert_eq!(view.len(), 0, "{view:?}"),
        other => panic!("{other:?}"),
    }
}

fn is_anywhere(dir: &Path, text: &str) -> bool {
    std::fs::read_dir(dir).expect("it is there").flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_anywhere(&path, text);
        }
        // The socket is no file.
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one day of four people, in the order in which it goes")]
async fn a_deleted_space_ends_for_who_is_there_and_nobody_brings_it_back_dl1_dl2_dl3() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let server = ServerProcess::start(&data, &[]).await;
    let url = server.url();
    let ada = join_stored(&url, "ada", &dir.path().join("ada"), true).await;
    let bob = join_stored(&url, "bob", &dir.path().join("bob"), true).await;
    let dan = join_stored(&url, "dan", &dir.path().join("dan"), true).await;
    let hers = post(&ada, "town", "square").await;
    confirmed(hers.create("Words of the town", "body of the town", &[]).expect("taken")).await;
    let near = post(&ada, "town-hall", "square").await;
    confirmed(near.create("Words of the hall", "", &[]).expect("taken")).await;
    let her_comments = comments(&ada, "town", "square").await;
    confirmed(her_comments.add(None, "said in the town").expect("taken").1).await;
    let (his, dans) = (comments(&bob, "town", "square").await, post(&dan, "town", "square").await);
    shows(his.document(), |view| matches!(view, View::Comments(view) if view.len() == 1)).await;
    shows(dans.document(), |view| matches!(view, View::Post(view) if view.author().is_some()))
        .await;
    let dans_comments = comments(&dan, "town", "square").await;
    shows(dans_comments.document(), |view| matches!(view, View::Comments(view) if view.len() == 1))
        .await;
    for client in [&ada, &bob, &dan] {
        synced(client).await;
    }

    // Both go away with work; Dan will not be back for long.
    bob.set_online(false);
    dan.set_online(false);
    let from_bob = his.add(None, "Bob was away").expect("taken").1;
    let made_away = post(&bob, "town", "new").await;
    let made_away = made_away.create("Made while away", "", &[]).expect("taken");
    let elsewhere = comments(&bob, "town-hall", "square").await;
    let elsewhere = elsewhere.add(None, "Bob in the hall").expect("taken").1;
    let from_dan = dans_comments.add(None, "Dan was away for long").expect("taken").1;
    within(from_dan.stored()).await.expect("stored");

    // Ada is there with everything that there is.
    let space = ada.space("town").expect("a name");
    within(space.entered()).await.expect("let in");
    let feed = ada.feed("town", 10).expect("a name");
    assert_eq!(within(feed.live()).await.expect("it is served").len(), 1);
    let answer = StreamAddress::new("town", "answer").expect("a name");
    let mut writer = within(ada.create_stream(&answer, None)).await.expect("it is made");
    within(writer.append("streamed in the town")).await.expect("taken");
    within(writer.flush()).await.expect("durable");

    let report = order(&data, &["delete-space", "town"]).await;
    assert!(report["documents"].as_u64().is_some_and(|documents| documents >= 3), "{report}");
    is_gone(hers.document()).await;
    is_gone(her_comments.document()).await;
    let mut status = space.status();
    let out = |status: &SpaceStatus| {
        matches!(status, SpaceStatus::Outside { code: Code::SpaceDeleted, .. })
    };
    within(status.wait_for(out)).await.expect("the client is open");
    let mut changes = feed.changes();
    let ended =
        |status: &FeedStatus| matches!(status, FeedStatus::Ended { code: Code::SpaceDeleted, .. });
    within(changes.wait_for(|view| ended(view.status()) && view.is_empty())).await.expect("open");
    let failed = within(async {
        loop {
            if let Err(error) = writer.append("more").await {
                break error;
            }
            if let Err(error) = writer.flush().await {
                break error;
            }
        }
    });
    assert_eq!(failed.await.code(), Some(Code::SpaceDeleted));
    // Nobody writes there, and the connection is as good as before.
    let error = hers.create("Again", "", &[]).expect_err("nobody may");
    assert!(matches!(error.code(), Some(Code::Forbidden | Code::SpaceDeleted)), "{error}");
    confirmed(near.add_tag("still here").expect("taken")).await;
    let fresh = join(&url, "eve").await;
    is_gone(post(&fresh, "town", "square").await.document()).await;

    // Bob comes back: what he did there is handed back to him, and to him alone.
    bob.set_online(true);
    assert_eq!(refused(from_bob).await, Code::SpaceDeleted);
    assert_eq!(refused(made_away).await, Code::SpaceDeleted);
    confirmed(elsewhere).await;
    assert_eq!(bob.refused(None).len(), 2, "with their content");
    is_gone(his.document()).await;

    for client in [ada, bob, fresh] {
        client.close().await;
    }
    assert_eq!(server.terminate().await, Some(0));
    for said in ["Words of the town", "said in the town", "Bob was away", "streamed in"] {
        assert!(!is_anywhere(&data, said), "{said}");
    }
    assert!(is_anywhere(&data, "Words of the hall"));
    assert_eq!(order(&data, &["verify"]).await["problems_total"], 0);

    // After the offline window the name is free, and Dan comes with an old copy and old work.
    let server =
        ServerProcess::try_start(&data, server_port(&url), &["--offline-window-ms=1"]).await;
    let server = server.expect("it starts");
    dan.set_online(true);
    assert_eq!(refused(from_dan).await, Code::TooOld);
    let eve = join(&server.url(), "eve").await;
    let seen = post(&eve, "town", "square").await;
    within(seen.document().live()).await.expect("it is served");
    assert!(!seen.exists(), "{:?}", seen.title());
    agree(seen.document(), dans.document()).await;
    confirmed(seen.create("Another town", "", &[]).expect("taken")).await;
    agree(seen.document(), dans.document()).await;
    eve.close().await;
    dan.close().await;
    assert_eq!(server.terminate().await, Some(0));
    assert!(!is_anywhere(&data, "Words of the town"));
    assert_eq!(order(&data, &["verify"]).await["problems_total"], 0);
}

fn server_port(url: &str) -> u16 {
    let port = url.strip_prefix("ws://127.0.0.1:").and_then(|rest| rest.split('/').next());
    port.and_then(|port| port.parse().ok()).expect("a port")
}

#[tokio::test]
async fn a_user_is_forgotten_under_clients_and_readers_who_come_back_bring_nothing_back_dl4() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let server = ServerProcess::start(&data, &[]).await;
    let url = server.url();
    let zelda = join(&url, "zelda.q").await;
    let bob = join_stored(&url, "bob", &dir.path().join("bob"), true).await;
    let cay = join_stored(&url, "cay", &dir.path().join("cay"), true).await;
    let hers = post(&zelda, "town", "square").await;
    confirmed(hers.create("Zeldas title", "a body of Zeldas", &[]).expect("taken")).await;
    let her_comments = comments(&zelda, "town", "square").await;
    confirmed(her_comments.add(None, "Zelda says this").expect("taken").1).await;
    let answer = StreamAddress::new("town", "answer").expect("a name");
    let mut writer = within(zelda.create_stream(&answer, None)).await.expect("it is made");
    within(writer.append("Zelda streams this")).await.expect("taken");
    within(writer.flush()).await.expect("durable");
    let (his, cays) =
        (comments(&bob, "town", "square").await, comments(&cay, "town", "square").await);
    confirmed(his.add(None, "Bob says this").expect("taken").1).await;
    let two = |view: &View| matches!(view, View::Comments(view) if view.len() == 2);
    shows(his.document(), two).await;
    shows(cays.document(), two).await;
    let seen = post(&bob, "town", "square").await;
    within(seen.document().live()).await.expect("it is served");
    let feed = bob.feed("town", 10).expect("a name");
    within(feed.live()).await.expect("it is served");
    let apart = comments(&bob, "village", "square").await;
    confirmed(apart.add(None, "Bob in the village").expect("taken").1).await;
    synced(&cay).await;
    cay.set_online(false);
    let away = cays.add(None, "Cay was away").expect("taken").1;
    within(away.stored()).await.expect("stored");

    let report = order(&data, &["forget-user", "zelda.q"]).await;
    assert!(report["documents"].as_u64().is_some_and(|documents| documents >= 3), "{report}");
    // Bob has not left, and goes on.
    let without = |view: &View| {
        matches!(view, View::Comments(_)) && {
            let shown = format!("{view:?}");
            shown.contains("Bob says this") && !shown.contains("elda")
        }
    };
    shows(his.document(), without).await;
    shows(seen.document(), |view| !format!("{view:?}").contains("elda")).await;
    let mut changes = feed.changes();
    let clean =
        |view: &syncline_client::engine::session::FeedView| !format!("{view:?}").contains("elda");
    within(changes.wait_for(|view| clean(view))).await.expect("the client is open");
    synced(&bob).await;
    confirmed(his.add(None, "Bob goes on").expect("taken").1).await;
    confirmed(apart.add(None, "and in the village").expect("taken").1).await;

    cay.set_online(true);
    assert_eq!(refused(away).await, Code::TooOld);
    shows(cays.document(), without).await;
    agree(his.document(), cays.document()).await;
    assert_eq!(cay.refused(None).len(), 1, "with its content");
    let fresh = join(&url, "eve").await;
    let found = comments(&fresh, "town", "square").await;
    within(found.document().live()).await.expect("it is served");
    agree(found.document(), cays.document()).await;
    assert!(within(fresh.read_stream(&answer, 0)).await.is_err(), "nobody has made it");

    // A last merge, and nothing names her. (Who is known to the server's log file is another matter.)
    zelda.close().await;
    order(&data, &["compact"]).await;
    for client in [bob, cay, fresh] {
        client.close().await;
    }
    assert_eq!(server.terminate().await, Some(0));
    for said in ["zelda.q", "Zeldas title", "a body of Zeldas", "Zelda says", "Zelda streams"] {
        assert!(!is_anywhere(&data, said), "{said}");
    }
    assert!(is_anywhere(&data, "Bob goes on"));
    assert_eq!(order(&data, &["verify"]).await["problems_total"], 0);
}
