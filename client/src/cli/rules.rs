//! The rules of a space, shown and changed: who may do what there.

use std::str::FromStr;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use syncline_client::Document;
use syncline_engine::document::{Command, JsonCommand, PathSegment, View};
use syncline_engine::ids::{Address, UserId};
use syncline_engine::policy::{Capabilities, Role, Rules};

use super::connect::{ConnectArgs, Connection};
use super::issue::issue;
use super::talk::{finish, say};

/// Shows who may do what in a space, and changes it
#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    /// Which space
    space: String,
    /// Gives a user a role: owner, moderator, member, viewer, importer, outsider, or one of yours
    #[arg(long, value_name = "USER=ROLE")]
    role: Vec<Pair<UserId, Role>>,
    /// Takes a user's role away
    #[arg(long, value_name = "USER", value_parser = user)]
    no_role: Vec<UserId>,
    /// Keeps a user out
    #[arg(long, value_name = "USER", value_parser = user)]
    ban: Vec<UserId>,
    /// Lets a user in again
    #[arg(long, value_name = "USER", value_parser = user)]
    unban: Vec<UserId>,
    /// Says what a role may do: some of read, post, comment, react, edit_json, edit_any, moderate, manage,
    /// import
    #[arg(long, value_name = "ROLE=WHAT,WHAT")]
    allow: Vec<Pair<Role, String>>,
    /// Whether those who have no role are kept out
    #[arg(long, value_name = "BOOL")]
    private: Option<bool>,
    /// The role of those who have none, in a space that is not private
    #[arg(long, value_name = "ROLE")]
    default_role: Option<Role>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Two words with a `=` between them.
#[derive(Debug, Clone)]
struct Pair<A, B>(A, B);

/// A word on the command line.
trait Word: Sized {
    fn read(word: &str) -> Result<Self, String>;
}

impl Word for UserId {
    fn read(word: &str) -> Result<Self, String> {
        user(word)
    }
}

impl Word for Role {
    fn read(word: &str) -> Result<Self, String> {
        Self::new(word).map_err(|error| error.to_string())
    }
}

impl Word for String {
    fn read(word: &str) -> Result<Self, String> {
        Ok(word.to_owned())
    }
}

impl<A: Word, B: Word> FromStr for Pair<A, B> {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (first, second) = s.split_once('=').ok_or("put a = between the two")?;
        Ok(Self(A::read(first)?, B::read(second)?))
    }
}

fn user(name: &str) -> Result<UserId, String> {
    UserId::new(name).map_err(|error| error.to_string())
}

fn put(path: &[&str], value: Value) -> Command {
    let path = path.iter().map(|segment| PathSegment::from(*segment)).collect();
    Command::Json(JsonCommand::Put { path, value })
}

fn delete(path: &[&str]) -> Command {
    let path = path.iter().map(|segment| PathSegment::from(*segment)).collect();
    Command::Json(JsonCommand::Delete { path })
}

impl RulesArgs {
    /// What is to be done, in the order of the options' list.
    fn commands(&self) -> anyhow::Result<Vec<Command>> {
        let mut commands = Vec::new();
        for Pair(user, role) in &self.role {
            commands.push(put(&["members", user.as_str()], json!(role.as_str())));
        }
        commands.extend(self.no_role.iter().map(|user| delete(&["members", user.as_str()])));
        commands.extend(self.ban.iter().map(|user| put(&["banned", user.as_str()], json!(true))));
        commands.extend(self.unban.iter().map(|user| delete(&["banned", user.as_str()])));
        for Pair(role, names) in &self.allow {
            let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
            // The server would refuse it too, and less to the point.
            let _: Capabilities = serde_json::from_value(json!(names))
                .with_context(|| format!("what {role} may do"))?;
            commands.push(put(&["roles", role.as_str()], json!(names)));
        }
        commands.extend(self.private.map(|private| put(&["private"], json!(private))));
        let role = self.default_role.as_ref();
        commands.extend(role.map(|role| put(&["default_role"], json!(role.as_str()))));
        Ok(commands)
    }
}

fn rules(document: &Document) -> anyhow::Result<Rules> {
    let value = document.with_view(|view| match view {
        View::Json(view) => view.value(),
        View::Post(_) | View::Likes(_) | View::Comments(_) => Value::Null,
    });
    serde_json::from_value(value).context("what is on this device is not rules")
}

/// The rules in a few lines.
fn text(space: &str, rules: &Rules) -> String {
    let mut lines = vec![if rules.private {
        format!("{space} is private")
    } else {
        format!("{space} is open: whoever comes is a {}", rules.default_role)
    }];
    let names = |may: &Capabilities| may.names().collect::<Vec<_>>().join(" ");
    lines.extend(rules.members.iter().map(|(user, role)| format!("  {user} is {role}")));
    lines.extend(rules.banned.iter().map(|user| format!("  {user} is banned")));
    lines.extend(rules.roles.iter().map(|(role, may)| format!("  {role} may {}", names(may))));
    lines.join("\n")
}

pub(crate) async fn run(args: RulesArgs) -> anyhow::Result<bool> {
    let commands = args.commands()?;
    let connection = Connection::open(&args.connect).await?;
    let address = Address::rules_of(&args.space)?;
    let (document, _) = connection.document(&address).await?;
    let mut pending = Vec::new();
    for command in &commands {
        pending.push(issue(&document, command).await?);
    }
    let standing = connection.settle_all(pending).await?;
    let rules = rules(&document)?;
    let remark = if commands.is_empty() { "" } else { standing.remark() };
    let said = format!("{}{remark}", text(&args.space, &rules));
    let value = json!({"space": args.space, "state": standing, "rules": rules});
    say(args.connect.json, &said, &value);
    finish(connection, document).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        rules: RulesArgs,
    }

    #[test]
    fn options_become_commands_and_nonsense_is_named() {
        let line =
            ["rules", "town", "--role", "ann=moderator", "--ban", "eve", "--private", "true"];
        let line = Line::try_parse_from(line).unwrap();
        let commands = line.rules.commands().unwrap();
        assert_eq!(
            commands,
            [
                put(&["members", "ann"], json!("moderator")),
                put(&["banned", "eve"], json!(true)),
                put(&["private"], json!(true)),
            ]
        );
        for wrong in ["ann", "a b=member", "ann=a role"] {
            assert!(Line::try_parse_from(["rules", "town", "--role", wrong]).is_err(), "{wrong}");
        }
        let line = Line::try_parse_from(["rules", "town", "--allow", "guide=read,fly"]).unwrap();
        let error = format!("{:#}", line.rules.commands().unwrap_err());
        assert!(error.contains("no capability is called fly"), "{error}");
    }
}
