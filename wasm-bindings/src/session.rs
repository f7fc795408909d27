//! The session machine with what it needs of the world beside inputs: the time, ids, and commands as
//! JSON. Must never know JavaScript, so that it runs under `cargo test` as well.

use std::fmt;

use automerge::TextEncoding;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::{Command, View, fill_in};
use syncline_engine::ids::{Address, Ids, Ulid, UserId};
use syncline_engine::machine::Machine as _;
use syncline_engine::read_json::read_json;
use syncline_engine::session::{CommandId, Config, Effect, Identity, Input, META_PREFIX, Session};

use crate::fault::Fault;
use crate::time::Time;

/// What is stored: keys and values.
pub type Entries = Vec<(Vec<u8>, Bytes)>;

/// Who begins a session.
#[derive(Deserialize)]
pub struct Start {
    /// The user's name.
    pub user: String,
    /// What proves it, where the server asks.
    #[serde(default)]
    pub token: Option<String>,
    /// Name and version of the app.
    #[serde(default)]
    pub agent: String,
}

impl fmt::Debug for Start {
    /// Says nothing of the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A session that is driven from outside.
#[derive(Debug)]
pub struct Driven {
    pub(crate) session: Session,
    time: Time,
    ids: Ids,
}

impl Driven {
    /// Begins one from what is stored under [`Driven::meta_prefix`], with 64 random bytes.
    ///
    /// # Errors
    /// If the JSON does not read, the user's name is none, or what is stored is damaged.
    pub fn start(start: &str, stored: &Entries, random: &[u8; 64]) -> Result<Self, Fault> {
        let start: Start = read_json(start).map_err(|error| {
            Fault::new(Code::BadCommand, format!("the configuration does not read: {error}"))
        })?;
        let user = UserId::new(&start.user)
            .map_err(|error| Fault::new(Code::Unauthenticated, error.to_string()))?;
        let (mut seed, mut secret) = ([0; 32], [0; 32]);
        seed.copy_from_slice(&random[..32]);
        secret.copy_from_slice(&random[32..]);
        let identity = Identity { user, token: start.token, agent: start.agent, seed };
        // JavaScript counts text in UTF-16 code units.
        let config = Config { text_encoding: TextEncoding::Utf16CodeUnit, ..Config::default() };
        let session = Session::new(identity, config, stored)?;
        Ok(Self { session, time: Time::default(), ids: Ids::new(secret) })
    }

    /// What must be read of the store before a session can begin.
    #[must_use]
    pub const fn meta_prefix() -> &'static [u8] {
        META_PREFIX
    }

    /// What time it is for the session, if the clock says `now`.
    pub fn at(&mut self, now: f64) -> Timestamp {
        self.time.at(now)
    }

    /// Hands something in.
    pub fn input(&mut self, now: f64, input: Input) {
        let now = self.at(now);
        self.session.handle(now, input);
    }

    /// The next thing that is to be carried out.
    pub fn effect(&mut self) -> Option<Effect> {
        self.session.poll_effect()
    }

    /// When it wants to be told the time, by the clock that tells it.
    #[must_use]
    pub fn timeout(&self) -> Option<u64> {
        self.session.poll_timeout().map(|wake| self.time.told_at(wake.at))
    }

    /// A moment by the clock that tells the time.
    #[must_use]
    pub const fn told_at(&self, at: Timestamp) -> u64 {
        self.time.told_at(at)
    }

    /// Carries out what was gathered of typing in a document.
    pub fn flush(&mut self, now: f64, address: &Address) {
        let now = self.at(now);
        self.session.flush(now, address);
    }

    /// A new id, larger than any drawn before.
    pub fn new_id(&mut self, now: f64) -> Ulid {
        let now = self.at(now);
        self.ids.after(None, now)
    }

    /// Carries out a command of which who, when and new ids may be left out, unless one of that name is
    /// known; answers the name of the command that it is or became part of. The id of a new comment
    /// sorts after every comment seen so far, whatever the clock says.
    ///
    /// # Errors
    /// If it does not read, or the session does not take it on.
    pub fn execute(
        &mut self,
        now: f64,
        address: &str,
        command: &str,
        id: Option<&str>,
    ) -> Result<CommandId, Fault> {
        let (now, address, id) = self.named(now, address, id)?;
        let command = self.read(now, &address, command)?;
        self.session.execute(now, id, &address, command)?;
        Ok(self.session.known(id).unwrap_or(id))
    }

    /// The same as one text edit of many; answers the name of the command that it is part of.
    ///
    /// # Errors
    /// As for [`Driven::execute`].
    pub fn execute_typed(
        &mut self,
        now: f64,
        address: &str,
        command: &str,
        id: Option<&str>,
    ) -> Result<CommandId, Fault> {
        let (now, address, id) = self.named(now, address, id)?;
        let command = self.read(now, &address, command)?;
        Ok(self.session.execute_typed(now, id, &address, command)?)
    }

    /// Undoes or does again; answers the new command's name.
    ///
    /// # Errors
    /// If there is nothing to take back, or it can't be.
    pub fn take_back(
        &mut self,
        now: f64,
        address: &str,
        id: Option<&str>,
        undo: bool,
    ) -> Result<CommandId, Fault> {
        let (now, address, id) = self.named(now, address, id)?;
        match undo {
            true => self.session.undo(now, id, &address)?,
            false => self.session.redo(now, id, &address)?,
        };
        Ok(id)
    }

    fn named(
        &mut self,
        now: f64,
        address: &str,
        id: Option<&str>,
    ) -> Result<(Timestamp, Address, CommandId), Fault> {
        let now = self.at(now);
        let address: Address = address.parse()?;
        let id = match id {
            Some(id) => id.parse::<CommandId>()?,
            None => self.ids.after(None, now),
        };
        Ok((now, address, id))
    }

    fn read(&mut self, now: Timestamp, address: &Address, command: &str) -> Result<Command, Fault> {
        let bad = |error: serde_json::Error| Fault::new(Code::BadCommand, error.to_string());
        let mut value: Value = serde_json::from_str(command).map_err(bad)?;
        let largest = match self.session.view(address) {
            Some(View::Comments(comments)) => comments.iter().next_back().map(|(id, _)| id),
            Some(View::Post(_) | View::Likes(_) | View::Json(_)) | None => None,
        };
        let id = self.ids.after(largest, now);
        fill_in(&mut value, self.session.user().as_str(), now, id);
        serde_json::from_value(value).map_err(bad)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COMMENTS: &str = "town/one/comments";

    /// A session on an empty store, with documents that are open, and how far the clock is.
    fn driven() -> Driven {
        let config = json!({ "user": "ada", "agent": "test/1" }).to_string();
        let mut driven = Driven::start(&config, &Vec::new(), &[7; 64]).unwrap();
        for address in [COMMENTS, "town/one/post"] {
            let address = address.parse().unwrap();
            driven.input(1_000.0, Input::Open { address, write: false });
        }
        while let Some(effect) = driven.effect() {
            if let Effect::Read { token, .. } = effect {
                driven.input(1_000.0, Input::Read { token, result: Ok(Vec::new()) });
            }
        }
        driven
    }

    fn add(driven: &mut Driven, body: &str, id: Option<&str>) -> Result<CommandId, Fault> {
        let command = json!({ "comments": { "add": { "body": body } } }).to_string();
        driven.execute(2_000.0, COMMENTS, &command, id)
    }

    #[test]
    fn a_short_command_is_filled_in_and_carried_out_once_under_its_name() {
        let mut driven = driven();
        let name = driven.new_id(1_500.0);
        for _ in 0..2 {
            assert_eq!(add(&mut driven, "Hi", Some(&name.to_string())), Ok(name));
        }
        let shown = driven.view(COMMENTS).unwrap().unwrap();
        assert_eq!(shown["count"], 1);
        let comment = &shown["thread"][0];
        assert_eq!((&comment["author"], &comment["created"]), (&json!("ada"), &json!(2_000)));
        let told = std::iter::from_fn(|| driven.effect())
            .filter(|effect| matches!(effect, Effect::Notify(_)))
            .count();
        assert!(told > 0);
        let pending = driven.pending(COMMENTS).unwrap();
        assert_eq!(
            (pending[0]["id"].as_str(), pending[1].as_str()),
            (Some(&*name.to_string()), None)
        );
    }

    #[test]
    fn new_comments_sort_after_all_that_are_there() {
        let mut driven = driven();
        let far = Ulid::new(Timestamp(9_000_000), 1).to_string();
        let command = json!({ "comments": { "add": { "id": far, "body": "from the future" } } });
        driven.execute(2_000.0, COMMENTS, &command.to_string(), None).unwrap();
        add(&mut driven, "now", None).unwrap();
        let thread = driven.thread(COMMENTS).unwrap().unwrap();
        assert_eq!((&thread[0][0], &thread[1][1]), (&json!(far), &json!(0)));
        assert!(thread[1][0].as_str().unwrap() > far.as_str());
    }

    #[test]
    fn a_long_command_is_one_pending_one() {
        let mut driven = driven();
        let (post, body) = ("town/one/post", "word ".repeat(20_000));
        let create = json!({ "post": { "create": { "title": "T" } } }).to_string();
        driven.execute(2_000.0, post, &create, None).unwrap();
        let splice = json!({ "field": "body", "index": 0, "delete": 0, "insert": body });
        let splice = json!({ "post": { "splice": splice } });
        let name = driven.execute(2_000.0, post, &splice.to_string(), None).unwrap();
        assert!(driven.session.stats().pending > 2, "several changes");
        let pending = driven.pending(post).unwrap();
        assert_eq!(pending.as_array().map(Vec::len), Some(2));
        assert_eq!(
            (&pending[1]["id"], &pending[1]["command"]),
            (&json!(name.to_string()), &splice)
        );
        let history = driven.history(post).unwrap();
        let open = history.as_array().unwrap().iter().filter(|change| change["pending"] == true);
        assert_eq!(open.count(), driven.session.stats().pending);
    }

    #[test]
    fn what_is_wrong_has_a_code() {
        let mut driven = driven();
        let code = |result: Result<CommandId, Fault>| result.unwrap_err().code;
        assert_eq!(code(add(&mut driven, "", None)), Code::BadCommand);
        assert_eq!(code(add(&mut driven, "Hi", Some("me"))), Code::BadCommand);
        assert_eq!(code(driven.execute(0.0, "nowhere", "{}", None)), Code::BadAddress);
        assert_eq!(code(driven.execute(0.0, "a/b/likes", "{}", None)), Code::BadCommand);
        assert_eq!(code(driven.take_back(0.0, "a/b/likes", None, true)), Code::NotFound);
        assert_eq!(code(driven.take_back(0.0, COMMENTS, None, true)), Code::NoEffect);
        let fault = Driven::start("{}", &Vec::new(), &[7; 64]).unwrap_err();
        assert_eq!(fault.code, Code::BadCommand);
        assert!(fault.to_string().starts_with("bad_command: "), "{fault}");
    }
}
