//! Who is in a space, over real sockets: people see each other come, type, point at text and vanish.

use std::time::Duration;

use syncline_client::engine::codes::Code;
use syncline_client::engine::document::{TextField, View};
use syncline_client::engine::session::{Member, SpaceNews, SpaceStatus};
use syncline_client::{Client, KickError, Space};
use syncline_tests::process::{run_json, syncline};
use tempfile::tempdir;

use crate::support::{Proxy, ServerProcess, confirmed, join, shows, user, within};

const SETTINGS: [&str; 4] = ["--owners", "olga", "--presence-grace-ms", "400"];

async fn enter(client: &Client) -> Space {
    let space = client.space("town").expect("a name");
    within(space.entered()).await.expect("let in");
    space
}

/// Waits until a space shows something.
async fn sees(space: &Space, mut what: impl FnMut(&[Member]) -> bool) {
    let mut events = space.events();
    within(async {
        while !what(&space.members()) {
            assert!(events.next().await.is_some(), "the client is closed");
        }
    })
    .await;
}

fn names(members: &[Member]) -> Vec<&str> {
    members.iter().map(|member| member.user.as_str()).collect()
}

/// PR1, PR3, PR4.
#[tokio::test]
async fn people_see_each_other_come_announce_and_vanish() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &SETTINGS).await;
    let proxy = Proxy::start(server.port()).await;
    let (ada, bob) = (join(&server.url(), "ada").await, join(&proxy.url(), "bob").await);
    let hers = enter(&ada).await;
    hers.set_status(Some("busy")).expect("short");
    let his = enter(&bob).await;
    sees(&his, |members| names(members) == ["ada", "bob"]).await;
    sees(&his, |members| members[0].says("status") == Some("\"busy\"")).await;
    sees(&hers, |members| names(members) == ["ada", "bob"]).await;
    assert!(matches!(&*his.status().borrow(), SpaceStatus::Inside { device: Some(_), .. }));

    // The same user on another device is one member.
    let tablet = join(&server.url(), "ada").await;
    let also_hers = enter(&tablet).await;
    sees(&his, |members| members.len() == 2 && members[0].devices.len() == 2).await;
    drop(also_hers);
    sees(&his, |members| members[0].devices.len() == 1).await;

    let document = "town/square/comments".parse().expect("an address");
    let types = |members: &[Member]| members.iter().any(|m| m.says("typing").is_some());
    his.set_typing(&document, true).expect("short");
    sees(&hers, |_| hers.typing(&document) == [user("bob")]).await;
    assert!(his.typing(&document).is_empty(), "not to himself");
    his.set_typing(&document, false).expect("short");
    sees(&hers, |members| !types(members)).await;

    // He types, and his network is gone: neither he nor his typing stays.
    his.set_typing(&document, true).expect("short");
    sees(&hers, types).await;
    proxy.retarget(1);
    proxy.cut();
    sees(&hers, |members| names(members) == ["ada"]).await;
    assert!(hers.typing(&document).is_empty());
    assert!(hers.last_seen().contains_key(&user("bob")));
    proxy.retarget(server.port());
    sees(&hers, |members| names(members) == ["ada", "bob"]).await;
    ada.close().await;
    sees(&his, |members| names(members) == ["bob"]).await;
}

/// PR10.
#[tokio::test]
async fn a_selection_stays_at_its_text_while_both_write() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &SETTINGS).await;
    let (ada, bob) = (join(&server.url(), "ada").await, join(&server.url(), "bob").await);
    let (hers, his) = (enter(&ada).await, enter(&bob).await);
    let post = within(ada.post("town", "square")).await.expect("it opens");
    within(post.document().live()).await.expect("in sync");
    confirmed(post.create("Title", "one two three", &[]).expect("taken")).await;
    confirmed(post.add_editor(&user("bob")).expect("taken")).await;
    let copy = within(bob.post("town", "square")).await.expect("it opens");
    let body_is = |text: &'static str| move |view: &View| matches!(view, View::Post(post) if post.body() == text);
    shows(copy.document(), body_is("one two three")).await;

    hers.select(post.document(), TextField::Body, 4, 7).expect("there is a body");
    let places = || -> Vec<(usize, usize)> {
        let all = his.selections(copy.document(), TextField::Body);
        all.into_iter().map(|s| (s.anchor, s.head)).collect()
    };
    sees(&his, |_| places() == [(4, 7)]).await;
    assert!(his.selections(copy.document(), TextField::Title).is_empty());
    assert!(hers.selections(post.document(), TextField::Body).is_empty(), "not one's own");
    // He writes before it, at once in his copy, and she before it in hers.
    confirmed(copy.splice(TextField::Body, 0, 0, "zero ").expect("taken")).await;
    assert_eq!(places(), [(9, 12)]);
    confirmed(post.splice(TextField::Body, 0, 0, "and ").expect("taken")).await;
    within(async {
        let mut changes = copy.document().events();
        while copy.body().len() != "and zero one two three".len() {
            assert!(changes.next().await.is_some(), "the document was closed");
        }
    })
    .await;
    let body = copy.body();
    assert_eq!(places().iter().map(|(a, h)| &body[*a..*h]).collect::<Vec<_>>(), ["two"]);
    hers.deselect();
    sees(&his, |_| places().is_empty()).await;
}

/// PR5, PR6.
#[tokio::test]
async fn who_is_kicked_or_banned_is_out_at_once() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &SETTINGS).await;
    let (olga, eve) = (join(&server.url(), "olga").await, join(&server.url(), "eve").await);
    let (owners, eves) = (enter(&olga).await, enter(&eve).await);
    sees(&owners, |members| names(members) == ["eve", "olga"]).await;
    let minute = Duration::from_secs(60);
    let refused = within(eves.kick(&user("olga"), minute)).await;
    assert_eq!(refused, Err(KickError::Refused(Code::Forbidden)));
    assert_eq!(within(owners.kick(&user("eve"), Duration::from_millis(1))).await, Ok(1));
    let mut status = eves.status();
    let out = |code: Code| move |status: &SpaceStatus| matches!(status, SpaceStatus::Outside { code: why, .. } if *why == code);
    within(status.wait_for(out(Code::Kicked))).await.expect("the client runs");
    eves.enter_again();
    sees(&owners, |members| names(members) == ["eve", "olga"]).await;

    let ban = ["rules", "town", "--ban", "eve", "--user", "olga", "--json", "--server"];
    let (url, data) = (server.url(), dir.path().join("olga"));
    let data = data.to_str().expect("a plain path");
    let command = syncline(&[&ban[..], &[url.as_str(), "--data", data]].concat());
    run_json(command).await;
    within(status.wait_for(out(Code::Forbidden))).await.expect("the client runs");
    sees(&owners, |members| names(members) == ["olga"]).await;
}

/// PR8.
#[tokio::test]
async fn the_command_shows_a_crowd_and_what_changes() {
    let dir = tempdir().expect("a directory");
    let settings = [&SETTINGS[..], &["--presence-full-max", "3"]].concat();
    let server = ServerProcess::start(&dir.path().join("server"), &settings).await;
    let mut clients = Vec::new();
    for number in 0..5 {
        let client = join(&server.url(), &format!("u{number}")).await;
        let space = enter(&client).await;
        clients.push((client, space));
    }
    let url = server.url();
    let who = || syncline(&["who", "town", "--json", "--user", "w", "--server", &url]);
    let crowd = within(async {
        loop {
            let scene = run_json(who()).await;
            if scene["crowd"]["users"] == 5 {
                break scene;
            }
        }
    })
    .await;
    assert!(crowd["members"].as_array().expect("a list").len() <= 5);
    let (_, first) = &clients[0];
    let mut events = first.events();
    within(async {
        while first.crowd().is_none() {
            assert!(matches!(events.next().await, Some(SpaceNews::Changed(_))));
        }
    })
    .await;
    for (client, space) in clients.drain(2..) {
        drop(space);
        client.close().await;
    }
    sees(&clients[0].1, |members| names(members) == ["u0", "u1"]).await;
    assert_eq!(clients[0].1.crowd(), None);
    let scene = run_json(who()).await;
    assert_eq!(scene["members"].as_array().expect("a list").len(), 2);
    assert!(scene["last_seen"]["u4"].is_u64());
}
