//! What is to be played, by whom, and what each event needs to have seen first. Pure: made from the
//! file and the seed alone.

use std::collections::HashMap;

use anyhow::Context;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, LikesCommand, PostCommand, PostStatus, Target,
};
use syncline_engine::ids::{Address, Facet, Ulid, UserId};

use super::events::{Event, Kind};
use super::names::{Names, ulid};
use super::oracle::Oracle;
use super::schedule::client_of;

/// The reaction that a `like` of the file is.
pub(crate) const REACTION: &str = "like";

/// An event's place in the file; the first is 0.
pub(crate) type EventIndex = usize;

/// Everything that follows from the file and the seed.
pub(crate) struct Plan {
    events: Vec<Event>,
    names: Names,
    oracle: Oracle,
    /// The client of each event.
    clients: Vec<usize>,
    /// For an edit or deletion: the event that made the text which it replaces.
    predecessors: Vec<Option<EventIndex>>,
    /// For an edit: the next edit of the same item.
    successors: Vec<Option<EventIndex>>,
}

/// What must be in a client's replica before an event can be played there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need<'a> {
    /// Nothing.
    Nothing,
    /// The item is there.
    Item(&'a str),
    /// The item is there and its text is this, left by the edit that was made at the time, if by one.
    Text { item: &'a str, text: &'a str, edited: Option<u64> },
}

impl Plan {
    /// Reads nothing: `events` are those that `oracle` has taken in.
    pub(crate) fn new(
        events: Vec<Event>,
        oracle: Oracle,
        names: Names,
        seed: u64,
        clients: usize,
    ) -> Self {
        let mut plan = Self {
            clients: Vec::with_capacity(events.len()),
            predecessors: Vec::with_capacity(events.len()),
            successors: vec![None; events.len()],
            events,
            names,
            oracle,
        };
        // The events that gave each item its texts, oldest first.
        let mut texts: HashMap<&str, Vec<EventIndex>> = HashMap::new();
        for (index, event) in plan.events.iter().enumerate() {
            let mut client = client_of(&event.user, seed, clients);
            let mut predecessor = None;
            let history = texts.entry(&event.id).or_default();
            if matches!(event.kind, Kind::Edit | Kind::Delete) {
                predecessor = history.last().copied();
            }
            if let (Kind::Edit, Some(before)) = (event.kind, predecessor) {
                plan.successors[before] = Some(index);
                // A text that the item had twice doesn't tell how far a replica is, so the client that
                // made it, and so knows, goes on.
                let text = plan.events[before].text();
                if history.iter().rev().skip(1).any(|older| plan.events[*older].text() == text) {
                    client = plan.clients[before];
                }
            }
            if matches!(event.kind, Kind::Post | Kind::Comment | Kind::Edit) {
                history.push(index);
            }
            plan.clients.push(client);
            plan.predecessors.push(predecessor);
        }
        plan
    }

    pub(crate) fn event(&self, index: EventIndex) -> &Event {
        &self.events[index]
    }

    pub(crate) const fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) const fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    pub(crate) const fn names(&self) -> &Names {
        &self.names
    }

    /// The events of a client, in the order of the file.
    pub(crate) fn events_of(&self, client: usize) -> impl Iterator<Item = EventIndex> {
        self.clients.iter().enumerate().filter(move |(_, c)| **c == client).map(|(index, _)| index)
    }

    /// What an event must have seen.
    pub(crate) fn need(&self, index: EventIndex) -> Need<'_> {
        let event = &self.events[index];
        match event.kind {
            Kind::Post => Need::Nothing,
            Kind::Comment => Need::Item(event.parent.as_deref().unwrap_or(&event.post)),
            Kind::Like | Kind::Unlike => Need::Item(&event.id),
            Kind::Edit | Kind::Delete => match self.predecessors[index] {
                Some(before) => self.text_after(before),
                None => Need::Item(&event.id),
            },
        }
    }

    /// What shows that an event that gives an item its text is in a replica.
    fn text_after(&self, index: EventIndex) -> Need<'_> {
        let event = &self.events[index];
        let edited = (event.kind == Kind::Edit).then_some(event.t);
        Need::Text { item: &event.id, text: event.text(), edited }
    }

    /// What shows that an edit was played, whatever has come after it.
    pub(crate) fn texts_from(&self, index: EventIndex) -> impl Iterator<Item = Need<'_>> {
        let following = std::iter::successors(Some(index), |index| self.successors[*index]);
        following.map(|index| self.text_after(index))
    }

    /// Where an item can be seen: the post itself or its comments.
    pub(crate) fn place_of(&self, item: &str) -> anyhow::Result<Address> {
        let known = self.oracle.item(item).with_context(|| format!("no item {item}"))?;
        let facet = if known.post == item { Facet::Post } else { Facet::Comments };
        Ok(self.names.address(&known.post, facet)?)
    }

    pub(crate) fn is_post(&self, item: &str) -> bool {
        self.oracle.item(item).is_some_and(|known| known.post == item)
    }

    /// An item as the target of a like.
    pub(crate) fn target(&self, item: &str) -> Target {
        if self.is_post(item) { Target::Post } else { Target::Comment(self.names.ulid(item)) }
    }

    /// The document that an event changes.
    pub(crate) fn address(&self, index: EventIndex) -> anyhow::Result<Address> {
        let event = &self.events[index];
        let facet = match event.kind {
            Kind::Post => Facet::Post,
            Kind::Comment => Facet::Comments,
            Kind::Like | Kind::Unlike => Facet::Likes,
            Kind::Edit | Kind::Delete => return self.place_of(&event.id),
        };
        Ok(self.names.address(&event.post, facet)?)
    }

    /// The event as a command; `None` for the edit of a post, which depends on the text in front of the
    /// one who edits.
    pub(crate) fn command(&self, index: EventIndex) -> anyhow::Result<Option<Command>> {
        let event = &self.events[index];
        let user = UserId::new(&event.user)?;
        let at = Timestamp(event.t);
        let id = || -> Ulid { self.names.ulid(&event.id) };
        Ok(Some(match event.kind {
            Kind::Post => Command::Post(PostCommand::Create {
                author: user,
                created: at,
                title: String::new(),
                body: event.text().to_owned(),
                tags: Vec::new(),
            }),
            Kind::Comment => Command::Comments(CommentsCommand::Add {
                id: id(),
                author: user,
                parent: event.parent.as_deref().map(|parent| self.names.ulid(parent)),
                created: at,
                body: event.text().to_owned(),
            }),
            Kind::Like => Command::Likes(LikesCommand::Like {
                target: self.target(&event.id),
                reaction: REACTION.to_owned(),
                user,
                // Unique per like, and the same when the file is played again.
                at: ulid(&format!("{index} {} {}", event.id, event.user), event.t),
            }),
            Kind::Unlike => Command::Likes(LikesCommand::Unlike {
                target: self.target(&event.id),
                reaction: REACTION.to_owned(),
                user,
            }),
            Kind::Edit if self.is_post(&event.id) => return Ok(None),
            Kind::Edit => Command::Comments(CommentsCommand::Edit {
                id: id(),
                body: event.text().to_owned(),
                edited: at,
            }),
            Kind::Delete if self.is_post(&event.id) => {
                Command::Post(PostCommand::SetStatus { status: PostStatus::Deleted })
            }
            Kind::Delete => Command::Comments(CommentsCommand::Delete { id: id(), at }),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Events;
    use super::*;

    const TALK: &str = r#"
{"t":1,"kind":"post","post":"p","id":"p","parent":null,"user":"u1","text":"one"}
{"t":2,"kind":"comment","post":"p","id":"c","parent":null,"user":"u2","text":"hi"}
{"t":3,"kind":"comment","post":"p","id":"d","parent":"c","user":"u3","text":"ho"}
{"t":4,"kind":"edit","post":"p","id":"p","parent":null,"user":"u4","text":"two"}
{"t":5,"kind":"edit","post":"p","id":"p","parent":null,"user":"u5","text":"one"}
{"t":6,"kind":"edit","post":"p","id":"p","parent":null,"user":"u6","text":"three"}
{"t":7,"kind":"like","post":"p","id":"d","parent":null,"user":"u7"}
{"t":8,"kind":"delete","post":"p","id":"c","parent":null,"user":"u8"}
"#;

    fn plan(clients: usize) -> Plan {
        let mut oracle = Oracle::default();
        let events: Vec<Event> = Events::new(TALK.as_bytes()).map(|event| event.unwrap()).collect();
        events.iter().for_each(|event| oracle.apply(event).unwrap());
        let names = Names::new("talk", &oracle).unwrap();
        Plan::new(events, oracle, names, 1, clients)
    }

    #[test]
    fn an_event_needs_what_it_answers_or_replaces() {
        let plan = plan(3);
        assert_eq!(plan.need(0), Need::Nothing);
        assert_eq!(plan.need(1), Need::Item("p"));
        assert_eq!(plan.need(2), Need::Item("c"));
        assert_eq!(plan.need(3), Need::Text { item: "p", text: "one", edited: None });
        assert_eq!(plan.need(4), Need::Text { item: "p", text: "two", edited: Some(4) });
        assert_eq!(plan.need(6), Need::Item("d"));
        assert_eq!(plan.need(7), Need::Text { item: "c", text: "hi", edited: None });
        let texts: Vec<Need<'_>> = plan.texts_from(4).collect();
        assert_eq!(texts.len(), 2);
        assert_eq!(texts[1], Need::Text { item: "p", text: "three", edited: Some(6) });
    }

    #[test]
    fn whoever_brought_an_old_text_back_plays_the_edit_after_it() {
        let plan = plan(50);
        assert_eq!(plan.clients[5], plan.clients[4]);
        assert_ne!(client_of("u6", 1, 50), plan.clients[4]);
    }

    #[test]
    fn every_event_is_played_by_exactly_one_client() {
        let plan = plan(3);
        let mut all: Vec<usize> = (0..3).flat_map(|client| plan.events_of(client)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn only_the_edit_of_a_post_depends_on_the_text_in_front_of_it() {
        let plan = plan(3);
        for index in 0..plan.len() {
            let command = plan.command(index).unwrap();
            assert_eq!(command.is_none(), (3..=5).contains(&index), "event {index}");
            let facet = command.map_or(Facet::Post, |command| command.facet());
            assert_eq!(plan.address(index).unwrap().facet(), facet);
        }
    }
}
