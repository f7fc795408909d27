//! The spaces that an app is in: what this client announces in each and has not said yet, and where its
//! stay is. Knows no connection; the session sends what is asked for here.

use std::collections::BTreeMap;
use std::time::Duration;

use super::picture::Picture;
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::limits::PRESENCE_KEYS_MAX;
use crate::policy::{Capabilities, Role};
use crate::presence::{SayingError, check_key, check_value};
use crate::wire::frame::WireSaying;

/// Where a stay in a space is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpaceStatus {
    /// There is no contact with the server; what is known of the space is from before.
    Apart,
    /// Entry is asked for, or what there is to see is on its way.
    Entering,
    /// In the space.
    Inside {
        /// This session's number among those who are seen; `None` if it only looks.
        device: Option<u64>,
        /// The user's role.
        role: Role,
        /// What the user may do.
        may: Capabilities,
    },
    /// Not let in, or sent out.
    Outside {
        /// Why.
        code: Code,
        /// A sentence that helps.
        message: String,
        /// Before when it makes no sense to try again.
        until: Option<Timestamp>,
    },
}

/// Something that this client announces.
#[derive(Debug, Clone)]
struct Mine {
    /// `None` once it is taken back.
    value: Option<String>,
    ttl: Option<Duration>,
    until: Option<Timestamp>,
    unsaid: bool,
}

/// One space that the app is in.
#[derive(Debug)]
pub(super) struct OpenSpace {
    pub(super) visible: bool,
    pub(super) status: SpaceStatus,
    pub(super) handle: Option<u32>,
    /// Where the stay is once the first picture is whole.
    pub(super) arriving: Option<SpaceStatus>,
    pub(super) picture: Picture,
    mine: BTreeMap<String, Mine>,
    /// Not before this is anything said again.
    say_from: Timestamp,
    /// When that was decided: if that is not past, the clock went back, and what it said of the future is
    /// void.
    hushed_at: Timestamp,
    pub(super) interval: Duration,
}

impl OpenSpace {
    pub(super) fn new(visible: bool) -> Self {
        Self {
            visible,
            status: SpaceStatus::Apart,
            handle: None,
            arriving: None,
            picture: Picture::default(),
            mine: BTreeMap::new(),
            say_from: Timestamp(0),
            hushed_at: Timestamp(0),
            interval: Duration::ZERO,
        }
    }

    /// This session's number among those who are seen, and its user's role.
    pub(super) fn standing(&self) -> Option<(u64, &Role)> {
        match self.arriving.as_ref().unwrap_or(&self.status) {
            SpaceStatus::Inside { device, role, .. } => device.map(|device| (device, role)),
            SpaceStatus::Apart | SpaceStatus::Entering | SpaceStatus::Outside { .. } => None,
        }
    }

    pub(super) fn device(&self) -> Option<u64> {
        self.standing().map(|(device, _)| device)
    }

    /// Announces something, or takes it back. It is said when it is time; of what comes meanwhile
    /// only the last counts.
    pub(super) fn announce(
        &mut self,
        now: Timestamp,
        key: &str,
        value: Option<String>,
        ttl: Option<Duration>,
    ) -> Result<(), SayingError> {
        check_key(key)?;
        check_value(value.as_deref().unwrap_or_default())?;
        self.forget_lapsed(now);
        let ttl = ttl.filter(|_| value.is_some());
        let until = ttl.map(|ttl| now + ttl);
        let before = self.mine.get(key);
        if value.is_none() && before.is_none() {
            return Ok(());
        }
        let others = self.mine.iter().filter(|(other, mine)| *other != key && mine.value.is_some());
        if value.is_some() && others.count() >= PRESENCE_KEYS_MAX {
            return Err(SayingError::TooMany);
        }
        if let Some(before) = before
            && before.value == value
            && before.ttl == ttl
        {
            // What lapses is said again when half of its time is over, and not with each key press.
            let fresh = match (before.until, ttl) {
                (Some(until), Some(ttl)) => now + ttl / 2 < until,
                (_, None) => true,
                (None, Some(_)) => false,
            };
            if fresh {
                return Ok(());
            }
        }
        self.mine.insert(key.to_owned(), Mine { value, ttl, until, unsaid: true });
        self.forget_taken_back();
        Ok(())
    }

    /// What has lapsed is taken back: that is to be said if the value was not, since it took the place of what
    /// may have been said before it.
    fn forget_lapsed(&mut self, now: Timestamp) {
        let has_lapsed = |mine: &Mine| mine.until.is_some_and(|until| until <= now);
        for mine in self.mine.values_mut().filter(|mine| has_lapsed(mine)) {
            *mine = Mine { value: None, ttl: None, until: None, unsaid: mine.unsaid };
        }
    }

    /// Lets go of what is taken back, once there is much of it. Until then it is kept because what was said may not
    /// have counted. Who enters says all that counts, and so takes nothing back before.
    fn forget_taken_back(&mut self) {
        let apart = matches!(self.status, SpaceStatus::Apart | SpaceStatus::Outside { .. });
        let done = |mine: &Mine| mine.value.is_none() && (apart || !mine.unsaid);
        if self.mine.values().filter(|mine| done(mine)).count() > PRESENCE_KEYS_MAX {
            self.mine.retain(|_, mine| !done(mine));
        }
    }

    /// Everything that is announced, as it is said on entering.
    pub(super) fn all(&mut self, now: Timestamp, seq: &mut u64) -> Vec<WireSaying> {
        self.forget_lapsed(now);
        self.mine.retain(|_, mine| mine.value.is_some());
        self.mine.values_mut().for_each(|mine| mine.unsaid = true);
        self.unsaid(now, seq)
    }

    /// What is to be said and has not been, which is taken as said.
    pub(super) fn unsaid(&mut self, now: Timestamp, seq: &mut u64) -> Vec<WireSaying> {
        self.forget_lapsed(now);
        let mut sayings = Vec::new();
        let mut unsaid: Vec<_> = self.mine.iter_mut().filter(|(_, mine)| mine.unsaid).collect();
        // What is taken back makes room for the rest. What is too much for once comes next time.
        unsaid.sort_by_key(|(_, mine)| mine.value.is_some());
        for (key, mine) in unsaid.into_iter().take(2 * PRESENCE_KEYS_MAX) {
            *seq += 1;
            let left = mine.until.map(|until| until.since(now).as_millis());
            let ttl_ms = left.map(|left| u32::try_from(left).unwrap_or(u32::MAX));
            let (key, value) = (key.clone(), mine.value.clone());
            sayings.push(WireSaying { key, seq: *seq, value, ttl_ms });
            mine.unsaid = false;
        }
        self.forget_taken_back();
        sayings
    }

    /// What was said did not count: it is to be said again.
    pub(super) fn say_again(&mut self, now: Timestamp, wait: Duration) {
        self.mine.values_mut().for_each(|mine| mine.unsaid = true);
        self.hush(now, wait);
    }

    /// Nothing is said for so long.
    pub(super) fn hush(&mut self, now: Timestamp, wait: Duration) {
        (self.say_from, self.hushed_at) = (now + wait, now);
    }

    /// Whether there is something to say by now.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.say_at().is_some_and(|at| at <= now || now < self.hushed_at)
    }

    /// The values that stand, to show oneself by.
    pub(super) fn said(&self) -> impl Iterator<Item = (&String, &String, Option<Timestamp>)> {
        let values = self.mine.iter();
        values.filter_map(|(key, mine)| Some((key, mine.value.as_ref()?, mine.until)))
    }

    /// When there is something to say, if there is.
    pub(super) fn say_at(&self) -> Option<Timestamp> {
        let inside = self.handle.is_some() && self.visible;
        (inside && self.mine.values().any(|mine| mine.unsaid)).then_some(self.say_from)
    }

    /// When entry may be tried again.
    pub(super) const fn retry_at(&self) -> Option<Timestamp> {
        match &self.status {
            // Who was sent out comes back when the app says so.
            SpaceStatus::Outside {
                code: Code::Kicked | Code::Forbidden | Code::SpaceDeleted,
                ..
            }
            | SpaceStatus::Apart
            | SpaceStatus::Entering
            | SpaceStatus::Inside { .. } => None,
            SpaceStatus::Outside { until, .. } => *until,
        }
    }
}
