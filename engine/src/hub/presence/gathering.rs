//! A space with those who listen: who is told what and when, who was sent out. Knows connections only
//! as places that take bytes; nothing of rules.
//!
//! Everyone who stands at the same version is sent the same bytes, at most once in each interval. A
//! connection that has not taken what it was sent stays where it is, and is told the rest when it has.

use std::collections::BTreeMap;
use std::time::Duration;

use super::picture::{self, Part, Told};
use super::room::Room;
use super::{GatheringHandle, PresenceConfig};
use crate::clock::Timestamp;
use crate::hub::connection::{Connections, Outgoing, SessionKey, Slot};
use crate::ids::UserId;
use crate::wire::frame::Enter;

/// Users who are kept out of one space by a moderator; of more, those whose time is over first come
/// in again.
const KICKS_MAX: usize = 256;

/// A connection that is in the space.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) session: SessionKey,
    /// Whether its session is seen.
    pub(super) visible: bool,
    told: Told,
    /// Whether it was told of a crowd last.
    crowd: bool,
    /// Whether something waits until it has taken what it was sent.
    behind: bool,
    /// The role and capabilities that it was told.
    pub(super) standing: (String, u16),
}

impl Listener {
    pub(super) fn new(session: SessionKey, visible: bool, standing: (String, u16)) -> Self {
        let told = Told::default();
        Self { session, visible, told, crowd: false, behind: false, standing }
    }
}

/// Where a listener's bytes go.
pub(super) struct Mouth<'a> {
    pub(super) connections: &'a mut Connections,
    pub(super) out: &'a mut Outgoing,
    pub(super) unread_bytes_max: usize,
}

/// What was encoded already for others who stand at the same place.
#[derive(Default)]
struct Cache {
    parts: BTreeMap<Told, Part>,
    crowd: Option<bytes::Bytes>,
}

/// A space with those who are in it.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) name: String,
    pub(super) room: Room,
    pub(super) listeners: BTreeMap<Slot, Listener>,
    /// Connections that wait for the rules.
    pub(super) entering: BTreeMap<Slot, Enter>,
    kicks: BTreeMap<UserId, Timestamp>,
    /// Whether there are too many to tell everybody of everybody.
    crowd: bool,
    /// The version that everybody was told last, but for those who are behind.
    flushed: u64,
    /// Not before this is anything told again.
    flush_from: Timestamp,
    /// Since when nobody is there.
    pub(super) empty_since: Option<Timestamp>,
    /// For when its timer is armed.
    pub(super) wake: Option<Timestamp>,
}

impl Gathering {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            room: Room::default(),
            listeners: BTreeMap::new(),
            entering: BTreeMap::new(),
            kicks: BTreeMap::new(),
            crowd: false,
            flushed: 0,
            flush_from: Timestamp(0),
            empty_since: None,
            wake: None,
        }
    }

    /// Whether nobody is there, nor about to be, nor waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.entering.is_empty() && self.room.counts().devices == 0
    }

    /// Keeps a user out until then.
    pub(super) fn kick(&mut self, user: &UserId, until: Timestamp) {
        self.kicks.insert(user.clone(), until);
        while self.kicks.len() > KICKS_MAX {
            let first = self.kicks.iter().min_by_key(|(_, until)| **until);
            let Some(user) = first.map(|(user, _)| user.clone()) else { return };
            self.kicks.remove(&user);
        }
    }

    /// Until when a user is kept out, if that is so.
    pub(super) fn kicked_until(&mut self, now: Timestamp, user: &UserId) -> Option<Timestamp> {
        self.kicks.retain(|_, until| *until > now);
        self.kicks.get(user).copied()
    }

    /// How long nothing is told after something was.
    fn interval(&self, config: &PresenceConfig) -> Duration {
        let times = self.listeners.len().div_ceil(config.full_max.max(1)).max(1);
        config.interval.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX))
    }

    /// When it next wants to do something by itself.
    pub(super) fn next_wake(&self, config: &PresenceConfig) -> Option<Timestamp> {
        let news = self.flushed < self.room.version() && !self.listeners.is_empty();
        let flush = news.then_some(self.flush_from);
        let kicks = self.kicks.values().max().copied().unwrap_or_default();
        let end = self.empty_since.map(|since| (since + config.idle).max(kicks));
        self.room.next_change().into_iter().chain(flush).chain(end).min()
    }

    /// Whether nobody has been there for so long that it can be forgotten.
    pub(super) fn is_over(&self, now: Timestamp, config: &PresenceConfig) -> bool {
        let kept_out = self.kicks.values().any(|until| *until > now);
        self.empty_since.is_some_and(|since| since + config.idle <= now) && !kept_out
    }

    /// Tells everybody what is new, if it is time.
    pub(super) fn flush(
        &mut self,
        now: Timestamp,
        handle: GatheringHandle,
        config: &PresenceConfig,
        mouth: &mut Mouth<'_>,
    ) {
        if self.flushed >= self.room.version() || now < self.flush_from {
            return;
        }
        self.flushed = self.room.version();
        self.flush_from = now + self.interval(config);
        let devices = self.room.counts().devices;
        // It takes fewer to be no crowd any more, so that it does not change with each who comes and
        // goes.
        let fewer = config.full_max - config.full_max / 5;
        self.crowd = devices > config.full_max || (self.crowd && devices > fewer);
        let mut cache = Cache::default();
        let slots: Vec<Slot> = self.listeners.keys().copied().collect();
        for slot in slots {
            let idle = mouth.connections.get(slot).is_some_and(|c| c.outstanding == 0);
            if idle {
                self.tell(now, handle, slot, config, mouth, &mut cache);
            } else if let Some(listener) = self.listeners.get_mut(&slot) {
                listener.behind = true;
            }
        }
    }

    /// Tells one who has just come in, or has taken what it was sent, what it does not know.
    pub(super) fn catch_up(
        &mut self,
        now: Timestamp,
        handle: GatheringHandle,
        slot: Slot,
        config: &PresenceConfig,
        mouth: &mut Mouth<'_>,
    ) {
        let waits = |listener: &Listener| listener.behind || listener.told.version.is_none();
        if self.listeners.get(&slot).is_some_and(waits) {
            self.tell(now, handle, slot, config, mouth, &mut Cache::default());
        }
    }

    fn tell(
        &mut self,
        now: Timestamp,
        handle: GatheringHandle,
        slot: Slot,
        config: &PresenceConfig,
        mouth: &mut Mouth<'_>,
        cache: &mut Cache,
    ) {
        let Some(listener) = self.listeners.get_mut(&slot) else { return };
        let Some(connection) = mouth.connections.get_mut(slot) else { return };
        listener.behind = false;
        let message = if self.crowd {
            let crowd = Told { version: Some(self.room.version()), begun: self.room.version() };
            if listener.crowd && listener.told == crowd {
                return;
            }
            listener.crowd = true;
            listener.told = crowd;
            if cache.crowd.is_none() {
                cache.crowd = picture::crowd(&self.room, handle.0, config.sample, now);
            }
            cache.crowd.clone()
        } else {
            if std::mem::take(&mut listener.crowd) {
                listener.told = Told::default();
            }
            let told = listener.told;
            if told.version == Some(self.room.version()) {
                return;
            }
            let part = cache
                .parts
                .entry(told)
                .or_insert_with(|| picture::part(&self.room, handle.0, told, now));
            listener.told = part.told;
            listener.behind = part.more;
            part.message.clone()
        };
        if let Some(message) = message {
            mouth.out.send(connection, slot, message, mouth.unread_bytes_max);
        }
    }
}
