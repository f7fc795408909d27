//! The commands in the README, as they stand there.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{command, server};
use crate::support::within;

/// The `curl` commands of the README, each with the lines that it goes on in.
fn commands() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("it is there");
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in readme.lines() {
        if goes_on {
            let command = commands.last_mut().expect("one that goes on");
            command.push('\n');
            command.push_str(line);
        } else if line.starts_with("curl ") {
            commands.push(line.to_owned());
        } else {
            continue;
        }
        goes_on = line.ends_with('\\');
    }
    commands
}

fn shell(command: &str, port: u16) -> Command {
    let command = command.replace("127.0.0.1:4400", &format!("127.0.0.1:{port}"));
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec {command}")).stdin(Stdio::null()).kill_on_drop(true);
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

#[tokio::test]
async fn the_commands_of_the_readme_work_as_printed() {
    let dir = tempdir().expect("a directory");
    let (server, web) = server(dir.path(), &[]).await;
    let commands = commands();
    let (live, plain): (Vec<_>, Vec<_>) = commands.iter().partition(|c| c.contains("-sSN"));
    assert_eq!((plain.len(), live.len()), (5, 1));
    let mut said = Vec::new();
    for command in plain {
        let output = within(shell(command, server.port()).output()).await.expect("curl is there");
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}\n{err}");
        said.push(
            serde_json::from_str::<Value>(&out).unwrap_or_else(|_| panic!("{command}\n{out}")),
        );
    }
    for ended in &said[..3] {
        assert_eq!(ended["outcome"], "confirmed", "{ended}");
    }
    assert_eq!(said[3]["post"]["title"], "Hello");
    assert_eq!(said[4]["comments"]["thread"][0]["body"], "Welcome!");

    let mut live = shell(live[0], server.port()).spawn().expect("curl is there");
    let mut lines = BufReader::new(live.stdout.take().expect("it is piped")).lines();
    let mut posts = async || loop {
        let line = within(lines.next_line()).await.expect("text").expect("it goes on");
        if let Some(data) = line.strip_prefix("data: ") {
            let event: Value = serde_json::from_str(data).expect("JSON");
            return event["posts"].clone();
        }
    };
    let state = posts().await;
    assert_eq!((&state[0]["title"], &state[0]["likes"]), (&json!("Hello"), &json!(1)), "{state}");
    assert_eq!((&state[0]["comments"], &state[1]), (&json!(1), &Value::Null), "{state}");
    command(web, "town/hello/likes", "ada", &json!({"likes": {"like": {}}})).await.fine();
    let changed = posts().await;
    assert_eq!(
        (&changed[0]["id"], &changed[0]["likes"]),
        (&json!("hello"), &json!(2)),
        "{changed}"
    );
}
