//! Who is in a space and what they announce, as this client knows it. Takes in what the server says and
//! knows what has lapsed; knows no connection, and nothing of what this client announces itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::ids::{Address, UserId};
use crate::limits::PRESENCE_KEYS_MAX;
use crate::policy::Role;
use crate::presence::{CURSOR, IDLE, Selection, TYPING, check_key, check_value, typing_in};
use crate::wire::frame::{Crowd, News, Presence};

/// Sessions that are taken in for one space, and users who were seen there: more than any server
/// tells.
const NAMED_MAX: usize = 20_000;

/// Something that a session announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// What: JSON by convention.
    pub value: String,
    /// When it was announced, by the server's clock.
    pub at: Timestamp,
    /// When it lapses, by this client's clock.
    pub until: Option<Timestamp>,
}

/// A session that is in a space: one of its user's devices, tabs or programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number in the space.
    pub number: u64,
    /// Whose it is.
    pub user: UserId,
    /// The user's role.
    pub role: Role,
    /// Since when it is there, by the server's clock.
    pub since: Timestamp,
    /// What it announces, by key.
    pub sayings: BTreeMap<String, Saying>,
}

impl Device {
    /// What it announces under a key.
    #[must_use]
    pub fn says(&self, key: &str) -> Option<&str> {
        self.sayings.get(key).map(|saying| saying.value.as_str())
    }

    /// Since when its user does nothing there, if that is so.
    #[must_use]
    pub fn idle_since(&self) -> Option<Timestamp> {
        let saying = self.sayings.get(IDLE)?;
        Some(saying.value.parse().map_or(saying.at, Timestamp))
    }
}

/// A user who is in a space, with all devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// The user's role.
    pub role: Role,
    /// Where the user is there; at least one.
    pub devices: Vec<Device>,
}

impl Member {
    /// Whether the user does something on any device.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.devices.iter().any(|device| device.idle_since().is_none())
    }

    /// Since when the user is there.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.devices.iter().map(|device| device.since).min().unwrap_or_default()
    }

    /// What was announced last under a key on any device.
    #[must_use]
    pub fn says(&self, key: &str) -> Option<&str> {
        let sayings = self.devices.iter().filter_map(|device| device.sayings.get(key));
        sayings.max_by_key(|saying| saying.at).map(|saying| saying.value.as_str())
    }
}

/// How many are in a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Sessions.
    pub devices: usize,
    /// Users.
    pub users: usize,
    /// Sessions whose users do nothing.
    pub idle: usize,
    /// Sessions in which somebody types.
    pub typing: usize,
}

/// What changed in a space.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// A user is there who was not.
    Came(UserId),
    /// A user is not there any more.
    Left(UserId),
    /// A user has another role, or came or left with one device of several.
    Member(UserId),
    /// A user announces something else under a key, or nothing any more.
    Saying {
        /// Who.
        user: UserId,
        /// On which device.
        device: u64,
        /// Under which key.
        key: String,
    },
    /// There are too many to name them all: the counts and those who are named are others now.
    Crowd,
}

/// A server said something that can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonsense;

/// Who is in a space and what they announce.
#[derive(Debug, Clone, Default)]
pub(super) struct Picture {
    devices: BTreeMap<u64, Device>,
    seen: BTreeMap<UserId, Timestamp>,
    /// Counts, where not everybody is named.
    crowd: Option<Counts>,
    lapses: BTreeSet<(Timestamp, u64, String)>,
    /// What came before the device that it is about.
    early: BTreeMap<u64, BTreeMap<String, Saying>>,
    /// A whole picture that is not complete yet.
    next: Option<Box<Self>>,
}

impl Picture {
    /// Whether more of a whole picture is awaited.
    pub(super) const fn is_incomplete(&self) -> bool {
        self.next.is_some()
    }

    pub(super) const fn seen(&self) -> &BTreeMap<UserId, Timestamp> {
        &self.seen
    }

    pub(super) const fn crowd(&self) -> Option<Counts> {
        self.crowd
    }

    /// Those who are named, in the order of their names.
    pub(super) fn members(&self) -> Vec<Member> {
        let mut members: BTreeMap<&UserId, Member> = BTreeMap::new();
        for device in self.devices.values() {
            let member = members.entry(&device.user).or_insert_with(|| Member {
                user: device.user.clone(),
                role: device.role.clone(),
                devices: Vec::new(),
            });
            member.devices.push(device.clone());
        }
        members.into_values().collect()
    }

    /// Who types in a document, but for one device.
    pub(super) fn typing(&self, document: &Address, but: Option<u64>) -> BTreeSet<UserId> {
        let wanted = typing_in(document);
        let others = self.devices.values().filter(|device| Some(device.number) != but);
        let typing = others.filter(|device| device.says(TYPING) == Some(wanted.as_str()));
        typing.map(|device| device.user.clone()).collect()
    }

    /// Where others are in the texts of a document.
    pub(super) fn selections(
        &self,
        document: &Address,
        but: Option<u64>,
    ) -> Vec<(u64, UserId, Selection)> {
        let wanted = document.to_string();
        let others = self.devices.values().filter(|device| Some(device.number) != but);
        others
            .filter_map(|device| {
                let selection = Selection::read(device.says(CURSOR)?)?;
                let here = selection.document == wanted;
                here.then(|| (device.number, device.user.clone(), selection))
            })
            .collect()
    }

    pub(super) fn next_lapse(&self) -> Option<Timestamp> {
        self.lapses.first().map(|(at, ..)| *at)
    }

    /// Lets go of what has lapsed.
    pub(super) fn pass_time(&mut self, now: Timestamp) -> Vec<PresenceEvent> {
        let mut events = Vec::new();
        while let Some((at, device, key)) = self.lapses.first()
            && *at <= now
        {
            let (device, key) = (*device, key.clone());
            self.unsay(device, &key, &mut events);
        }
        events
    }

    /// Takes in what is new.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        frame: Presence,
    ) -> Result<Vec<PresenceEvent>, Nonsense> {
        let mut events = Vec::new();
        if frame.whole {
            self.next = Some(Box::default());
        }
        if let Some(mut next) = self.next.take() {
            for news in frame.news {
                next.news(now, frame.now_ms, news, &mut Vec::new())?;
            }
            if frame.more {
                self.next = Some(next);
            } else {
                events = self.become_as(*next);
            }
        } else {
            for news in frame.news {
                self.news(now, frame.now_ms, news, &mut events)?;
            }
        }
        Ok(events)
    }

    /// Takes in how many there are, and some of them.
    pub(super) fn take_crowd(&mut self, now: Timestamp, frame: Crowd) -> Result<(), Nonsense> {
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let mut next = Self {
            crowd: Some(Counts {
                devices: count(frame.devices),
                users: count(frame.users),
                idle: count(frame.idle),
                typing: count(frame.typing),
            }),
            ..Self::default()
        };
        for news in frame.sample {
            next.news(now, frame.now_ms, news, &mut Vec::new())?;
        }
        *self = next;
        Ok(())
    }

    /// Names one more, as this client knows itself.
    pub(super) fn name(&mut self, device: Device) {
        self.devices.entry(device.number).or_insert(device);
    }

    fn news(
        &mut self,
        now: Timestamp,
        server_now: u64,
        news: News,
        events: &mut Vec<PresenceEvent>,
    ) -> Result<(), Nonsense> {
        match news {
            News::Came { device, user, role, since_ms } => {
                let user = UserId::new(&user).map_err(|_| Nonsense)?;
                let role = Role::new(&role).map_err(|_| Nonsense)?;
                self.came(device, user, role, Timestamp(since_ms), events)?;
            }
            News::Left { device } => self.left(device, events),
            News::Said { device, key, value, at_ms, until_ms } => {
                check_key(&key).and_then(|()| check_value(&value)).map_err(|_| Nonsense)?;
                let left = |until: u64| until.saturating_sub(server_now);
                let until = until_ms.map(|until| Timestamp(now.0.saturating_add(left(until))));
                self.said(device, key, Saying { value, at: Timestamp(at_ms), until }, events)?;
            }
            News::Unsaid { device, key } => self.unsay(device, &key, events),
            News::Seen { user, at_ms } => {
                let user = UserId::new(&user).map_err(|_| Nonsense)?;
                self.seen.insert(user, Timestamp(at_ms));
            }
            News::Forgotten { user } => {
                self.seen.remove(&UserId::new(&user).map_err(|_| Nonsense)?);
            }
        }
        let early: usize = self.early.len();
        if self.devices.len().max(self.seen.len()).max(early) > NAMED_MAX {
            return Err(Nonsense);
        }
        Ok(())
    }

    fn came(
        &mut self,
        number: u64,
        user: UserId,
        role: Role,
        since: Timestamp,
        events: &mut Vec<PresenceEvent>,
    ) -> Result<(), Nonsense> {
        self.seen.remove(&user);
        if let Some(device) = self.devices.get_mut(&number) {
            if device.user != user {
                return Err(Nonsense);
            }
            device.role = role;
            events.push(PresenceEvent::Member(user));
            return Ok(());
        }
        let alone = !self.devices.values().any(|device| device.user == user);
        let sayings = self.early.remove(&number).unwrap_or_default();
        let keys: Vec<String> = sayings.keys().cloned().collect();
        self.devices.insert(number, Device { number, user: user.clone(), role, since, sayings });
        let event = if alone { PresenceEvent::Came } else { PresenceEvent::Member };
        events.push(event(user.clone()));
        for key in keys {
            events.push(PresenceEvent::Saying { user: user.clone(), device: number, key });
        }
        Ok(())
    }

    fn left(&mut self, number: u64, events: &mut Vec<PresenceEvent>) {
        self.forget_sayings(number);
        let Some(device) = self.devices.remove(&number) else { return };
        let alone = !self.devices.values().any(|other| other.user == device.user);
        let event = if alone { PresenceEvent::Left } else { PresenceEvent::Member };
        events.push(event(device.user));
    }

    fn forget_sayings(&mut self, number: u64) {
        let early = self.early.remove(&number).unwrap_or_default();
        let device = self.devices.get(&number);
        let sayings = device.iter().flat_map(|device| &device.sayings).chain(&early);
        for (key, saying) in sayings {
            if let Some(until) = saying.until {
                self.lapses.remove(&(until, number, key.clone()));
            }
        }
    }

    fn said(
        &mut self,
        number: u64,
        key: String,
        saying: Saying,
        events: &mut Vec<PresenceEvent>,
    ) -> Result<(), Nonsense> {
        let device = self.devices.get_mut(&number);
        let user = device.as_ref().map(|device| device.user.clone());
        let sayings = match device {
            Some(device) => &mut device.sayings,
            None => self.early.entry(number).or_default(),
        };
        let until = saying.until;
        let same = sayings.get(&key).is_some_and(|before| before.value == saying.value);
        if let Some(before) = sayings.insert(key.clone(), saying)
            && let Some(until) = before.until
        {
            self.lapses.remove(&(until, number, key.clone()));
        }
        if sayings.len() > PRESENCE_KEYS_MAX {
            return Err(Nonsense);
        }
        if let Some(until) = until {
            self.lapses.insert((until, number, key.clone()));
        }
        if let Some(user) = user.filter(|_| !same) {
            events.push(PresenceEvent::Saying { user, device: number, key });
        }
        Ok(())
    }

    fn unsay(&mut self, number: u64, key: &str, events: &mut Vec<PresenceEvent>) {
        let device = self.devices.get_mut(&number);
        let user = device.as_ref().map(|device| device.user.clone());
        let sayings = match device {
            Some(device) => Some(&mut device.sayings),
            None => self.early.get_mut(&number),
        };
        let before = sayings.and_then(|sayings| sayings.remove(key));
        if let Some(until) = before.as_ref().and_then(|before| before.until) {
            self.lapses.remove(&(until, number, key.to_owned()));
        }
        if before.is_some()
            && let Some(user) = user
        {
            events.push(PresenceEvent::Saying { user, device: number, key: key.to_owned() });
        }
    }

    /// Becomes as another picture is, and says what is otherwise in that.
    fn become_as(&mut self, next: Self) -> Vec<PresenceEvent> {
        let before = std::mem::replace(self, next);
        let mut events = Vec::new();
        if before.crowd.is_some() {
            // Who was not named may have been there.
            events.push(PresenceEvent::Crowd);
        }
        let users = |picture: &Self| -> BTreeSet<UserId> {
            picture.devices.values().map(|device| device.user.clone()).collect()
        };
        let (there, here) = (users(&before), users(self));
        events.extend(there.difference(&here).cloned().map(PresenceEvent::Left));
        for user in &here {
            let of = |picture: &Self| -> Vec<(u64, Role)> {
                let devices = picture.devices.values().filter(|device| device.user == *user);
                devices.map(|device| (device.number, device.role.clone())).collect()
            };
            if !there.contains(user) {
                events.push(PresenceEvent::Came(user.clone()));
            } else if of(&before) != of(self) {
                events.push(PresenceEvent::Member(user.clone()));
            }
        }
        for (number, device) in &self.devices {
            let old = before.devices.get(number).map(|device| &device.sayings);
            let keys: BTreeSet<&String> = old
                .into_iter()
                .flatten()
                .map(|(key, _)| key)
                .chain(device.sayings.keys())
                .collect();
            for key in keys {
                let value = |sayings: &BTreeMap<String, Saying>| {
                    sayings.get(key).map(|saying| saying.value.clone())
                };
                if old.and_then(value) != value(&device.sayings) {
                    let (user, key) = (device.user.clone(), key.clone());
                    events.push(PresenceEvent::Saying { user, device: *number, key });
                }
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(50_000);

    fn came(device: u64, user: &str) -> News {
        News::Came { device, user: user.to_owned(), role: "member".to_owned(), since_ms: 7 }
    }

    fn said(device: u64, key: &str, value: &str, until_ms: Option<u64>) -> News {
        let (key, value) = (key.to_owned(), value.to_owned());
        News::Said { device, key, value, at_ms: 8, until_ms }
    }

    fn frame(whole: bool, more: bool, news: Vec<News>) -> Presence {
        Presence { handle: 1, version: 1, whole, more, now_ms: 1_000, news }
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[test]
    fn a_user_with_two_devices_is_one_member_who_comes_and_leaves_once() {
        let mut picture = Picture::default();
        let events = picture.take(NOW, frame(true, false, vec![came(1, "ada")])).unwrap();
        assert_eq!(events, [PresenceEvent::Came(user("ada"))]);
        let events = picture.take(NOW, frame(false, false, vec![came(2, "ada")])).unwrap();
        assert_eq!(events, [PresenceEvent::Member(user("ada"))]);
        let members = picture.members();
        assert_eq!((members.len(), members[0].devices.len()), (1, 2));
        let one = frame(false, false, vec![News::Left { device: 1 }]);
        assert_eq!(picture.take(NOW, one).unwrap(), [PresenceEvent::Member(user("ada"))]);
        let other = frame(false, false, vec![News::Left { device: 2 }]);
        assert_eq!(picture.take(NOW, other).unwrap(), [PresenceEvent::Left(user("ada"))]);
    }

    #[test]
    fn what_lapses_is_gone_without_a_word_of_the_server_by_the_time_that_was_left() {
        let mut picture = Picture::default();
        let news = vec![came(1, "ada"), said(1, TYPING, "\"t/i/post\"", Some(4_000))];
        picture.take(NOW, frame(true, false, news)).unwrap();
        let address: Address = "t/i/post".parse().unwrap();
        assert_eq!(picture.typing(&address, None).len(), 1);
        assert!(picture.typing(&address, Some(1)).is_empty(), "but for this device");
        assert_eq!(picture.next_lapse(), Some(Timestamp(53_000)));
        assert!(picture.pass_time(Timestamp(52_999)).is_empty());
        assert_eq!(picture.pass_time(Timestamp(53_000)).len(), 1);
        assert!(picture.typing(&address, None).is_empty());
        assert_eq!(picture.next_lapse(), None);
    }

    #[test]
    fn a_whole_picture_in_parts_replaces_the_old_one_at_once_and_tells_only_what_differs() {
        let mut picture = Picture::default();
        let news = vec![came(1, "ada"), said(1, "a", "1", None), came(2, "bob")];
        picture.take(NOW, frame(true, false, news)).unwrap();
        // What is said of a device may come before the device, whose role changed meanwhile.
        let first = vec![said(1, "a", "1", None), said(1, "b", "2", None)];
        assert!(picture.take(NOW, frame(true, true, first)).unwrap().is_empty());
        assert_eq!(picture.members().len(), 2, "nothing flickers");
        let events = picture.take(NOW, frame(false, false, vec![came(1, "ada")])).unwrap();
        let saying =
            |key: &str| PresenceEvent::Saying { user: user("ada"), device: 1, key: key.to_owned() };
        assert_eq!(events, [PresenceEvent::Left(user("bob")), saying("b")]);
        assert_eq!(picture.members().len(), 1);
        assert_eq!(picture.members()[0].says("b"), Some("2"));
    }

    #[test]
    fn nonsense_is_noticed() {
        for news in [
            came(1, "no name at all"),
            said(1, "No Key", "1", None),
            said(1, "k", &"v".repeat(2_000), None),
        ] {
            let mut picture = Picture::default();
            assert_eq!(picture.take(NOW, frame(true, false, vec![news])), Err(Nonsense));
        }
        let mut picture = Picture::default();
        let twice = vec![came(1, "ada"), came(1, "bob")];
        assert_eq!(picture.take(NOW, frame(true, false, twice)), Err(Nonsense));
    }
}
