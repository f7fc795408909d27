//! What was rolled back on this device: its text, why, and letting go of it.

use clap::Args;
use serde_json::{Value, json};
use syncline_client::Client;
use syncline_engine::ids::Ulid;
use syncline_engine::session::{Ending, Resolution};

use super::connect::{ConnectArgs, Connection};
use super::talk::say;

/// Shows what was rolled back, with its text, until it is dismissed
#[derive(Debug, Args)]
pub(crate) struct RefusedArgs {
    /// Lets go of one of them
    #[arg(long, value_name = "ID")]
    dismiss: Vec<Ulid>,
    /// Lets go of all of them
    #[arg(long, conflicts_with = "dismiss")]
    dismiss_all: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Why a command was rolled back: a code, and a sentence.
fn reason(resolution: &Resolution) -> (&'static str, &str) {
    match resolution {
        Resolution::Confirmed => ("confirmed", "it is in the server's log"),
        Resolution::NoEffect => ("no_effect", "there was nothing left to change"),
        Resolution::Superseded => ("superseded", "a later change by somebody else stands"),
        Resolution::Refused { code, message } => (code.slug(), message),
    }
}

/// One of them, for people and for programs.
fn entry(ending: &Ending) -> (String, Value) {
    let (code, why) = reason(&ending.resolution);
    let command = serde_json::to_value(&ending.command).unwrap_or_default();
    let summary = ending.command.summary();
    let line =
        format!("{} {}: {summary}\n  {why} ({code})\n  {command}", ending.id, ending.address);
    let value = json!({
        "id": ending.id.to_string(), "address": ending.address.to_string(), "code": code,
        "message": why, "at_ms": ending.at.0, "command": command,
    });
    (line, value)
}

/// Takes the news of how commands ended that nobody waited for. Answers how many were rolled back.
pub(super) async fn take_endings(client: &Client) -> anyhow::Result<usize> {
    let endings = client.endings();
    for ending in &endings {
        client.take(ending.id).await?;
    }
    Ok(endings.iter().filter(|ending| ending.is_rolled_back()).count())
}

pub(crate) async fn refused(args: RefusedArgs) -> anyhow::Result<bool> {
    let connection = Connection::open(&args.connect).await?;
    let client = &connection.client;
    for ending in client.refused(None) {
        if args.dismiss_all || args.dismiss.contains(&ending.id) {
            client.dismiss(ending.id).await?;
        }
    }
    take_endings(client).await?;
    let (lines, values): (Vec<String>, Vec<Value>) = client.refused(None).iter().map(entry).unzip();
    let sentence =
        if lines.is_empty() { "nothing was refused".to_owned() } else { lines.join("\n") };
    say(args.connect.json, &sentence, &Value::Array(values));
    connection.client.close().await;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use syncline_engine::clock::Timestamp;
    use syncline_engine::codes::Code;
    use syncline_engine::document::{Command, CommentsCommand};

    use super::*;

    #[test]
    fn what_was_refused_is_shown_with_its_text_and_why() {
        let edit = CommentsCommand::Edit {
            id: Ulid::new(Timestamp(1), 1),
            body: "well, \"no\"".to_owned(),
            edited: Timestamp(1),
        };
        let ending = Ending {
            id: Ulid::new(Timestamp(2), 2),
            address: "town/square/comments".parse().unwrap(),
            command: Command::Comments(edit),
            resolution: Resolution::Refused { code: Code::NotAuthor, message: "not yours".into() },
            at: Timestamp(3),
            taken: true,
        };
        let (line, value) = entry(&ending);
        assert!(line.contains("not yours (not_author)"), "{line}");
        assert_eq!(value["command"]["comments"]["edit"]["body"], "well, \"no\"");
        assert_eq!((&value["code"], &value["at_ms"]), (&json!("not_author"), &json!(3)));
    }
}
