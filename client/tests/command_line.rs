//! The `syncline` command as a person or a script meets it: as a process, against a real server.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its tests share")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use syncline_engine::ids::UserId;
use syncline_engine::policy::Role;
use syncline_server::Server;
use syncline_server::config::{Config, Storage};

/// A server in this process and a folder for the clients' data.
struct World {
    runtime: tokio::runtime::Runtime,
    server: Option<Server>,
    url: String,
    data: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let owner = UserId::new("olga").unwrap();
        let roles = BTreeMap::from([(owner, Role::Owner)]);
        let config = Config { listen, storage: Storage::Memory, roles, ..Config::default() };
        let server = runtime.block_on(Server::start(config)).unwrap();
        let url = format!("http://{}", server.local_addr());
        Self { runtime, server: Some(server), url, data: tempfile::tempdir().unwrap() }
    }

    fn run(&self, user: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_syncline"))
            .args(arguments)
            .args(["--server", &self.url, "--user", user, "--data"])
            .arg(self.data.path().join(user))
            .args(["--wait", "20"])
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed; its last line as JSON.
    fn json(&self, user: &str, arguments: &[&str]) -> Value {
        let output = self.run(user, &[arguments, &["--json"]].concat());
        last_line(&output)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // The figures of a test do not hang on how its server ends.
            let _ = self.runtime.block_on(server.shutdown());
        }
    }
}

fn last_line(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap()
}

#[test]
fn a_conversation_between_two_people_one_of_them_offline_for_a_while() {
    let world = World::new();
    let made = world.json("alice", &["post", "town", "Shall we?", "--title", "A picnic"]);
    assert_eq!(made["state"], "confirmed");
    let post = made["post"].as_str().unwrap();
    assert!(post.starts_with("town/") && post.len() == "town/".len() + 26, "{post}");

    let comment = world.json("bob", &["comment", post, "Yes!"]);
    let id = comment["id"].as_str().unwrap();
    // Bob's device has the post: he goes on without the network.
    let reply = world.json("bob", &["comment", post, "On Sunday", "--reply-to", id, "--offline"]);
    assert_eq!(reply["state"], "pending");
    let like = world.json("bob", &["like", post, "--offline"]);
    assert_eq!((like["state"].as_str(), like["count"].as_u64()), (Some("pending"), Some(1)));
    let liked = world.json("alice", &["like", post, "--comment", id, "--reaction", "🎉"]);
    assert_eq!(liked["count"], 1);
    assert_eq!(world.json("alice", &["show", post])["comments"].as_array().unwrap().len(), 1);

    let synced = world.json("bob", &["sync"]);
    assert_eq!((synced["synced"].as_bool(), synced["pending"].as_u64()), (Some(true), Some(0)));
    world.json("alice", &["edit", post, "Shall we go?"]);
    let reply = reply["id"].as_str().unwrap();
    let refused = world.run("alice", &["delete", post, "--comment", reply]);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("only the author") && why.lines().count() == 1, "{why}");
    assert_eq!(world.json("alice", &["show", post])["comments"][1]["body"], "On Sunday");
    world.json("bob", &["delete", post, "--comment", reply]);

    let shown = world.json("bob", &["show", post]);
    assert_eq!(shown["content"]["title"], "A picnic");
    assert_eq!(shown["content"]["body"], "Shall we go?");
    assert_eq!(shown["reactions"]["like"], 1);
    assert_eq!(shown["comments"][0]["reactions"]["🎉"], 1);
    assert_eq!(shown["comments"][1]["parent"].as_str(), Some(id));
    assert_eq!(shown["comments"][1]["body"], "");
    let text = String::from_utf8(world.run("carol", &["show", post]).stdout).unwrap();
    assert!(text.contains("    (deleted)") && text.contains("like 1"), "{text}");

    let exported = world.run("bob", &["export", post]);
    let lines = String::from_utf8(exported.stdout).unwrap();
    let facets: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(facets.len(), 3);
    assert_eq!(facets[1]["content"]["likes"].as_array().unwrap().len(), 2);
}

#[test]
fn who_may_not_hears_why_in_one_line_and_all_is_as_before() {
    let world = World::new();
    world.json("alice", &["post", "town/rules-matter", "Look"]);
    let like = ["like", "town/rules-matter"];
    assert_eq!(world.json("bob", &like)["count"], 1);
    let told = world.json("olga", &["rules", "town", "--role", "bob=viewer", "--ban", "eve"]);
    assert_eq!(
        (&told["rules"]["members"]["bob"], &told["state"]),
        (&"viewer".into(), &"confirmed".into())
    );
    let refused = |user: &str, arguments: &[&str]| {
        let output = world.run(user, arguments);
        assert!(!output.status.success(), "{user} {arguments:?}");
        let why = String::from_utf8(output.stderr).unwrap();
        assert_eq!(why.lines().count(), 1, "{why}");
        why
    };
    assert!(refused("bob", &["unlike", "town/rules-matter"]).contains("you may not react here"));
    // His device knows by now, also without the network.
    assert_eq!(world.json("bob", &["show", "town/rules-matter"])["reactions"]["like"], 1);
    assert!(
        refused("bob", &["unlike", "town/rules-matter", "--offline"]).contains("may not react")
    );
    assert!(refused("bob", &["rules", "town", "--no-role", "bob"]).contains("change the rules"));
    assert!(refused("eve", &["show", "town/rules-matter"]).contains("you may not read here"));
    assert_eq!(world.json("bob", &["show", "town/rules-matter"])["reactions"]["like"], 1);
    assert_eq!(world.json("bob", &["status"])["pending"], 0);
    world.json("olga", &["rules", "town", "--no-role", "bob", "--unban", "eve"]);
    assert_eq!(world.json("bob", &["unlike", "town/rules-matter"])["count"], 0);
    assert_eq!(world.json("eve", &like)["count"], 1);
}

#[test]
fn mistakes_are_answered_in_one_line_that_says_what_to_do() {
    let world = World::new();
    let complaint = |arguments: &[&str]| {
        let output = world.run("alice", arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    assert!(complaint(&["show", "town/nowhere"]).contains("there is no post town/nowhere"));
    assert!(complaint(&["like", "town/nowhere"]).contains("`syncline post town/nowhere`"));
    let made = world.json("alice", &["post", "town/once"]);
    assert_eq!(made["post"], "town/once");
    assert!(complaint(&["post", "town/once"]).contains("exists"));
    let nobody = "01J8ZQ4W5X6Y7Z8A9B0C1D2E3F";
    assert!(complaint(&["edit", "town/once", "x", "--comment", nobody]).contains("no comment"));
    assert!(complaint(&["edit", "town/once"]).contains("say what"));
}

#[test]
fn a_small_discussion_is_replayed_to_the_state_that_it_implies() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    let expect: Value =
        serde_json::from_slice(&std::fs::read(data.join("tiny.expect.json")).unwrap()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .arg("replay")
        .arg(data.join("tiny.jsonl"))
        .args(["--clients", "4", "--offline-share", "0.3", "--kill-clients", "2", "--json"])
        .args(["--timeout", "120"])
        .output()
        .unwrap();
    let report = last_line(&output);
    for name in ["converged", "state_matches"] {
        assert_eq!(report[name], true, "{report}");
    }
    for name in ["events", "live_likes", "state_sha256"] {
        assert_eq!(report[name], expect[name], "{name}");
    }
    assert_eq!((report["lost"].as_u64(), report["duplicated"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn a_trace_is_typed_to_its_end_by_one_and_by_two() {
    let dir = tempfile::tempdir().unwrap();
    let sequential = r#"{"startContent":"","endContent":"hello you","txns":[
        {"patches":[[0,0,"hell"],[4,0,"o"]]},{"patches":[[5,0," world"]]},{"patches":[[6,5,"you"]]}]}"#;
    // Two agents type at the same time, see each other's work late, and go on.
    let concurrent = r#"{"kind":"concurrent","endContent":"[ab-cd]","numAgents":2,"txns":[
        {"parents":[],"numChildren":2,"agent":0,"patches":[[0,0,"-"]]},
        {"parents":[0],"numChildren":1,"agent":0,"patches":[[0,0,"a"]]},
        {"parents":[0],"numChildren":1,"agent":1,"patches":[[1,0,"c"]]},
        {"parents":[1],"numChildren":1,"agent":0,"patches":[[1,0,"b"]]},
        {"parents":[2],"numChildren":1,"agent":1,"patches":[[2,0,"d"]]},
        {"parents":[3,2],"numChildren":1,"agent":0,"patches":[[0,0,"["]]},
        {"parents":[4,3],"numChildren":1,"agent":1,"patches":[[5,0,"]"]]},
        {"parents":[5,6],"numChildren":0,"agent":0,"patches":[[0,1,"["]]}]}"#;
    for (name, trace, clients) in [("one", sequential, 1), ("two", concurrent, 2)] {
        let file = dir.path().join(name);
        std::fs::write(&file, trace).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_syncline"))
            .arg("trace")
            .arg(file)
            .args(["--json", "--timeout", "120"])
            .output()
            .unwrap();
        let report = last_line(&output);
        assert_eq!(report["state_matches"], true, "{report}");
        assert_eq!(report["converged"], true, "{report}");
        assert_eq!(report["clients"], clients);
    }
}

#[test]
fn who_is_in_a_space_is_told_to_one_who_only_looks() {
    let world = World::new();
    let empty = world.json("alice", &["who", "town"]);
    assert_eq!((&empty["space"], &empty["members"]), (&"town".into(), &Value::Array(vec![])));
    let there = world.json("olga", &["who", "town", "--join", "--status", "here \u{1b}[2J"]);
    let member = &there["members"][0];
    assert_eq!((&member["user"], &member["role"]), (&"olga".into(), &"owner".into()));
    assert_eq!((&member["active"], there["members"].as_array().unwrap().len()), (&true.into(), 1));
    // She said goodbye: she is gone at once, and known to have been there.
    let after = world.json("alice", &["who", "town"]);
    assert_eq!(after["members"], Value::Array(vec![]));
    assert!(after["last_seen"]["olga"].is_u64(), "{after}");
    let text = world.run("alice", &["who", "town"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.starts_with("town: 0 here\n  olga was here "), "{text}");
    let offline = world.run("alice", &["who", "town", "--offline"]);
    assert!(!offline.status.success());
    assert!(!world.run("alice", &["who", "no space"]).status.success());
}
