//! Who is in a space and what they do there, once or as it changes.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Map, Value, json};
use syncline_client::{Space, SpaceEvents};
use syncline_engine::clock::Timestamp;
use syncline_engine::ids::UserId;
use syncline_engine::presence::{IDLE, STATUS, TYPING};
use syncline_engine::session::{Counts, Device, Member, PresenceEvent, SpaceNews, SpaceStatus};

use super::connect::{ConnectArgs, Connection};
use super::talk::say;

/// Shows who is in a space
#[derive(Debug, Args)]
pub(crate) struct WhoArgs {
    /// Which space
    space: String,
    /// Goes on showing what changes, until interrupted
    #[arg(long)]
    watch: bool,
    /// Enters the space, to be seen there by the others; without it you only look
    #[arg(long)]
    join: bool,
    /// What the others are to know of you, with --join
    #[arg(long, value_name = "TEXT", requires = "join")]
    status: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// What is known of a space at one moment.
struct Scene {
    space: String,
    members: Vec<Member>,
    crowd: Option<Counts>,
    seen: BTreeMap<UserId, Timestamp>,
}

impl Scene {
    fn of(space: &Space) -> Self {
        Self {
            space: space.name().to_owned(),
            members: space.members(),
            crowd: space.crowd(),
            seen: space.last_seen(),
        }
    }

    fn json(&self) -> Value {
        let crowd = self.crowd.map(|crowd| {
            json!({
                "devices": crowd.devices, "users": crowd.users, "idle": crowd.idle,
                "typing": crowd.typing,
            })
        });
        let seen = self.seen.iter().map(|(user, at)| (user.to_string(), Value::from(at.0)));
        json!({
            "space": self.space,
            "crowd": crowd,
            "members": self.members.iter().map(member_json).collect::<Vec<_>>(),
            "last_seen": seen.collect::<Map<_, _>>(),
        })
    }

    fn text(&self, now: Timestamp) -> String {
        let mut lines = vec![match self.crowd {
            None => format!("{}: {} here", self.space, self.members.len()),
            Some(crowd) => format!(
                "{}: {} here on {} devices, {} of them idle, {} typing; among them",
                self.space, crowd.users, crowd.devices, crowd.idle, crowd.typing,
            ),
        }];
        lines.extend(self.members.iter().map(|member| member_line(member, now)));
        for (user, at) in &self.seen {
            lines.push(format!("  {user} was here {} ago", span(*at, now)));
        }
        lines.join("\n")
    }
}

fn device_json(device: &Device) -> Value {
    let announces = device.sayings.iter().map(|(key, saying)| {
        // JSON by convention: what is none is a text.
        let value = serde_json::from_str(&saying.value);
        (key.clone(), value.unwrap_or_else(|_| Value::from(saying.value.as_str())))
    });
    json!({
        "device": device.number,
        "since": device.since.0,
        "announces": announces.collect::<Map<_, _>>(),
    })
}

fn member_json(member: &Member) -> Value {
    json!({
        "user": member.user.as_str(),
        "role": member.role.as_str(),
        "active": member.is_active(),
        "since": member.since().0,
        "devices": member.devices.iter().map(device_json).collect::<Vec<_>>(),
    })
}

fn member_line(member: &Member, now: Timestamp) -> String {
    let idle = member.devices.iter().filter_map(Device::idle_since).max();
    let mut words = vec![match idle.filter(|_| !member.is_active()) {
        None => "active".to_owned(),
        Some(since) => format!("idle for {}", span(since, now)),
    }];
    if member.devices.len() > 1 {
        words.push(format!("on {} devices", member.devices.len()));
    }
    let text = |key: &str| {
        let said = member.says(key)?;
        Some(serde_json::from_str::<String>(said).unwrap_or_else(|_| said.to_owned()))
    };
    words.extend(text(TYPING).map(|document| format!("types in {}", quiet(&document))));
    words.extend(text(STATUS).map(|status| format!("\"{}\"", quiet(&status))));
    format!("  {} ({}): {}", member.user, member.role, words.join(", "))
}

/// What others announce is shown without what would move the cursor of a terminal.
fn quiet(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A stretch of time in its largest unit.
fn span(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.since(from).as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A line about something that happened.
fn event_line(space: &Space, event: &PresenceEvent) -> Option<String> {
    Some(match event {
        PresenceEvent::Came(user) => format!("{user} came"),
        PresenceEvent::Left(user) => format!("{user} left"),
        PresenceEvent::Saying { user, device, key } => {
            let members = space.members();
            let device = members
                .iter()
                .filter(|member| member.user == *user)
                .flat_map(|member| &member.devices)
                .find(|other| other.number == *device);
            match device.and_then(|device| device.says(key)) {
                Some(_) if key == IDLE => format!("{user} is idle"),
                None if key == IDLE => format!("{user} is active"),
                Some(value) => format!("{user}: {key} {}", quiet(value)),
                None => format!("{user}: no {key} any more"),
            }
        }
        PresenceEvent::Crowd => {
            let crowd = space.crowd()?;
            format!("{} users on {} devices", crowd.users, crowd.devices)
        }
        PresenceEvent::Member(user) => {
            let members = space.members();
            let member = members.iter().find(|member| member.user == *user)?;
            format!("{user} ({}): on {} devices", member.role, member.devices.len())
        }
        _ => return None,
    })
}

pub(crate) async fn run(args: WhoArgs) -> anyhow::Result<bool> {
    let connection = Connection::open_in_memory(&args.connect).await?;
    let client = &connection.client;
    let space =
        if args.join { client.space(&args.space)? } else { client.watch_space(&args.space)? };
    space.set_status(args.status.as_deref())?;
    let mut events = space.events();
    connection.entered(&space).await?;
    let now = || client.new_id().timestamp();
    let scene = Scene::of(&space);
    say(args.connect.json, &scene.text(now()), &scene.json());
    let stayed = !args.watch || watch(&space, &mut events, args.connect.json).await?;
    drop(space);
    connection.client.close().await;
    Ok(stayed)
}

/// Tells what happens until interrupted. Answers whether the app could stay for that.
async fn watch(space: &Space, events: &mut SpaceEvents, json: bool) -> anyhow::Result<bool> {
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let news = tokio::select! {
            news = events.next() => news,
            signal = &mut interrupted => return signal.map(|()| true).map_err(Into::into),
        };
        match news {
            None => return Ok(true),
            Some(SpaceNews::Changed(events)) => {
                let lines: Vec<String> =
                    events.iter().filter_map(|event| event_line(space, event)).collect();
                if json || !lines.is_empty() {
                    say(json, &lines.join("\n"), &Scene::of(space).json());
                }
            }
            Some(SpaceNews::Status(SpaceStatus::Apart)) if !json => {
                println!("no contact to the server; what is known is from before");
            }
            Some(SpaceNews::Status(SpaceStatus::Outside { code, message, .. })) => {
                eprintln!("syncline: {message} ({code})");
                return Ok(false);
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_announce_cannot_play_with_the_terminal() {
        assert_eq!(quiet("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn times_are_told_in_their_largest_unit() {
        for (seconds, told) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7_199, "1 h"), (90_000, "1 d")]
        {
            assert_eq!(span(Timestamp(0), Timestamp(seconds * 1_000)), told);
        }
    }
}
