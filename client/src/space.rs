//! Handles of spaces that the app is in: who else is there, what they announce, what this user does.
//! Must never know how it is sent or when.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::TextPlace;
use syncline_engine::ids::{Address, UserId};
use syncline_engine::presence::{CURSOR, FIELDS, STATUS, SayingError, Selection, TYPING};
use syncline_engine::presence::{check_key, check_value, typing_in};
use syncline_engine::session::{Counts, Member, SpaceAct, SpaceNews, SpaceStatus};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use crate::document::Document;
use crate::driver::Driver;
use crate::status::{ClientClosed, Problem};

/// How long somebody is shown as typing after the last key.
const TYPING_FOR: Duration = Duration::from_secs(6);

/// A space that the app is in: others see this user there, and it sees them, while any handle of it
/// exists. Cheap to clone.
///
/// Nothing of it is stored: without contact to the server nobody is there, and what is known of others
/// is from before. What this client announces is announced again when the contact is back.
#[derive(Clone)]
pub struct Space {
    shared: Arc<Shared>,
}

/// What the handles of one space share.
pub(crate) struct Shared {
    driver: Arc<Driver>,
    name: String,
    opening: u64,
    status: watch::Receiver<SpaceStatus>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.driver.leave_space(&self.name, self.opening);
    }
}

/// What the handles of one space are told by.
pub(crate) struct Channels {
    pub(crate) opening: u64,
    pub(crate) handles: std::sync::Weak<Shared>,
    pub(crate) status: watch::Sender<SpaceStatus>,
    pub(crate) news: broadcast::Sender<SpaceNews>,
}

/// What a text's selection is to others can't be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The document has no such text.
    #[error("the document has no such text")]
    NoText,
    /// It can't be announced.
    #[error(transparent)]
    Saying(#[from] SayingError),
}

/// A user was not sent out of a space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KickError {
    /// The server refused, or there is no contact with it.
    #[error("the user was not sent out: {0}")]
    Refused(Code),
    /// The client is closed.
    #[error(transparent)]
    Closed(#[from] ClientClosed),
}

impl Space {
    pub(crate) fn enter(
        driver: &Arc<Driver>,
        name: &str,
        visible: bool,
    ) -> Result<Self, ClientClosed> {
        let shared = driver.enter_space(name, visible, |opening, status| {
            let (driver, name) = (Arc::clone(driver), name.to_owned());
            Arc::new(Shared { driver, name, opening, status })
        })?;
        Ok(Self { shared })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Where the stay in it is, and each change of that.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<SpaceStatus> {
        self.shared.status.clone()
    }

    /// Waits until the app is in the space, which needs the client to be online.
    ///
    /// # Errors
    /// The [`Problem`] for which it is not let in.
    pub async fn entered(&self) -> Result<(), Problem> {
        let mut status = self.shared.status.clone();
        let there = |status: &SpaceStatus| {
            matches!(status, SpaceStatus::Inside { .. } | SpaceStatus::Outside { .. })
        };
        let status = status.wait_for(there).await.map_err(|_| Problem::closed(None))?;
        if let SpaceStatus::Outside { code, message, .. } = &*status {
            return Err(Problem { address: None, code: *code, message: message.clone() });
        }
        Ok(())
    }

    /// Tries again to get in, after a moderator sent the user out or the rules did.
    pub fn enter_again(&self) {
        self.act(SpaceAct::Enter { visible: false });
    }

    /// Who is there, in the order of their names, each once with all devices. If there are
    /// [too many](Self::crowd) these are the user and those who did something last.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let of = |driver: &Driver| driver.with_session(|session| session.members(self.name()));
        of(&self.shared.driver).unwrap_or_default()
    }

    /// How many are there, where that is so many that not everybody is named.
    #[must_use]
    pub fn crowd(&self) -> Option<Counts> {
        self.shared.driver.with_session(|session| session.space_crowd(self.name())).flatten()
    }

    /// When users who are not there were seen last, as far as the server knows.
    #[must_use]
    pub fn last_seen(&self) -> BTreeMap<UserId, Timestamp> {
        let seen = self.shared.driver.with_session(|session| session.last_seen(self.name()));
        seen.unwrap_or_default()
    }

    /// What happens in it from here on.
    #[must_use]
    pub fn events(&self) -> SpaceEvents {
        SpaceEvents { news: self.shared.driver.space_news(self.name()) }
    }

    fn act(&self, act: SpaceAct) {
        self.shared.driver.act(self.name(), act);
    }

    /// Announces something to all who are there, under a key of the app's own: any text, JSON by
    /// convention. It stands until it is taken back (`None`), or lapses. Of what is announced in quick
    /// succession only the last is sent.
    ///
    /// # Errors
    /// [`SayingError`] if the key or the value is not acceptable.
    pub fn announce(
        &self,
        key: &str,
        value: Option<&str>,
        ttl: Option<Duration>,
    ) -> Result<(), SayingError> {
        check_key(key)?;
        check_value(value.unwrap_or_default())?;
        let (key, value) = (key.to_owned(), value.map(str::to_owned));
        self.act(SpaceAct::Announce { key, value, ttl });
        Ok(())
    }

    /// Announces what the user wants others to know, such as `"in a call"`.
    ///
    /// # Errors
    /// [`SayingError`] if it is too long.
    pub fn set_status(&self, status: Option<&str>) -> Result<(), SayingError> {
        let status = status.map(|status| serde_json::Value::from(status).to_string());
        self.announce(STATUS, status.as_deref(), None)
    }

    /// Announces fields of the app's own: a name to show, a colour, an avatar.
    ///
    /// # Errors
    /// [`SayingError`] if they are too long.
    pub fn set_fields(&self, fields: &serde_json::Value) -> Result<(), SayingError> {
        self.announce(FIELDS, Some(&fields.to_string()), None)
    }

    /// Says that the user types in a document; to be called with each key press. It ends by itself
    /// some seconds after the last, or with `false`.
    ///
    /// # Errors
    /// [`SayingError`] if the address is too long, which none is.
    pub fn set_typing(&self, document: &Address, typing: bool) -> Result<(), SayingError> {
        let value = typing.then(|| typing_in(document));
        self.announce(TYPING, value.as_deref(), Some(TYPING_FOR))
    }

    /// Who types in a document, on other devices than this.
    #[must_use]
    pub fn typing(&self, document: &Address) -> Vec<UserId> {
        self.shared.driver.with_session(|session| session.typing(document)).unwrap_or_default()
    }

    /// Shows others where the user is in a text: from `anchor` to the caret at `head`, which are one
    /// where nothing is selected. It stays in its place while others write; to be said again when the
    /// user moves or has written.
    ///
    /// # Errors
    /// [`SelectError::NoText`] if the document has no such text.
    pub fn select(
        &self,
        document: &Document,
        text: impl Into<TextPlace>,
        anchor: usize,
        head: usize,
    ) -> Result<(), SelectError> {
        let text = text.into();
        let caret = |index| document.caret(&text, index).ok_or(SelectError::NoText);
        let selection = Selection {
            document: document.address().to_string(),
            anchor: caret(anchor)?,
            head: caret(head)?,
            text: text.to_string(),
        };
        Ok(self.announce(CURSOR, Some(&selection.to_value()), None)?)
    }

    /// Shows no selection any more.
    pub fn deselect(&self) {
        self.act(SpaceAct::Announce { key: CURSOR.to_owned(), value: None, ttl: None });
    }

    /// Where others are in a text at this moment. Those whose places this client can't know yet are
    /// left out.
    #[must_use]
    pub fn selections(&self, document: &Document, text: impl Into<TextPlace>) -> Vec<Selected> {
        let (text, address) = (text.into(), document.address());
        let name = text.to_string();
        let selections = self.shared.driver.with_session(|session| {
            let replica = session.replica(address);
            let all = session.selections(address).into_iter();
            all.filter(|(_, _, selection)| selection.text == name)
                .filter_map(|(device, user, selection)| {
                    let anchor = replica?.caret_index(&text, &selection.anchor)?;
                    let head = replica?.caret_index(&text, &selection.head)?;
                    Some(Selected { device, user, anchor, head })
                })
                .collect()
        });
        selections.unwrap_or_default()
    }

    /// Sends a user out, with all devices, and keeps the user out for so long (a day at most). For
    /// those who may moderate. To keep somebody out for good, ban the user in the rules of the space.
    /// Answers how many of the user's devices were there.
    ///
    /// # Errors
    /// [`KickError`] if this user may not, or there is no contact with the server.
    pub async fn kick(&self, user: &UserId, wait: Duration) -> Result<usize, KickError> {
        let mut news = self.events();
        self.act(SpaceAct::Kick { user: user.clone(), wait });
        loop {
            match news.next().await {
                Some(SpaceNews::Kicked { user: whom, devices, refused })
                    if whom == user.as_str() =>
                {
                    return refused.map_or(Ok(devices), |code| Err(KickError::Refused(code)));
                }
                // The question went down with the connection, or with the stay.
                Some(SpaceNews::Status(SpaceStatus::Apart | SpaceStatus::Outside { .. })) => {
                    return Err(KickError::Refused(Code::ShuttingDown));
                }
                Some(_) => {}
                None => return Err(ClientClosed.into()),
            }
        }
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space")
            .field("name", &self.shared.name)
            .field("status", &*self.shared.status.borrow())
            .finish_non_exhaustive()
    }
}

/// Where somebody is in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// On which device.
    pub device: u64,
    /// Who.
    pub user: UserId,
    /// Where the selection was begun.
    pub anchor: usize,
    /// Where the caret is.
    pub head: usize,
}

/// What happens in a space. Ends when the app leaves it or the client is closed.
pub struct SpaceEvents {
    news: Option<broadcast::Receiver<SpaceNews>>,
}

impl SpaceEvents {
    /// The next thing that happens; `None` at the end. A reader that is too slow misses some: what
    /// [`Space::members`] says is always true.
    pub async fn next(&mut self) -> Option<SpaceNews> {
        match self.news.as_mut()?.recv().await {
            Ok(news) => Some(news),
            // So that whoever reads looks again.
            Err(RecvError::Lagged(_)) => Some(SpaceNews::Changed(Vec::new())),
            Err(RecvError::Closed) => None,
        }
    }
}

impl fmt::Debug for SpaceEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpaceEvents").finish_non_exhaustive()
    }
}
