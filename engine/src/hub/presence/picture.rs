//! How a space is told: what is new for one who knows it up to a version, or counts and a few where
//! there are too many. Knows no connection and sends nothing.

use bytes::Bytes;

use super::room::{Item, Room};
use crate::clock::Timestamp;
use crate::hub::connection::SessionKey;
use crate::wire::frame::{Crowd, News, Presence, ServerFrame};

/// About how many bytes of news go into one frame; the rest follows in the next.
const PART_BYTES: usize = 64 << 10;
/// About how many bytes the few in a [`Crowd`] take: each member is sent all of them.
const SAMPLE_BYTES: usize = 4 << 10;
/// Entries that are looked at for the few who did something last.
const SAMPLE_LOOKS: usize = 2_048;

/// Where one stands who is told of a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Told {
    /// Up to which version; `None` if a whole picture is to be begun.
    pub(super) version: Option<u64>,
    /// The version at which the picture was begun: of what was over by then nobody was told.
    pub(super) begun: u64,
}

/// Bytes for everyone who stands in one place, and where they stand after it.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// `None` if there is nothing to say.
    pub(super) message: Option<Bytes>,
    pub(super) told: Told,
    /// What the frame says, for counting.
    pub(super) more: bool,
}

/// The next part of what is new for one who stands there.
pub(super) fn part(room: &Room, handle: u32, told: Told, now: Timestamp) -> Part {
    let (from, begun, whole) = match told.version {
        Some(version) if room.reaches(version) => (version, told.begun, false),
        Some(_) | None => (0, room.version(), true),
    };
    let mut news = Vec::new();
    let (mut bytes, mut upto, mut more) = (0, room.version(), false);
    for (version, item) in room.after(from) {
        if bytes >= PART_BYTES {
            more = true;
            break;
        }
        upto = version;
        if item.is_removal() && version <= begun {
            continue;
        }
        if let Some(told) = told_of(room, item) {
            bytes += weight(&told);
            news.push(told);
        }
    }
    if !more {
        upto = room.version();
    }
    let told = Told { version: Some(upto), begun };
    if news.is_empty() && !whole {
        return Part { message: None, told, more };
    }
    let frame = Presence { handle, version: upto, whole, more, now_ms: now.0, news };
    // A part is cut well below a frame.
    Part { message: ServerFrame::from(frame).encode().ok(), told, more }
}

/// How many are in a space, and those who did something last.
pub(super) fn crowd(room: &Room, handle: u32, few: usize, now: Timestamp) -> Option<Bytes> {
    let counts = room.counts();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let frame = Crowd {
        handle,
        version: room.version(),
        now_ms: now.0,
        devices: count(counts.devices),
        users: count(counts.users),
        idle: count(counts.idle),
        typing: count(counts.typing),
        sample: sample(room, few),
    };
    ServerFrame::from(frame).encode().ok()
}

fn sample(room: &Room, few: usize) -> Vec<News> {
    let mut chosen: Vec<SessionKey> = Vec::new();
    for (_, item) in room.after(0).rev().take(SAMPLE_LOOKS) {
        if chosen.len() >= few {
            break;
        }
        let (Item::Came(session) | Item::Said(session, _)) = item else { continue };
        let idle =
            room.device(*session).is_some_and(|d| d.sayings.contains_key(crate::presence::IDLE));
        if !idle && !chosen.contains(session) {
            chosen.push(*session);
        }
    }
    let (mut news, mut bytes) = (Vec::new(), 0);
    for session in chosen {
        let Some(device) = room.device(session) else { continue };
        let said = device.sayings.keys().map(|key| Item::Said(session, key.clone()));
        for item in std::iter::once(Item::Came(session)).chain(said) {
            let Some(told) = told_of(room, &item) else { continue };
            if bytes + weight(&told) > SAMPLE_BYTES {
                return news;
            }
            bytes += weight(&told);
            news.push(told);
        }
    }
    news
}

/// What an entry of the table says as things are now.
fn told_of(room: &Room, item: &Item) -> Option<News> {
    Some(match item {
        Item::Came(session) => {
            let device = room.device(*session)?;
            News::Came {
                device: session.0,
                user: device.user.to_string(),
                role: device.role.to_string(),
                since_ms: device.since.0,
            }
        }
        Item::Left(session) => News::Left { device: session.0 },
        Item::Said(session, key) => {
            let saying = room.device(*session)?.sayings.get(key)?;
            News::Said {
                device: session.0,
                key: key.clone(),
                value: saying.value.clone(),
                at_ms: saying.at.0,
                until_ms: saying.until.map(|until| until.0),
            }
        }
        Item::Unsaid(session, key) => News::Unsaid { device: session.0, key: key.clone() },
        Item::Seen(user) => News::Seen { user: user.to_string(), at_ms: room.seen(user)?.0 },
        Item::Forgotten(user) => News::Forgotten { user: user.to_string() },
    })
}

/// About how many bytes it takes in a frame.
const fn weight(news: &News) -> usize {
    const NUMBERS: usize = 24;
    NUMBERS
        + match news {
            News::Came { user, role, .. } => user.len() + role.len(),
            News::Left { .. } => 0,
            News::Said { key, value, .. } => key.len() + value.len(),
            News::Unsaid { key, .. } => key.len(),
            News::Seen { user, .. } | News::Forgotten { user } => user.len(),
        }
}
