//! What users do to documents: a command composed from what the view shows.

use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, JsonCommand, LikesCommand, PathSegment, PostCommand, PostView,
    Target, TextField, View,
};
use syncline_engine::ids::{Address, Ulid, UserId};

use crate::choices::Choices;
use crate::streaming::is_result;
use crate::world::World;

/// What composes a command: who, when, and under which name.
struct Author<'a> {
    id: Ulid,
    user: &'a UserId,
    now: Timestamp,
}

impl World {
    /// A user does something to a document that is open.
    pub(crate) fn some_command(&mut self, number: usize, document: usize, pick: u64) {
        let client = &self.clients[number];
        let address = self.documents[document].clone();
        if client.down || client.ending || client.frozen_until > self.now {
            return;
        }
        let Some(view) = client.session.view(&address) else { return };
        let now = client.clock(self.now);
        let id = Ulid::after(None, now, u128::from(pick));
        if client.applied.contains_key(&id) {
            return;
        }
        let author = Author { id, user: &client.user, now };
        let mut choices = Choices::new(pick);
        let command = match view {
            View::Post(view) => match post(view, &author, &mut choices) {
                Some(command) => command,
                None => return,
            },
            View::Likes(_) => likes(&author, &mut choices),
            View::Comments(view) => {
                let stranger = choices.per_mille(50);
                let thread = view.thread().filter(|(_, _, comment)| !is_result(&comment.body));
                let thread = thread.map(|(_, id, comment)| (id, &comment.author));
                let own = |who: &UserId| stranger || *who == client.user;
                let (ids, own): (Vec<Ulid>, Vec<Option<Ulid>>) =
                    thread.map(|(id, who)| (id, own(who).then_some(id))).unzip();
                let own: Vec<Ulid> = own.into_iter().flatten().collect();
                comments(&ids, &own, &author, &mut choices)
            }
            View::Json(view) => json(view.value().as_object().map_or(0, |o| o.len()), &mut choices),
        };
        self.execute(number, id, &address, command);
    }

    /// Carries a command out. Answers whether it was not refused at once.
    pub(crate) fn execute(
        &mut self,
        number: usize,
        id: Ulid,
        address: &Address,
        command: Command,
    ) -> bool {
        let client = &mut self.clients[number];
        let now = client.clock(self.now);
        client.applied.insert(id, (address.clone(), command.clone()));
        if let Err(error) = client.session.execute(now, id, address, command) {
            client.applied.remove(&id);
            let code = error.code();
            self.report.count_incident(&format!("command_refused_at_once:{code}"));
            self.drain_client(number);
            return false;
        }
        self.report.commands += 1;
        if self.story.on {
            let what = self.clients[number].applied.get(&id).map(|(_, command)| short(command));
            self.say(number, &format!("{address}: {}", what.unwrap_or_default()));
        }
        self.drain_client(number);
        let client = &mut self.clients[number];
        if !client.endings.contains_key(&id) {
            client.wrote(id);
        }
        true
    }
}

/// A command in one line.
fn short(command: &Command) -> String {
    let text = serde_json::to_string(command).unwrap_or_default();
    if text.chars().count() <= 160 {
        return text;
    }
    text.chars().take(160).chain("…".chars()).collect()
}

/// The text by which a splice is found again.
pub(crate) fn token(id: Ulid) -> String {
    format!("[{id}]")
}

/// Inserts whole tokens only, so that each can be looked for at the end. Who may not edit mostly does
/// not try.
fn post(view: &PostView, author: &Author<'_>, choices: &mut Choices) -> Option<Command> {
    if view.author().is_none() {
        let (title, body, tags) = ("title".to_owned(), String::new(), Vec::new());
        let (author, created) = (author.user.clone(), author.now);
        return Some(Command::Post(PostCommand::Create { author, created, title, body, tags }));
    }
    let is_author = view.author() == Some(author.user);
    if is_author && choices.per_mille(300) {
        let user = UserId::new(&format!("user{}", choices.index(6))).ok()?;
        return Some(Command::Post(if choices.per_mille(150) {
            PostCommand::RemoveEditor { user }
        } else {
            PostCommand::AddEditor { user }
        }));
    }
    if !is_author && !view.editors().contains(author.user) && !choices.per_mille(50) {
        return None;
    }
    let body = view.body();
    let places: Vec<usize> = std::iter::once(0)
        .chain(body.chars().enumerate().filter(|(_, c)| *c == ']').map(|(i, _)| i + 1))
        .collect();
    let index = places[choices.index(places.len())];
    let insert = token(author.id);
    Some(Command::Post(PostCommand::Splice { field: TextField::Body, index, delete: 0, insert }))
}

fn likes(author: &Author<'_>, choices: &mut Choices) -> Command {
    let reaction = ["like", "wow"][choices.index(2)].to_owned();
    let (target, user) = (Target::Post, author.user.clone());
    Command::Likes(if choices.per_mille(400) {
        LikesCommand::Unlike { target, reaction, user }
    } else {
        LikesCommand::Like { target, reaction, user, at: author.id }
    })
}

fn comments(all: &[Ulid], own: &[Ulid], author: &Author<'_>, choices: &mut Choices) -> Command {
    let mut some = |of: &[Ulid]| match of.len() {
        0 => None,
        // Mostly a late one, which may still be under way.
        count if choices.per_mille(600) => Some(of[count - 1]),
        count => Some(of[choices.index(count)]),
    };
    let (other, own) = (some(all), some(own));
    // Some are so large that a small document has no room for them.
    let filler = if choices.per_mille(100) { 1_000 + choices.index(6_000) } else { 0 };
    let body = format!("comment {}{}", author.id, "x".repeat(filler));
    let (id, user, now) = (author.id, author.user.clone(), author.now);
    Command::Comments(match (choices.index(6), own) {
        (0 | 1, Some(id)) => CommentsCommand::Edit { id, body, edited: now },
        (2, Some(id)) if choices.per_mille(300) => CommentsCommand::Delete { id, at: now },
        (..) => CommentsCommand::Add { id, author: user, parent: other, created: now, body },
    })
}

fn json(keys: usize, choices: &mut Choices) -> Command {
    let path = vec![PathSegment::Key(format!("key{}", choices.index(6)))];
    Command::Json(if keys > 3 && choices.per_mille(250) {
        JsonCommand::Delete { path }
    } else {
        JsonCommand::Put { path, value: serde_json::Value::from(choices.below(1_000)) }
    })
}
