//! What the session tells, as JSON. Must never know what it means for an app.

use serde_json::{Map, Value, json};
use syncline_engine::document::{Command, Event};
use syncline_engine::ids::Address;
use syncline_engine::replica::Resolution;
use syncline_engine::session::{
    CommandId, ConnectionStatus, DocumentStatus, Ending, Notice, PresenceEvent, SpaceNews,
    SpaceStatus,
};

/// A notice.
#[must_use]
pub fn notice(notice: &Notice) -> Value {
    match notice {
        Notice::Connection(status) => json!({ "type": "connection", "status": connection(status) }),
        Notice::TokenWanted => json!({ "type": "token_wanted" }),
        Notice::Document { address, status } => json!({
            "type": "document", "address": address.to_string(), "status": document(*status),
        }),
        Notice::Changed { address, events, local } => json!({
            "type": "changed", "address": address.to_string(), "local": local,
            "events": events.iter().map(event).collect::<Vec<_>>(),
        }),
        Notice::Applied { id, address } => json!({
            "type": "applied", "id": id.to_string(), "address": address.to_string(),
        }),
        Notice::Resolved { id, address, command, resolution: ended } => with(
            command_of(*id, address, command),
            [("type", "resolved".into()), ("resolution", resolution(ended))],
        ),
        Notice::Dropped { id, address, command } => {
            with(command_of(*id, address, command), [("type", "dropped".into())])
        }
        Notice::Space { space, news } => {
            json!({ "type": "space", "space": space, "news": space_news(news) })
        }
        Notice::Stream { address } => json!({ "type": "stream", "address": address.to_string() }),
        Notice::Feed { space, changed } => {
            json!({ "type": "feed", "space": space, "changed": changed })
        }
        Notice::Problem { address, code, message } => {
            let mut problem = json!({ "type": "problem", "code": code.slug(), "message": message });
            if let Some(address) = address {
                problem["address"] = address.to_string().into();
            }
            problem
        }
    }
}

/// How a command ended, and what it was.
#[must_use]
pub fn ending(ending: &Ending) -> Value {
    let named = command_of(ending.id, &ending.address, &ending.command);
    with(named, [("resolution", resolution(&ending.resolution))])
}

/// A command without an end.
#[must_use]
pub fn pending(id: CommandId, command: &Command) -> Value {
    json!({ "id": id.to_string(), "command": command })
}

fn command_of(id: CommandId, address: &Address, command: &Command) -> Value {
    json!({ "id": id.to_string(), "address": address.to_string(), "command": command })
}

fn with<const N: usize>(mut object: Value, more: [(&str, Value); N]) -> Value {
    for (name, value) in more {
        object[name] = value;
    }
    object
}

fn resolution(resolution: &Resolution) -> Value {
    match resolution {
        Resolution::Confirmed => json!({ "type": "confirmed" }),
        Resolution::NoEffect => json!({ "type": "no_effect" }),
        Resolution::Superseded => json!({ "type": "superseded" }),
        Resolution::Refused { code, message } => {
            json!({ "type": "refused", "code": code.slug(), "message": message })
        }
    }
}

fn connection(status: &ConnectionStatus) -> Value {
    let phase = |phase: &str| json!({ "phase": phase });
    match status {
        ConnectionStatus::Idle => phase("idle"),
        ConnectionStatus::Offline => phase("offline"),
        ConnectionStatus::Paused => phase("paused"),
        ConnectionStatus::Connecting => phase("connecting"),
        ConnectionStatus::Authenticating => phase("authenticating"),
        ConnectionStatus::Connected => phase("connected"),
        ConnectionStatus::Reconnecting { attempt, in_ms } => {
            json!({ "phase": "reconnecting", "attempt": attempt, "in_ms": in_ms })
        }
        ConnectionStatus::Failed { code, message } => {
            json!({ "phase": "failed", "code": code.slug(), "message": message })
        }
        _ => phase("unknown"),
    }
}

fn document(status: DocumentStatus) -> Value {
    let DocumentStatus { ready, live, pending, seq } = status;
    json!({ "ready": ready, "live": live, "pending": pending, "seq": seq })
}

fn space_news(news: &SpaceNews) -> Value {
    match news {
        SpaceNews::Status(SpaceStatus::Outside { code, message, .. }) => {
            json!({ "type": "status", "code": code.slug(), "message": message })
        }
        SpaceNews::Status(_) => json!({ "type": "status" }),
        SpaceNews::Changed(events) => {
            let mut users: Vec<&str> = events.iter().filter_map(user_of).collect();
            users.dedup();
            match users.as_slice() {
                [user] => json!({ "type": "changed", "user": user }),
                _ => json!({ "type": "changed" }),
            }
        }
        SpaceNews::NotAnnounced { code, message } => {
            json!({ "type": "not_announced", "code": code.slug(), "message": message })
        }
        SpaceNews::Kicked { user, devices, refused } => {
            let mut kicked = json!({ "type": "kicked", "user": user, "devices": devices });
            if let Some(code) = refused {
                kicked["code"] = code.slug().into();
            }
            kicked
        }
        _ => json!({ "type": "changed" }),
    }
}

fn user_of(event: &PresenceEvent) -> Option<&str> {
    match event {
        PresenceEvent::Came(user)
        | PresenceEvent::Left(user)
        | PresenceEvent::Member(user)
        | PresenceEvent::Saying { user, .. } => Some(user.as_str()),
        PresenceEvent::Crowd | _ => None,
    }
}

/// What changed in a document.
fn event(event: &Event) -> Value {
    let of = |kind: &str, fields: Value| {
        let mut object = Map::new();
        object.insert("type".to_owned(), kind.into());
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        Value::Object(object)
    };
    let spliced = |kind, index: &usize, deleted: &usize, inserted: &String| {
        of(kind, json!({ "index": index, "deleted": deleted, "inserted": inserted }))
    };
    match event {
        Event::PostCreated { author } => of("post_created", json!({ "author": author.as_str() })),
        Event::PostRemoved => of("post_removed", Value::Null),
        Event::TitleSpliced { index, deleted, inserted } => {
            spliced("title_spliced", index, deleted, inserted)
        }
        Event::BodySpliced { index, deleted, inserted } => {
            spliced("body_spliced", index, deleted, inserted)
        }
        Event::MarksChanged { start, end } => {
            of("marks_changed", json!({ "start": start, "end": end }))
        }
        Event::TagAdded { tag } => of("tag_added", json!({ "tag": tag })),
        Event::TagRemoved { tag } => of("tag_removed", json!({ "tag": tag })),
        Event::EditorAdded { user } => of("editor_added", json!({ "user": user.as_str() })),
        Event::EditorRemoved { user } => of("editor_removed", json!({ "user": user.as_str() })),
        Event::StatusChanged { status } => {
            of("status_changed", json!({ "status": status.as_str() }))
        }
        Event::LikeAdded { target, reaction, user } => of(
            "like_added",
            json!({ "target": target.to_string(), "reaction": reaction, "user": user.as_str() }),
        ),
        Event::LikeRemoved { target, reaction, user } => of(
            "like_removed",
            json!({ "target": target.to_string(), "reaction": reaction, "user": user.as_str() }),
        ),
        Event::CounterChanged { counter, value } => {
            of("counter_changed", json!({ "counter": counter.as_str(), "value": value }))
        }
        Event::CommentAdded { id, parent, author } => of(
            "comment_added",
            json!({
                "id": id.to_string(),
                "parent": parent.map(|parent| parent.to_string()),
                "author": author.as_str(),
            }),
        ),
        Event::CommentEdited { id } => of("comment_edited", json!({ "id": id.to_string() })),
        Event::CommentDeleted { id } => of("comment_deleted", json!({ "id": id.to_string() })),
        Event::CommentRemoved { id } => of("comment_removed", json!({ "id": id.to_string() })),
        Event::JsonChanged { path } => of("json_changed", json!({ "path": path })),
        _ => of("changed", Value::Null),
    }
}
