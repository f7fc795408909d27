//! What people do in spaces, what they see there while the world runs, and what everybody must see once
//! it is quiet: who is there, and what each announced last.

#![allow(clippy::wildcard_enum_match_arm, reason = "few of what is heard and said is of interest")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use syncline_engine::document::{TextField, TextPlace, View};
use syncline_engine::ids::UserId;
use syncline_engine::presence::{CURSOR, IDLE, Selection, TYPING, typing_in};
use syncline_engine::session::{Input, PresenceEvent, SpaceAct, SpaceNews, SpaceStatus};

use crate::choices::Choices;
use crate::world::World;

/// The spaces that people are in: that of the documents, and another.
const SPACES: [&str; 2] = ["sim", "town"];

/// A stay of an app in a space.
#[derive(Debug, Default)]
pub(crate) struct Stay {
    visible: bool,
    /// What it announces until it takes it back.
    says: BTreeMap<String, String>,
    /// Keys of what it announced for a while only.
    passing: BTreeSet<String>,
    /// The last number that it saw of a client under a key of a device.
    seen: BTreeMap<(u64, String, usize), u64>,
}

/// What is announced as text that tells who did, and what came before what.
fn numbered(client: usize, number: u64) -> String {
    format!("{client}.{number}")
}

fn number_in(value: &str) -> Option<(usize, u64)> {
    let (client, number) = value.split_once('.')?;
    Some((client.parse().ok()?, number.parse().ok()?))
}

impl World {
    /// Somebody does something in a space.
    pub(crate) fn some_space_act(&mut self, client: usize, pick: u64) -> bool {
        if !self.is_awake(client) {
            return false;
        }
        let mut choices = Choices::new(pick);
        let space = SPACES[usize::from(choices.per_mille(250))];
        let what = choices.below(20);
        if what < 4 || !self.clients[client].app.stays.contains_key(space) {
            return self.enter_space(client, space, what != 3);
        }
        let key = format!("key{}", choices.index(5));
        match what {
            4..=8 => self.announce(client, space, key, None),
            9 | 10 => self.take_back(client, space, &key),
            11 | 12 => self.announce(client, space, key, Some(choices.between(300, 8_000))),
            13 => self.type_somewhere(client, space, choices.between(1_000, 8_000)),
            14 | 15 => self.move_caret(client, space, &mut choices),
            16 => self.leave_space(client, space),
            17 => self.kick_somebody(client, space, &mut choices),
            18 => {
                self.report.count_act("space_active");
                self.tell_client(client, Input::Active);
            }
            _ => {
                for _ in 0..choices.between(2, 30) {
                    self.announce(client, space, key.clone(), None);
                }
            }
        }
        true
    }

    fn act_in_space(&mut self, client: usize, space: &str, kind: &str, act: SpaceAct) {
        self.report.count_act(kind);
        if self.story.on {
            self.say(client, &format!("in {space}: {act:?}"));
        }
        self.tell_client(client, Input::Space { space: space.to_owned(), act });
    }

    fn enter_space(&mut self, client: usize, space: &str, visible: bool) -> bool {
        let stay = self.clients[client].app.stays.entry(space.to_owned()).or_default();
        stay.visible |= visible;
        self.act_in_space(client, space, "space_enter", SpaceAct::Enter { visible });
        true
    }

    fn leave_space(&mut self, client: usize, space: &str) {
        self.clients[client].app.stays.remove(space);
        self.act_in_space(client, space, "space_leave", SpaceAct::Leave);
    }

    /// Announces a number that is higher than every earlier one.
    fn announce(&mut self, client: usize, space: &str, key: String, ttl_ms: Option<u64>) {
        self.said += 1;
        let value = numbered(client, self.said);
        self.announce_value(client, space, key, value, ttl_ms);
    }

    fn announce_value(
        &mut self,
        client: usize,
        space: &str,
        key: String,
        value: String,
        ttl_ms: Option<u64>,
    ) {
        let Some(stay) = self.clients[client].app.stays.get_mut(space) else { return };
        if !stay.visible {
            return;
        }
        if ttl_ms.is_some() {
            stay.says.remove(&key);
            stay.passing.insert(key.clone());
        } else {
            stay.says.insert(key.clone(), value.clone());
        }
        let ttl = ttl_ms.map(Duration::from_millis);
        let act = SpaceAct::Announce { key, value: Some(value), ttl };
        self.act_in_space(client, space, "space_announce", act);
    }

    fn take_back(&mut self, client: usize, space: &str, key: &str) {
        let Some(stay) = self.clients[client].app.stays.get_mut(space) else { return };
        stay.says.remove(key);
        let act = SpaceAct::Announce { key: key.to_owned(), value: None, ttl: None };
        self.act_in_space(client, space, "space_take_back", act);
    }

    fn type_somewhere(&mut self, client: usize, space: &str, ttl_ms: u64) {
        let value = typing_in(&self.documents[0]);
        self.announce_value(client, space, TYPING.to_owned(), value, Some(ttl_ms));
    }

    /// Names a place in the post's text, if that is open.
    fn move_caret(&mut self, client: usize, space: &str, choices: &mut Choices) {
        let session = &self.clients[client].session;
        let address = &self.documents[0];
        let (Some(View::Post(view)), Some(replica)) =
            (session.view(address), session.replica(address))
        else {
            return;
        };
        let length = view.body().chars().count();
        let place = TextPlace::Post(TextField::Body);
        let mut caret = || replica.caret(&place, choices.index(length + 1));
        let (Some(anchor), Some(head)) = (caret(), caret()) else { return };
        let (document, text) = (address.to_string(), place.to_string());
        let value = Selection { document, text, anchor, head }.to_value();
        self.announce_value(client, space, CURSOR.to_owned(), value, None);
    }

    fn kick_somebody(&mut self, client: usize, space: &str, choices: &mut Choices) {
        let user = self.clients[choices.index(self.clients.len())].user.clone();
        let wait = choices.millis(1, 20_000);
        self.act_in_space(client, space, "space_kick", SpaceAct::Kick { user, wait });
    }

    /// The app begins again: it goes where it was, and says what it said.
    pub(crate) fn return_to_spaces(&mut self, client: usize) {
        let stays = &mut self.clients[client].app.stays;
        let mut back = Vec::new();
        for (space, stay) in stays.iter_mut() {
            stay.passing.clear();
            back.push((space.clone(), stay.visible, stay.says.clone()));
        }
        for (space, visible, says) in back {
            let act = SpaceAct::Enter { visible };
            self.tell_client(client, Input::Space { space: space.clone(), act });
            for (key, value) in says {
                let act = SpaceAct::Announce { key, value: Some(value), ttl: None };
                self.tell_client(client, Input::Space { space: space.clone(), act });
            }
        }
    }

    /// Who was sent out comes in again.
    pub(crate) fn enter_again(&mut self, client: usize) {
        let of = &self.clients[client];
        let outside = |space: &&String| {
            matches!(of.session.space_status(space), Some(SpaceStatus::Outside { .. }))
        };
        let spaces: Vec<String> = of.app.stays.keys().filter(outside).cloned().collect();
        for space in spaces {
            self.report.count_incident("space_entered_again");
            self.enter_space(client, &space, false);
        }
    }

    /// An app hears of a space. What it sees of somebody never goes back.
    pub(crate) fn hear_of_space(&mut self, client: usize, space: &str, news: SpaceNews) {
        match news {
            SpaceNews::Changed(events) => {
                self.report.count_incident("space_news");
                self.look_at_sayings(client, space, &events);
            }
            SpaceNews::Status(SpaceStatus::Outside { code, .. }) => {
                self.say(client, &format!("is not in {space}: {code}"));
                self.report.count_incident(&format!("space_outside:{code}"));
            }
            SpaceNews::NotAnnounced { code, .. } => {
                self.report.count_incident(&format!("space_not_announced:{code}"));
            }
            SpaceNews::Kicked { refused: None, devices, .. } if devices > 0 => {
                self.report.count_incident("space_kicked");
            }
            _ => {}
        }
    }

    fn look_at_sayings(&mut self, client: usize, space: &str, events: &[PresenceEvent]) {
        let said = events.iter().filter_map(|event| match event {
            PresenceEvent::Saying { device, key, .. } => Some((*device, key.clone())),
            _ => None,
        });
        let said: BTreeSet<(u64, String)> = said.collect();
        if said.is_empty() {
            return;
        }
        let of = &mut self.clients[client];
        let members = of.session.members(space);
        let Some(stay) = of.app.stays.get_mut(space) else { return };
        let mut back = Vec::new();
        for device in members.iter().flat_map(|member| &member.devices) {
            for (key, saying) in &device.sayings {
                if !said.contains(&(device.number, key.clone())) {
                    continue;
                }
                let Some((who, number)) = number_in(&saying.value) else { continue };
                let seen = stay.seen.entry((device.number, key.clone(), who)).or_default();
                if number < *seen {
                    back.push(format!(
                        "{space}: client {client} saw {number} after {seen} as {key}"
                    ));
                }
                *seen = number;
            }
        }
        for what in back {
            self.complain("presence_back", what);
        }
    }

    /// Whether everybody is where he wants to be, and all know of everybody whether he does nothing.
    pub(crate) fn spaces_are_quiet(&self) -> bool {
        self.clients.iter().all(|client| {
            client.app.stays.keys().all(|space| {
                matches!(client.session.space_status(space), Some(SpaceStatus::Inside { .. }))
            })
        }) && SPACES.iter().all(|space| self.idleness_agrees(space))
    }

    fn idleness_agrees(&self, space: &str) -> bool {
        let mut known: Option<BTreeMap<u64, Option<String>>> = None;
        for client in &self.clients {
            let there = client.app.stays.contains_key(space);
            if !there || client.session.space_crowd(space).is_some() {
                continue;
            }
            let members = client.session.members(space);
            let devices = members.iter().flat_map(|member| &member.devices);
            let idle = devices.map(|d| (d.number, d.says(IDLE).map(str::to_owned))).collect();
            if known.get_or_insert_with(|| BTreeMap::clone(&idle)) != &idle {
                return false;
            }
        }
        true
    }

    /// Why spaces do not come to rest, for people.
    pub(crate) fn unrest_of_spaces(&self, client: usize) -> Vec<String> {
        let of = &self.clients[client];
        let stays = of.app.stays.keys();
        let inside = |space: &&String| {
            !matches!(of.session.space_status(space), Some(SpaceStatus::Inside { .. }))
        };
        let why = |space: &String| format!("{space} is {:?}", of.session.space_status(space));
        stays.filter(inside).map(why).collect()
    }

    /// Everybody sees the same, and that is who is there and what each announced last.
    pub(crate) fn judge_spaces(&mut self) {
        for space in SPACES {
            self.judge_space(space);
        }
    }

    fn judge_space(&mut self, space: &str) {
        let mut found = Vec::new();
        // Who is seen: by device, the user and what is announced.
        let mut there: BTreeMap<u64, (UserId, BTreeMap<String, String>, usize)> = BTreeMap::new();
        for client in &self.clients {
            let Some(stay) = client.app.stays.get(space) else { continue };
            let device = match client.session.space_status(space) {
                Some(SpaceStatus::Inside { device, .. }) => *device,
                _ => None,
            };
            if device.is_some() != stay.visible {
                found.push(format!("client {} is seen as {device:?}", client.number));
            }
            let Some(device) = device else { continue };
            let own = (client.user.clone(), stay.says.clone(), client.number);
            if there.insert(device, own).is_some() {
                found.push(format!("device {device} is two clients'"));
            }
        }
        for client in self.clients.iter().filter(|c| c.app.stays.contains_key(space)) {
            match client.session.space_crowd(space) {
                Some(crowd) => {
                    let users: BTreeSet<&UserId> = there.values().map(|(user, ..)| user).collect();
                    let typing = there.values().filter(|(.., of)| self.may_type(*of, space));
                    if (crowd.devices, crowd.users) != (there.len(), users.len())
                        || crowd.typing > typing.count()
                    {
                        found.push(format!("client {} is told of {crowd:?}", client.number));
                    }
                    let members = client.session.members(space);
                    let devices = members.iter().flat_map(|member| &member.devices);
                    let mut gone = devices.filter(|device| !there.contains_key(&device.number));
                    found.extend(gone.next().map(|device| format!("{device:?} is not there")));
                }
                None => self.compare_picture(client.number, space, &there, &mut found),
            }
        }
        for what in found {
            self.complain("presence", format!("{space}: {what}"));
        }
    }

    /// Whether something that was to lapse may still stand: only by a clock that went back.
    fn may_type(&self, client: usize, space: &str) -> bool {
        let of = &self.clients[client];
        of.clock_jumped && of.app.stays.get(space).is_some_and(|stay| !stay.passing.is_empty())
    }

    fn compare_picture(
        &self,
        number: usize,
        space: &str,
        there: &BTreeMap<u64, (UserId, BTreeMap<String, String>, usize)>,
        found: &mut Vec<String>,
    ) {
        let members = self.clients[number].session.members(space);
        let shown: BTreeMap<u64, _> = members
            .iter()
            .flat_map(|member| &member.devices)
            .map(|device| (device.number, device))
            .collect();
        for (device, of) in &shown {
            let Some((user, says, client)) = there.get(device) else {
                found.push(format!("client {number} sees {of:?}, who is not there"));
                continue;
            };
            let mut said: BTreeMap<String, String> =
                of.sayings.iter().map(|(key, said)| (key.clone(), said.value.clone())).collect();
            said.remove(IDLE);
            if self.may_type(*client, space) {
                let stay = &self.clients[*client].app.stays[space];
                said.retain(|key, _| says.contains_key(key) || !stay.passing.contains(key));
            }
            if of.user != *user || said != *says {
                found.push(format!("client {number} sees {said:?} of client {client}: {says:?}"));
            }
        }
        for (_, (.., client)) in there.iter().filter(|(device, _)| !shown.contains_key(device)) {
            found.push(format!("client {number} does not see client {client}"));
        }
    }
}
