//! One space as those who are in it see it: who is there and what they announce, each thing with the
//! version at which it became so. Knows no connection, no frame and no clock.
//!
//! All that can be told of a space is in one table by version. Who was told of everything up to a
//! version is told what the table holds above it, once, as it is by then: there is no queue, however
//! often something changed meanwhile. A removal stays in the table for a while; whoever is further
//! behind than the oldest removal that is kept begins anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::clock::Timestamp;
use crate::hub::connection::SessionKey;
use crate::ids::UserId;
use crate::limits::PRESENCE_KEYS_MAX;
use crate::policy::Role;
use crate::presence::{self, SayingError};
use crate::wire::frame::WireSaying;

/// Removals that a space remembers, so that those who are a little behind need no whole picture.
const REMOVALS_MAX: usize = 1_024;
/// Users of whom a space knows when they were seen last.
const SEEN_MAX: usize = 100;

/// What became otherwise at some version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Came(SessionKey),
    Left(SessionKey),
    Said(SessionKey, String),
    Unsaid(SessionKey, String),
    Seen(UserId),
    Forgotten(UserId),
}

impl Item {
    /// Whether it only says that something is not so any more.
    pub(super) const fn is_removal(&self) -> bool {
        matches!(self, Self::Left(_) | Self::Unsaid(..) | Self::Forgotten(_))
    }
}

/// Something that a session announces.
#[derive(Debug)]
pub(super) struct Saying {
    pub(super) value: String,
    pub(super) at: Timestamp,
    pub(super) until: Option<Timestamp>,
    seq: u64,
    version: u64,
}

/// A session that is seen in the space.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) user: UserId,
    pub(super) role: Role,
    /// The role that its token claimed, to be judged by when the rules change.
    pub(super) claimed: Option<Role>,
    pub(super) since: Timestamp,
    pub(super) sayings: BTreeMap<String, Saying>,
    version: u64,
    /// The numbers of what was taken back or has lapsed, by key; at most [`PRESENCE_KEYS_MAX`].
    taken_back: BTreeMap<String, u64>,
    /// No number of a key that is in neither counts unless it is above this.
    floor: u64,
    /// Until when it is waited for, if its connection is gone.
    away: Option<Timestamp>,
}

impl Device {
    fn last_seq(&self, key: &str) -> u64 {
        let said = self.sayings.get(key).map(|saying| saying.seq);
        said.or_else(|| self.taken_back.get(key).copied()).unwrap_or(self.floor)
    }

    fn note_taken_back(&mut self, key: &str, seq: u64) {
        self.taken_back.insert(key.to_owned(), seq);
        while self.taken_back.len() > PRESENCE_KEYS_MAX {
            let oldest = self.taken_back.iter().min_by_key(|(_, seq)| **seq);
            let Some((key, seq)) = oldest.map(|(key, seq)| (key.clone(), *seq)) else { return };
            self.taken_back.remove(&key);
            self.floor = self.floor.max(seq);
        }
    }
}

/// Who comes in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) session: SessionKey,
    pub(super) user: UserId,
    pub(super) role: Role,
    pub(super) claimed: Option<Role>,
}

/// How many are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) devices: usize,
    pub(super) users: usize,
    pub(super) idle: usize,
    pub(super) typing: usize,
}

/// Who is in a space, and what they announce.
#[derive(Debug, Default)]
pub(super) struct Room {
    version: u64,
    table: BTreeMap<u64, Item>,
    devices: BTreeMap<SessionKey, Device>,
    users: BTreeMap<UserId, BTreeSet<SessionKey>>,
    /// Versions of the removals in the table, oldest first.
    removals: VecDeque<u64>,
    /// Who was told less than this begins anew.
    reach: u64,
    /// When something lapses.
    lapses: BTreeSet<(Timestamp, SessionKey, String)>,
    /// When those are given up whose connections are gone.
    away: BTreeSet<(Timestamp, SessionKey)>,
    /// Users who are not there, and when and at which version they left.
    seen: BTreeMap<UserId, (Timestamp, u64)>,
    idle: usize,
    typing: usize,
}

impl Room {
    /// Up to where its history goes.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// Whether one who was told everything up to a version can be told the rest without beginning
    /// anew.
    pub(super) const fn reaches(&self, told: u64) -> bool {
        told >= self.reach
    }

    /// What became otherwise after a version, oldest first.
    pub(super) fn after(&self, version: u64) -> impl DoubleEndedIterator<Item = (u64, &Item)> {
        self.table.range(version + 1..).map(|(version, item)| (*version, item))
    }

    pub(super) fn device(&self, session: SessionKey) -> Option<&Device> {
        self.devices.get(&session)
    }

    /// The sessions of a user that are seen there.
    pub(super) fn devices_of(&self, user: &UserId) -> Vec<SessionKey> {
        self.users.get(user).into_iter().flatten().copied().collect()
    }

    /// When a user who is not there was seen last.
    pub(super) fn seen(&self, user: &UserId) -> Option<Timestamp> {
        self.seen.get(user).map(|(at, _)| *at)
    }

    pub(super) fn counts(&self) -> Counts {
        let (devices, users) = (self.devices.len(), self.users.len());
        Counts { devices, users, idle: self.idle, typing: self.typing }
    }

    /// When time alone will change something.
    pub(super) fn next_change(&self) -> Option<Timestamp> {
        let lapse = self.lapses.first().map(|(at, ..)| *at);
        let away = self.away.first().map(|(at, _)| *at);
        lapse.into_iter().chain(away).min()
    }

    fn note(&mut self, item: Item) -> u64 {
        self.version += 1;
        let removal = item.is_removal();
        self.table.insert(self.version, item);
        if removal {
            self.removals.push_back(self.version);
            while self.removals.len() > REMOVALS_MAX
                && let Some(oldest) = self.removals.pop_front()
            {
                self.table.remove(&oldest);
                self.reach = oldest;
            }
        }
        self.version
    }

    /// Somebody comes in, or is back. What was announced before stays until it is replaced.
    pub(super) fn come(&mut self, now: Timestamp, arrival: Arrival) {
        let Arrival { session, user, role, claimed } = arrival;
        if let Some(device) = self.devices.get_mut(&session) {
            if let Some(until) = device.away.take() {
                self.away.remove(&(until, session));
            }
            return self.set_role(session, role, claimed);
        }
        if let Some((_, version)) = self.seen.remove(&user) {
            // That the user is there says that it is not gone.
            self.table.remove(&version);
        }
        self.users.entry(user.clone()).or_default().insert(session);
        let version = self.note(Item::Came(session));
        self.devices.insert(
            session,
            Device {
                user,
                role,
                claimed,
                since: now,
                sayings: BTreeMap::new(),
                version,
                taken_back: BTreeMap::new(),
                floor: 0,
                away: None,
            },
        );
    }

    /// A session has another role, or proves the one that it has otherwise.
    pub(super) fn set_role(&mut self, session: SessionKey, role: Role, claimed: Option<Role>) {
        let Some(device) = self.devices.get_mut(&session) else { return };
        device.claimed = claimed;
        if device.role == role {
            return;
        }
        device.role = role;
        let before = device.version;
        self.table.remove(&before);
        let version = self.note(Item::Came(session));
        if let Some(device) = self.devices.get_mut(&session) {
            device.version = version;
        }
    }

    /// The connection of a session is gone; it is waited for until then.
    pub(super) fn wait_for(&mut self, session: SessionKey, until: Timestamp) {
        if let Some(device) = self.devices.get_mut(&session) {
            if let Some(before) = device.away.replace(until) {
                self.away.remove(&(before, session));
            }
            self.away.insert((until, session));
        }
    }

    /// A session is there no more.
    pub(super) fn leave(&mut self, now: Timestamp, session: SessionKey) {
        let said = self.devices.get(&session).map(|device| &device.sayings);
        let keys: Vec<String> = said.into_iter().flat_map(BTreeMap::keys).cloned().collect();
        for key in keys {
            self.drop_saying(session, &key);
        }
        let Some(device) = self.devices.remove(&session) else { return };
        self.table.remove(&device.version);
        if let Some(until) = device.away {
            self.away.remove(&(until, session));
        }
        self.note(Item::Left(session));
        let Some(sessions) = self.users.get_mut(&device.user) else { return };
        sessions.remove(&session);
        if sessions.is_empty() {
            self.users.remove(&device.user);
            let version = self.note(Item::Seen(device.user.clone()));
            self.seen.insert(device.user, (now, version));
            self.forget_seen();
        }
    }

    fn forget_seen(&mut self) {
        while self.seen.len() > SEEN_MAX {
            let oldest = self.seen.iter().min_by_key(|(_, (_, version))| *version);
            let Some((user, version)) = oldest.map(|(user, (_, v))| (user.clone(), *v)) else {
                return;
            };
            self.seen.remove(&user);
            self.table.remove(&version);
            self.note(Item::Forgotten(user));
        }
    }

    /// Whether a session may announce all of this.
    pub(super) fn check(
        &self,
        session: SessionKey,
        sayings: &[WireSaying],
    ) -> Result<(), SayingError> {
        let said = self.devices.get(&session).map(|device| &device.sayings);
        let mut keys: BTreeSet<&str> =
            said.into_iter().flat_map(|said| said.keys().map(String::as_str)).collect();
        for saying in sayings {
            match &saying.value {
                Some(_) => keys.insert(&saying.key),
                None => keys.remove(saying.key.as_str()),
            };
            if keys.len() > PRESENCE_KEYS_MAX {
                return Err(SayingError::TooMany);
            }
        }
        Ok(())
    }

    /// A session announces exactly this from here on, numbered anew.
    pub(super) fn replace(&mut self, now: Timestamp, session: SessionKey, all: Vec<WireSaying>) {
        let Some(device) = self.devices.get_mut(&session) else { return };
        device.taken_back.clear();
        device.floor = 0;
        device.sayings.values_mut().for_each(|saying| saying.seq = 0);
        let gone: Vec<String> = device
            .sayings
            .keys()
            .filter(|key| !all.iter().any(|new| new.value.is_some() && new.key == **key))
            .cloned()
            .collect();
        for key in gone {
            self.take_back(session, &key, 0);
        }
        for saying in all {
            self.say(now, session, saying);
        }
    }

    /// A session announces something that was [checked](Self::check). What has a lower number than
    /// what is known of the key does not count.
    pub(super) fn say(&mut self, now: Timestamp, session: SessionKey, saying: WireSaying) {
        let WireSaying { key, seq, value, ttl_ms } = saying;
        let Some(device) = self.devices.get_mut(&session) else { return };
        if seq <= device.last_seq(&key) {
            return;
        }
        let Some(value) = value else { return self.take_back(session, &key, seq) };
        let until = ttl_ms.map(|ttl| now + std::time::Duration::from_millis(ttl.into()));
        if let Some(before) = device.sayings.get_mut(&key)
            && before.value == value
            && before.until.is_none()
            && until.is_none()
        {
            // Nobody sees a difference.
            before.seq = seq;
            return;
        }
        device.taken_back.remove(&key);
        self.drop_saying(session, &key);
        let version = self.note(Item::Said(session, key.clone()));
        if let Some(until) = until {
            self.lapses.insert((until, session, key.clone()));
        }
        self.count(&key, 1);
        if let Some(device) = self.devices.get_mut(&session) {
            device.sayings.insert(key, Saying { value, at: now, until, seq, version });
        }
    }

    fn take_back(&mut self, session: SessionKey, key: &str, seq: u64) {
        let was_said = self.drop_saying(session, key);
        if let Some(device) = self.devices.get_mut(&session) {
            device.note_taken_back(key, seq);
        }
        if was_said {
            self.note(Item::Unsaid(session, key.to_owned()));
        }
    }

    /// Takes a saying out of everything, without a word about it.
    fn drop_saying(&mut self, session: SessionKey, key: &str) -> bool {
        let Some(device) = self.devices.get_mut(&session) else { return false };
        let Some(saying) = device.sayings.remove(key) else { return false };
        self.table.remove(&saying.version);
        if let Some(until) = saying.until {
            self.lapses.remove(&(until, session, key.to_owned()));
        }
        self.count(key, -1);
        true
    }

    fn count(&mut self, key: &str, by: isize) {
        let counter = match key {
            presence::IDLE => &mut self.idle,
            presence::TYPING => &mut self.typing,
            _ => return,
        };
        *counter = counter.saturating_add_signed(by);
    }

    /// Lets go of what has lapsed, and of those who did not come back. Answers who these are.
    pub(super) fn pass_time(&mut self, now: Timestamp) -> Vec<SessionKey> {
        while let Some((at, session, key)) = self.lapses.first()
            && *at <= now
        {
            let (session, key) = (*session, key.clone());
            let seq = self.devices.get(&session).map_or(0, |device| device.last_seq(&key));
            self.take_back(session, &key, seq);
        }
        let mut gone = Vec::new();
        while let Some((at, session)) = self.away.first().copied()
            && at <= now
        {
            self.leave(now, session);
            gone.push(session);
        }
        gone
    }

    /// Sessions whose connections are gone and that are still shown.
    pub(super) fn away(&self) -> Vec<SessionKey> {
        self.away.iter().map(|(_, session)| *session).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saying(key: &str, seq: u64, value: Option<String>) -> WireSaying {
        WireSaying { key: key.to_owned(), seq, value, ttl_ms: None }
    }

    fn room() -> Room {
        let mut room = Room::default();
        let user = UserId::new("ada").unwrap();
        let session = SessionKey(1);
        room.come(Timestamp(0), Arrival { session, user, role: Role::Member, claimed: None });
        room
    }

    #[test]
    fn what_an_announcement_costs_does_not_depend_on_what_was_said_before() {
        let mut room = room();
        let now = Timestamp(0);
        for seq in (1..=60_000).step_by(3) {
            room.say(now, SessionKey(1), saying("cursor", seq, Some(seq.to_string())));
            room.say(now, SessionKey(1), saying("flag", seq + 1, Some("1".to_owned())));
            room.say(now, SessionKey(1), saying("flag", seq + 2, None));
        }
        assert_eq!(room.table.len(), 2 + REMOVALS_MAX, "one who came, one saying, removals");
        assert_eq!(room.removals.len(), REMOVALS_MAX);
        assert!(room.reaches(room.version()) && !room.reaches(1));
    }

    #[test]
    fn numbers_of_keys_that_came_and_went_are_remembered_within_bounds() {
        let mut room = room();
        for seq in 1..=100 {
            let key = format!("k{seq}");
            room.say(Timestamp(0), SessionKey(1), saying(&key, 2 * seq, Some("1".to_owned())));
            room.say(Timestamp(0), SessionKey(1), saying(&key, 2 * seq + 1, None));
        }
        let device = room.device(SessionKey(1)).unwrap();
        assert_eq!(device.taken_back.len(), PRESENCE_KEYS_MAX);
        assert_eq!((device.last_seq("k100"), device.last_seq("k1")), (201, 201 - 32));
        room.leave(Timestamp(9), SessionKey(1));
        assert_eq!((room.counts(), room.next_change()), (Counts::default(), None));
        let left: Vec<&Item> =
            room.after(0).filter(|(_, i)| !i.is_removal()).map(|(_, i)| i).collect();
        assert_eq!(left, [&Item::Seen(UserId::new("ada").unwrap())]);
    }
}
