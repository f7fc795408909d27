//! Being in spaces: entering and leaving, announcing at a bounded rate, saying everything again after
//! a lost connection, noticing that the user does nothing. Nothing of it is stored: who is not in
//! contact is not there.

use std::collections::BTreeMap;
use std::time::Duration;

mod picture;
mod spaces;

use self::picture::Nonsense;
pub use self::picture::{Counts, Device, Member, PresenceEvent, Saying};
use self::spaces::OpenSpace;
pub use self::spaces::SpaceStatus;
use super::{Notice, Session};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Address, UserId};
use crate::machine::Wake;
use crate::policy::{Capabilities, Role};
use crate::presence::{IDLE, Selection};
use crate::wire::frame::{
    Announce, Crowd, Enter, Entered, Kick, Kicked, Leave, NotAnnounced, Presence, SentAway,
    Standing,
};

/// What an app does in a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpaceAct {
    /// Enters it, or tries again after it was sent out.
    Enter {
        /// Whether others are to see it. Somebody who is seen stays so.
        visible: bool,
    },
    /// Leaves it.
    Leave,
    /// Announces something about itself, or takes it back.
    Announce {
        /// Under which key ([`crate::presence::check_key`]).
        key: String,
        /// What, JSON by convention; `None` takes it back.
        value: Option<String>,
        /// After how long it lapses by itself.
        ttl: Option<Duration>,
    },
    /// Sends a user out, with all devices, and keeps the user out for so long. For those who may
    /// moderate.
    Kick {
        /// Whom.
        user: UserId,
        /// For how long.
        wait: Duration,
    },
}

/// What an app hears of a space.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpaceNews {
    /// The stay is elsewhere.
    Status(SpaceStatus),
    /// Others came, left, or announced something.
    Changed(Vec<PresenceEvent>),
    /// An announcement was refused.
    NotAnnounced {
        /// Why.
        code: Code,
        /// A sentence that helps.
        message: String,
    },
    /// What became of a kick.
    Kicked {
        /// Whom it meant.
        user: String,
        /// How many of the user's devices were there.
        devices: usize,
        /// Why nobody was sent out.
        refused: Option<Code>,
    },
}

/// The spaces that an app is in.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    by_name: BTreeMap<String, OpenSpace>,
    /// Handles of this connection.
    handles: BTreeMap<u32, String>,
    /// The last number given to something announced.
    seq: u64,
    /// When the user did something last.
    active_at: Timestamp,
    idle: bool,
}

impl Spaces {
    fn by_handle(&mut self, handle: u32) -> Option<(&String, &mut OpenSpace)> {
        let name = self.handles.get(&handle)?;
        self.by_name.get_mut(name).map(|space| (name, space))
    }
}

impl Session {
    /// Where the stay in a space is, if the app is in it.
    #[must_use]
    pub fn space_status(&self, space: &str) -> Option<&SpaceStatus> {
        self.spaces.by_name.get(space).map(|space| &space.status)
    }

    /// Who is in a space, in the order of their names. If there are [too many](Self::space_crowd) it
    /// names this user and those who did something last.
    #[must_use]
    pub fn members(&self, space: &str) -> Vec<Member> {
        self.spaces.by_name.get(space).map(|space| space.picture.members()).unwrap_or_default()
    }

    /// How many are in a space, where that is so many that not everybody is named.
    #[must_use]
    pub fn space_crowd(&self, space: &str) -> Option<Counts> {
        self.spaces.by_name.get(space)?.picture.crowd()
    }

    /// When a user who is not in a space was seen there last, as far as it is known.
    #[must_use]
    pub fn last_seen(&self, space: &str) -> BTreeMap<UserId, Timestamp> {
        self.spaces.by_name.get(space).map(|space| space.picture.seen().clone()).unwrap_or_default()
    }

    /// Who types in a document, on other devices than this.
    #[must_use]
    pub fn typing(&self, document: &Address) -> Vec<UserId> {
        let Some(space) = self.spaces.by_name.get(document.space()) else { return Vec::new() };
        space.picture.typing(document, space.device()).into_iter().collect()
    }

    /// Where others are in the texts of a document: device, user, place.
    #[must_use]
    pub fn selections(&self, document: &Address) -> Vec<(u64, UserId, Selection)> {
        let Some(space) = self.spaces.by_name.get(document.space()) else { return Vec::new() };
        space.picture.selections(document, space.device())
    }

    pub(super) fn act(&mut self, now: Timestamp, name: &str, act: SpaceAct) {
        match act {
            SpaceAct::Enter { visible } => {
                self.user_did_something(now);
                let space = self.spaces.by_name.entry(name.to_owned());
                let space = space.or_insert_with(|| OpenSpace::new(visible));
                let seen_now = visible && !space.visible;
                space.visible |= visible;
                if seen_now || space.handle.is_none() {
                    self.enter(now, name);
                }
            }
            SpaceAct::Leave => {
                let Some(space) = self.spaces.by_name.remove(name) else { return };
                if let Some(handle) = space.handle {
                    self.spaces.handles.remove(&handle);
                    self.send(Leave { handle }.into());
                }
            }
            SpaceAct::Announce { key, value, ttl } => {
                self.user_did_something(now);
                self.announce(now, name, &key, value, ttl);
            }
            SpaceAct::Kick { user, wait } => {
                let handle = self.spaces.by_name.get(name).and_then(|space| space.handle);
                if let Some(handle) = handle {
                    let for_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
                    self.send(Kick { handle, user: user.to_string(), for_ms }.into());
                } else {
                    let refused = Some(Code::ShuttingDown);
                    let news = SpaceNews::Kicked { user: user.to_string(), devices: 0, refused };
                    self.tell_space(name, news);
                }
            }
        }
    }

    fn announce(
        &mut self,
        now: Timestamp,
        name: &str,
        key: &str,
        value: Option<String>,
        ttl: Option<Duration>,
    ) {
        let Some(space) = self.spaces.by_name.get_mut(name) else { return };
        match space.announce(now, key, value, ttl) {
            Ok(()) => self.say_due(now),
            Err(error) => {
                let (code, message) = (Code::BadPresence, error.to_string());
                self.tell_space(name, SpaceNews::NotAnnounced { code, message });
            }
        }
    }

    /// The user did something, anywhere in the app.
    pub(super) fn user_did_something(&mut self, now: Timestamp) {
        self.spaces.active_at = now;
        if std::mem::take(&mut self.spaces.idle) {
            let names: Vec<String> = self.spaces.by_name.keys().cloned().collect();
            for name in names {
                self.announce(now, &name, IDLE, None, None);
            }
        }
    }

    fn enter(&mut self, now: Timestamp, name: &str) {
        if self.link.up().is_none() {
            return;
        }
        let Some(space) = self.spaces.by_name.get_mut(name) else { return };
        let sayings = if space.visible { space.all(now, &mut self.spaces.seq) } else { Vec::new() };
        space.hush(now, self.config.announce_interval);
        let visible = space.visible;
        self.send(Enter { space: name.to_owned(), visible, sayings }.into());
        self.set_space_status(name, SpaceStatus::Entering);
    }

    /// There is contact with the server again.
    pub(super) fn enter_spaces(&mut self, now: Timestamp) {
        let kept_out = |space: &OpenSpace| {
            matches!(&space.status, SpaceStatus::Outside { code: Code::Kicked, until, .. }
                if until.is_none_or(|until| until > now))
        };
        let spaces = self.spaces.by_name.iter().filter(|(_, space)| !kept_out(space));
        let names: Vec<String> = spaces.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.enter(now, &name);
        }
    }

    /// What belonged to the connection is void. What was known of who is there stays for now.
    pub(super) fn leave_contact(&mut self) {
        self.spaces.handles.clear();
        let names: Vec<String> = self.spaces.by_name.keys().cloned().collect();
        for name in names {
            let Some(space) = self.spaces.by_name.get_mut(&name) else { continue };
            space.handle = None;
            space.arriving = None;
            if matches!(space.status, SpaceStatus::Entering | SpaceStatus::Inside { .. }) {
                self.set_space_status(&name, SpaceStatus::Apart);
            }
        }
    }

    pub(super) fn entered(&mut self, now: Timestamp, frame: Entered) {
        let Entered { space: name, handle, device, role, may, interval_ms } = frame;
        let Ok(role) = Role::new(&role) else {
            return self.out_of_step(now, "the role in a space does not read");
        };
        let Some(space) = self.spaces.by_name.get_mut(&name) else {
            return self.send(Leave { handle }.into());
        };
        if let Some(before) = space.handle.replace(handle) {
            self.spaces.handles.remove(&before);
        }
        space.interval = Duration::from_millis(interval_ms.into()).min(Duration::from_secs(60));
        self.spaces.handles.insert(handle, name.clone());
        let may = Capabilities::from_bits(may);
        space.arriving = Some(SpaceStatus::Inside { device, role, may });
        self.say_due(now);
    }

    /// What there is to see has come.
    fn arrived(&mut self, name: &str) {
        let Some(space) = self.spaces.by_name.get_mut(name) else { return };
        if !space.picture.is_incomplete()
            && let Some(status) = space.arriving.take()
        {
            self.set_space_status(name, status);
        }
    }

    pub(super) fn presence(&mut self, now: Timestamp, frame: Presence) {
        let Some((name, space)) = self.spaces.by_handle(frame.handle) else { return };
        let name = name.clone();
        match space.picture.take(now, frame) {
            Ok(events) => {
                if !events.is_empty() {
                    self.tell_space(&name, SpaceNews::Changed(events));
                }
                self.arrived(&name);
            }
            Err(Nonsense) => self.out_of_step(now, "what is said of a space does not read"),
        }
    }

    pub(super) fn crowd(&mut self, now: Timestamp, frame: Crowd) {
        let user = self.identity.user.clone();
        let Some((name, space)) = self.spaces.by_handle(frame.handle) else { return };
        let name = name.clone();
        let taken = space.picture.take_crowd(now, frame);
        if let Some((number, role)) = space.standing() {
            let said = space.said().map(|(key, value, until)| {
                (key.clone(), Saying { value: value.clone(), at: now, until })
            });
            let (role, sayings) = (role.clone(), said.collect());
            space.picture.name(Device { number, user, role, since: now, sayings });
        }
        match taken {
            Ok(()) => {
                self.tell_space(&name, SpaceNews::Changed(vec![PresenceEvent::Crowd]));
                self.arrived(&name);
            }
            Err(Nonsense) => self.out_of_step(now, "what is said of a space does not read"),
        }
    }

    pub(super) fn stands(&mut self, now: Timestamp, frame: &Standing) {
        let Ok(role) = Role::new(&frame.role) else {
            return self.out_of_step(now, "the role in a space does not read");
        };
        let Some((name, space)) = self.spaces.by_handle(frame.handle) else { return };
        let (name, device) = (name.clone(), space.device());
        let status = SpaceStatus::Inside { device, role, may: Capabilities::from_bits(frame.may) };
        if let Some(arriving) = &mut space.arriving {
            *arriving = status;
        } else {
            self.set_space_status(&name, status);
        }
    }

    pub(super) fn sent_out(&mut self, now: Timestamp, frame: SentAway) {
        let SentAway { space: name, code, message, retry_after_ms } = frame;
        let Some(space) = self.spaces.by_name.get_mut(&name) else { return };
        if let Some(handle) = space.handle.take() {
            self.spaces.handles.remove(&handle);
        }
        space.arriving = None;
        space.picture = picture::Picture::default();
        let code = Code::from_number(code).unwrap_or(Code::Forbidden);
        let until = retry_after_ms.map(|ms| now + Duration::from_millis(ms.into()));
        self.set_space_status(&name, SpaceStatus::Outside { code, message, until });
    }

    pub(super) fn not_announced(&mut self, now: Timestamp, frame: NotAnnounced) {
        let Some((name, space)) = self.spaces.by_handle(frame.handle) else { return };
        let name = name.clone();
        if let Some(wait) = frame.retry_after_ms {
            space.say_again(now, Duration::from_millis(wait.into()));
        }
        let code = Code::from_number(frame.code).unwrap_or(Code::BadPresence);
        self.tell_space(&name, SpaceNews::NotAnnounced { code, message: frame.message });
    }

    pub(super) fn kicked(&mut self, frame: Kicked) {
        let Some((name, _)) = self.spaces.by_handle(frame.handle) else { return };
        let name = name.clone();
        let refused = frame.refused.map(|code| Code::from_number(code).unwrap_or(Code::Forbidden));
        let devices = usize::try_from(frame.devices).unwrap_or(usize::MAX);
        self.tell_space(&name, SpaceNews::Kicked { user: frame.user, devices, refused });
    }

    fn set_space_status(&mut self, name: &str, status: SpaceStatus) {
        let Some(space) = self.spaces.by_name.get_mut(name) else { return };
        if space.status != status {
            space.status = status.clone();
            self.tell_space(name, SpaceNews::Status(status));
        }
    }

    fn tell_space(&mut self, name: &str, news: SpaceNews) {
        self.notify(Notice::Space { space: name.to_owned(), news });
    }

    /// Says what may be said by now.
    fn say_due(&mut self, now: Timestamp) {
        let spaces = self.spaces.by_name.iter().filter(|(_, space)| space.is_due(now));
        let names: Vec<String> = spaces.map(|(name, _)| name.clone()).collect();
        for name in names {
            let Some(space) = self.spaces.by_name.get_mut(&name) else { continue };
            let sayings = space.unsaid(now, &mut self.spaces.seq);
            space.hush(now, space.interval.max(self.config.announce_interval));
            if let Some(handle) = space.handle.filter(|_| !sayings.is_empty()) {
                self.send(Announce { handle, sayings }.into());
            }
        }
    }

    pub(super) fn pass_time_in_spaces(&mut self, now: Timestamp) {
        if !self.spaces.idle && self.idle_at().is_some_and(|at| at <= now) {
            self.spaces.idle = true;
            let since = self.spaces.active_at.0.to_string();
            let seen = self.spaces.by_name.iter().filter(|(_, space)| space.visible);
            let names: Vec<String> = seen.map(|(name, _)| name.clone()).collect();
            for name in names {
                self.announce(now, &name, IDLE, Some(since.clone()), None);
            }
        }
        let names: Vec<String> = self.spaces.by_name.keys().cloned().collect();
        for name in names {
            let Some(space) = self.spaces.by_name.get_mut(&name) else { continue };
            let retry = space.retry_at().is_some_and(|at| at <= now);
            let events = space.picture.pass_time(now);
            if !events.is_empty() {
                self.tell_space(&name, SpaceNews::Changed(events));
            }
            if retry {
                self.enter(now, &name);
            }
        }
        self.say_due(now);
    }

    /// When the user counts as idle, if somebody is to see that.
    fn idle_at(&self) -> Option<Timestamp> {
        let seen = self.spaces.by_name.values().any(|space| space.visible);
        seen.then(|| self.spaces.active_at + self.config.idle_after)
    }

    /// When time alone will change something in the spaces.
    pub(super) fn spaces_wake(&self) -> Option<Wake> {
        let idle = self.idle_at().filter(|_| !self.spaces.idle);
        let up = self.link.up().is_some();
        let spaces = self.spaces.by_name.values().flat_map(|space| {
            let retry = space.retry_at().filter(|_| up);
            [space.say_at(), retry, space.picture.next_lapse()]
        });
        let at = spaces.chain([idle]).flatten().min();
        at.map(|at| Wake { at, why: "presence" })
    }
}
