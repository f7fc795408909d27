//! Who may write what, decided a second time and in another way than the engine does: by what each
//! durable change makes of what can be seen. Knows tokens and views, and nothing of the gate.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, Change, PatchLog, TextEncoding};
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{Event, View, genesis};
use syncline_engine::ids::{Address, UserId};
use syncline_engine::policy::Role;
use syncline_engine::storage::Entry;
use syncline_engine::wire::ClientFrame;

use crate::tokens::Token;

/// A copy of a document that is only looked at.
#[derive(Debug, Clone)]
pub(crate) struct Shadow {
    doc: Automerge,
    view: View,
}

impl Shadow {
    fn new(address: &Address) -> Self {
        let encoding = TextEncoding::UnicodeCodePoint;
        let doc = genesis::document(address, encoding);
        Self { view: View::read(address.facet(), &doc), doc }
    }

    /// One that goes on from a document.
    pub(crate) fn of(address: &Address, doc: &Automerge) -> Self {
        Self { view: View::read(address.facet(), doc), doc: doc.clone() }
    }

    pub(crate) fn shows(&self, other: &Self) -> bool {
        self.view == other.view
    }

    /// Applies a change; answers what can be seen of it, with the view before it.
    fn apply(&mut self, change: &[u8]) -> Result<(View, Vec<Event>), String> {
        let change = Change::try_from(change).map_err(|error| error.to_string())?;
        let mut log = PatchLog::active();
        self.doc
            .apply_changes_log_patches([change], &mut log)
            .map_err(|error| error.to_string())?;
        let patches = self.doc.make_patches(&mut log);
        let before = self.view.clone();
        let events = self.view.patch(&self.doc, &patches);
        Ok((before, events))
    }
}

/// What a connection has proved.
#[derive(Debug, Clone)]
pub(crate) struct Proved {
    user: UserId,
    role: Role,
    expires: Option<u64>,
}

impl Proved {
    pub(crate) fn expires(&self) -> Option<u64> {
        self.expires
    }
}

/// When who was heard to write with the right to.
#[derive(Debug, Default)]
pub(crate) struct Law {
    pushes: BTreeSet<(UserId, u64)>,
    roles: BTreeMap<(UserId, u64), Role>,
    appends: BTreeSet<(UserId, u64)>,
    pub(crate) asks_tokens: bool,
}

impl Law {
    pub(crate) fn new(asks_tokens: bool) -> Self {
        Self { asks_tokens, ..Self::default() }
    }

    /// The server takes a message in; `proved` is what its connection has proved so far.
    pub(crate) fn heard(&mut self, now: u64, message: &[u8], proved: &mut Option<Proved>) {
        match message.get(1) {
            // Hello and Renew.
            Some(1 | 11) => match ClientFrame::decode(message) {
                Ok(ClientFrame::Hello(hello)) if proved.is_none() => {
                    *proved = self.prove(now, &hello.user, hello.token.as_deref());
                }
                Ok(ClientFrame::Renew(renew)) => {
                    if let Some(user) = proved.as_ref().map(|proved| proved.user.to_string()) {
                        *proved = self.prove(now, &user, Some(&renew.token));
                    }
                }
                _ => {}
            },
            // Push.
            Some(5) => {
                if let Some(Proved { user, role, .. }) = proved
                    && matches!(role, Role::Member | Role::Moderator | Role::Owner)
                {
                    self.pushes.insert((user.clone(), now));
                    self.roles.insert((user.clone(), now), role.clone());
                }
            }
            // AppendStream.
            Some(22) => {
                if let Some(Proved { user, role, .. }) = proved
                    && !matches!(role, Role::Viewer | Role::Outsider)
                {
                    self.appends.insert((user.clone(), now));
                }
            }
            _ => {}
        }
    }

    /// Whether the author of an entry of text was heard to append at that moment with the right to.
    pub(crate) fn may_have_appended(&self, entry: &Entry) -> bool {
        self.appends.contains(&(entry.author.clone(), entry.at.0))
    }

    fn prove(&self, now: u64, user: &str, token: Option<&str>) -> Option<Proved> {
        if !self.asks_tokens {
            let user = UserId::new(user).ok()?;
            return Some(Proved { user, role: Role::Member, expires: None });
        }
        let token = Token::read(token?)?;
        let counts = token.user.as_str() == user && token.expires > Timestamp(now);
        counts.then_some(Proved {
            user: token.user,
            role: token.role,
            expires: Some(token.expires.0),
        })
    }

    /// Whether what became durable was allowed; says what was not.
    pub(crate) fn judge(
        &self,
        address: &Address,
        entry: &Entry,
        shadow: &mut Option<Box<Shadow>>,
    ) -> Result<(), String> {
        let shadow = shadow.get_or_insert_with(|| Box::new(Shadow::new(address)));
        let (before, events) = shadow.apply(&entry.change)?;
        if entry.command.is_none() {
            return Ok(());
        }
        let moment = (entry.author.clone(), entry.at.0);
        if !self.pushes.contains(&moment) {
            return Err(format!("{} wrote at {} without the right to", entry.author, entry.at));
        }
        let moderates =
            self.roles.get(&moment).is_some_and(|r| matches!(r, Role::Moderator | Role::Owner));
        let unlawful = events.iter().find(|event| {
            !lawful(event, &entry.author, moderates, &before)
                && !lawful(event, &entry.author, moderates, &shadow.view)
        });
        unlawful.map_or(Ok(()), |event| Err(format!("{} did {event:?}", entry.author)))
    }
}

fn lawful(event: &Event, who: &UserId, moderates: bool, view: &View) -> bool {
    match (event, view) {
        (Event::PostCreated { author } | Event::CommentAdded { author, .. }, _) => author == who,
        (Event::LikeAdded { user, .. } | Event::LikeRemoved { user, .. }, _) => user == who,
        (Event::CommentEdited { id } | Event::CommentRemoved { id }, View::Comments(view)) => {
            view.comment(*id).is_some_and(|comment| comment.author == *who)
        }
        (Event::CommentDeleted { id }, View::Comments(view)) => {
            moderates || view.comment(*id).is_some_and(|comment| comment.author == *who)
        }
        (Event::StatusChanged { .. }, View::Post(_)) if moderates => true,
        (_, View::Post(view)) => view.author() == Some(who) || view.editors().contains(who),
        (_, View::Likes(_) | View::Comments(_) | View::Json(_)) => true,
    }
}
