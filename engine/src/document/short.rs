//! Commands in short, as a page says them: who, when and new ids may be left out. The same for whoever
//! takes commands as JSON. Must never know who sends them, or how.

use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::ids::Ulid;

/// Fills in what is missing of a command as JSON: the user as who did it, `now` as when, and `id`
/// where a new one is needed. Answers whether what the command makes is named `id`. What is no
/// command is left as it is.
///
/// ```
/// use serde_json::json;
/// use syncline_engine::clock::Timestamp;
/// use syncline_engine::document::fill_in;
/// use syncline_engine::ids::Ulid;
/// let id = Ulid::new(Timestamp(7), 1);
/// let mut command = json!({ "comments": { "add": { "body": "Hi" } } });
/// assert!(fill_in(&mut command, "ada", Timestamp(7), id));
/// assert_eq!(command["comments"]["add"]["author"], "ada");
/// assert_eq!(command["comments"]["add"]["id"], id.to_string());
/// ```
pub fn fill_in(command: &mut Value, user: &str, now: Timestamp, id: Ulid) -> bool {
    let Some((facet, kind, fields)) = parts(command) else { return false };
    let (user, now) = (Value::from(user), Value::from(now.0));
    let mut used = false;
    let mut fresh_id = |fields: &mut Map<String, Value>, name: &str| {
        used = !fields.contains_key(name);
        missing(fields, name, id.to_string().into());
    };
    match (facet.as_str(), kind.as_str()) {
        ("post", "create") => {
            missing(fields, "author", user);
            missing(fields, "created", now);
            missing(fields, "title", "".into());
            missing(fields, "body", "".into());
            missing(fields, "tags", json!([]));
        }
        ("comments", "add") => {
            fresh_id(fields, "id");
            missing(fields, "author", user);
            missing(fields, "created", now);
            missing(fields, "parent", Value::Null);
        }
        ("comments", "edit") => missing(fields, "edited", now),
        ("comments", "delete") => missing(fields, "at", now),
        ("likes", kind @ ("like" | "unlike")) => {
            missing(fields, "user", user);
            missing(fields, "target", "post".into());
            missing(fields, "reaction", "like".into());
            if kind == "like" {
                missing(fields, "at", id.to_string().into());
            }
        }
        _ => {}
    }
    used
}

/// The facet, the command and its fields, where it has that form.
fn parts(command: &mut Value) -> Option<(String, String, &mut Map<String, Value>)> {
    let (facet, inner) = only(command)?;
    let (kind, fields) = only(inner)?;
    Some((facet, kind, fields.as_object_mut()?))
}

fn only(value: &mut Value) -> Option<(String, &mut Value)> {
    let object = value.as_object_mut().filter(|object| object.len() == 1)?;
    object.iter_mut().next().map(|(name, value)| (name.clone(), value))
}

fn missing(fields: &mut Map<String, Value>, name: &str, value: Value) {
    fields.entry(name).or_insert(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Command, CommentsCommand, LikesCommand, Target};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn filled(command: &Value) -> (Command, bool) {
        let mut command = command.clone();
        let used = fill_in(&mut command, "ada", NOW, Ulid::new(NOW, 1));
        (serde_json::from_value(command).expect("it is a command"), used)
    }

    #[test]
    fn the_shortest_commands_are_whole() {
        let (command, used) = filled(&json!({"comments": {"add": {"body": "Hi"}}}));
        let Command::Comments(CommentsCommand::Add { id, author, parent, created, body }) = command
        else {
            panic!("{command:?}")
        };
        assert!(used);
        assert_eq!((id, author.as_str(), parent), (Ulid::new(NOW, 1), "ada", None));
        assert_eq!((created, body.as_str()), (NOW, "Hi"));
        let (command, used) = filled(&json!({"likes": {"like": {}}}));
        let Command::Likes(LikesCommand::Like { target, reaction, .. }) = command else {
            panic!("{command:?}")
        };
        assert_eq!((target, reaction.as_str(), used), (Target::Post, "like", false));
        for short in [
            json!({"likes": {"unlike": {}}}),
            json!({"post": {"create": {}}}),
            json!({"comments": {"delete": {"id": "01J8ZQ4W5X6Y7Z8A9B0C1D2E3F"}}}),
            json!({"comments": {"edit": {"id": "01J8ZQ4W5X6Y7Z8A9B0C1D2E3F", "body": "x"}}}),
        ] {
            assert!(!filled(&short).1, "{short}");
        }
    }

    #[test]
    fn what_is_said_stands_and_what_is_no_command_is_left_alone() {
        let (command, used) = filled(&json!({"comments": {"add": {
            "id": "01J8ZQ4W5X6Y7Z8A9B0C1D2E3F", "author": "eve", "created": 7, "body": "Hi",
        }}}));
        let Command::Comments(CommentsCommand::Add { author, created, .. }) = command else {
            panic!("{command:?}")
        };
        assert_eq!((author.as_str(), created, used), ("eve", Timestamp(7), false));
        for other in
            [json!(null), json!([1]), json!({}), json!({"post": 1}), json!({"a": {}, "b": {}})]
        {
            let mut same = other.clone();
            assert!(!fill_in(&mut same, "ada", NOW, Ulid::new(NOW, 1)));
            assert_eq!(same, other);
        }
    }
}
