//! Where this device stands with the server, once or as it changes.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use syncline_client::SyncStatus;
use syncline_engine::clock::Timestamp;
use syncline_engine::ids::Address;
use syncline_engine::session::ConnectionStatus;

use super::connect::{ConnectArgs, Connection};
use super::table::table;
use super::talk::say;

/// Shows where this device stands with the server
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Keeps showing it, a line for each change of it, until interrupted
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// One moment of a client, for people and for programs.
fn moment(now: Timestamp, status: &SyncStatus) -> (String, Value) {
    let (phase, detail) = phase(&status.connection);
    let (live, open) = (status.live_documents, status.open_documents);
    let mut line = format!("{phase}{detail}; {live} of {open} documents live");
    let oldest = status.oldest_pending.map(|at| now.since(at));
    match oldest {
        Some(age) => {
            let (pending, bytes, age) = (status.pending, status.outbox_bytes, age.as_secs_f64());
            let more = format!("; {pending} changes pending, {bytes} bytes, oldest {age:.1} s old");
            line.push_str(&more);
        }
        None => line.push_str("; nothing pending"),
    }
    let value = json!({
        "connection": phase,
        "detail": detail.trim_start_matches(", "),
        "open": open,
        "live": live,
        "pending": status.pending,
        "outbox_bytes": status.outbox_bytes,
        "oldest_pending_ms": oldest.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        "last_durable_ms": status.last_durable.map(|at| at.0),
        "next_attempt_ms": status.next_attempt.map(|at| at.0),
        "refused": status.refused,
    });
    (line, value)
}

/// The name of a phase, and what more there is to say of it.
fn phase(status: &ConnectionStatus) -> (&'static str, String) {
    let name = match status {
        ConnectionStatus::Idle => "idle",
        ConnectionStatus::Offline => "offline",
        ConnectionStatus::Paused => "paused",
        ConnectionStatus::Connecting => "connecting",
        ConnectionStatus::Authenticating => "authenticating",
        ConnectionStatus::Connected => "connected",
        ConnectionStatus::Reconnecting { attempt, in_ms } => {
            let wait = Duration::from_millis(*in_ms).as_secs_f64();
            return ("reconnecting", format!(", attempt {attempt} in {wait:.1} s"));
        }
        ConnectionStatus::Failed { code, message } => {
            return ("failed", format!(", {code}: {message}"));
        }
        _ => "unknown",
    };
    (name, String::new())
}

/// Opens what this device has and tells each change of its state until interrupted.
async fn watch_status(connection: &Connection, json: bool) -> anyhow::Result<()> {
    let mut open = Vec::new();
    for address in connection.client.stored_documents().await? {
        open.push(connection.client.document(&address).await?);
    }
    let mut status = connection.client.status();
    let mut said = String::new();
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let (line, value) =
            moment(connection.client.new_id().timestamp(), &status.borrow_and_update());
        if line != said {
            say(json, &line, &value);
            said = line;
        }
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return Ok(()); },
            signal = &mut interrupted => return Ok(signal?),
        }
    }
}

pub(crate) async fn status(args: StatusArgs) -> anyhow::Result<bool> {
    let connection = Connection::open(&args.connect).await?;
    if args.watch {
        watch_status(&connection, args.connect.json).await?;
        connection.client.close().await;
        return Ok(true);
    }
    let stored = connection.client.stored_documents().await?;
    let unsent = connection.client.pending_documents().await?;
    // Connecting takes a moment; an empty set of documents is in sync as soon as it is done.
    let connected = connection.synced().await.unwrap_or(false)
        || connection.client.status().borrow().connection == ConnectionStatus::Connected;
    let status = connection.client.status().borrow().clone();
    let refused = connection.client.refused(None).len();
    let unsent: Vec<String> = unsent.iter().map(Address::to_string).collect();
    let value = json!({
        "user": connection.client.user().as_str(),
        "connected": connected,
        "documents": stored.len(),
        "pending": status.pending,
        "pending_documents": unsent,
        "refused": refused,
    });
    let rows = [
        ("user", connection.client.user().to_string()),
        ("server", if connected { "connected" } else { "not connected" }.to_owned()),
        ("documents on this device", stored.len().to_string()),
        ("pending changes", status.pending.to_string()),
        ("refused changes", refused.to_string()),
        ("in", if unsent.is_empty() { "-".to_owned() } else { unsent.join(", ") }),
    ];
    say(args.connect.json, table(&rows).trim_end(), &value);
    connection.client.close().await;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use syncline_engine::codes::Code;

    use super::*;

    #[test]
    fn a_moment_is_a_line_and_the_same_in_json() {
        let mut status = SyncStatus::default();
        let (line, value) = moment(Timestamp(9_000), &status);
        assert_eq!(line, "idle; 0 of 0 documents live; nothing pending");
        assert_eq!(
            (&value["connection"], &value["oldest_pending_ms"]),
            (&json!("idle"), &json!(null))
        );
        status.connection = ConnectionStatus::Reconnecting { attempt: 3, in_ms: 1_500 };
        (status.pending, status.outbox_bytes) = (2, 700);
        status.oldest_pending = Some(Timestamp(5_000));
        let (line, value) = moment(Timestamp(9_000), &status);
        assert_eq!(
            line,
            "reconnecting, attempt 3 in 1.5 s; 0 of 0 documents live; 2 changes pending, 700 bytes, \
             oldest 4.0 s old"
        );
        assert_eq!(value["connection"], "reconnecting");
        assert_eq!(value["oldest_pending_ms"], 4_000);
        let message = "who, me, or you".to_owned();
        status.connection = ConnectionStatus::Failed { code: Code::Unauthenticated, message };
        let (_, value) = moment(Timestamp(9_000), &status);
        assert_eq!(value["connection"], "failed");
        assert_eq!(value["detail"], "unauthenticated: who, me, or you");
    }
}
