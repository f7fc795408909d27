//! Feeds: the most recently active posts of a space with live counts, without opening any of them. Must
//! never know how they travel.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use syncline_engine::ids::{Address, Facet};
use syncline_engine::session::{FeedStatus, FeedView, Input};
use tokio::sync::watch;

use crate::document::DocumentError;
use crate::driver::Driver;
use crate::status::{ClientClosed, Problem};

/// The posts of a space by activity, kept up to date while any handle of the feed exists. Cheap to
/// clone.
///
/// What it shows stays while there is no connection, and is brought up to date with the next. A handle
/// does not keep its [`Client`](crate::Client) open.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

/// What the handles of one feed share.
struct Shared {
    driver: Arc<Driver>,
    space: String,
    opening: u64,
    view: watch::Receiver<Arc<FeedView>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.driver.feeds().close(&self.space, self.opening) {
            self.driver.input(Input::LeaveFeed { space: self.space.clone() });
        }
    }
}

impl Feed {
    /// Follows a space, or joins those who do.
    pub(crate) fn open(
        driver: &Arc<Driver>,
        space: &str,
        newest: usize,
    ) -> Result<Self, DocumentError> {
        // A space is named as in the addresses of its documents.
        Address::new(space, "posts", Facet::Post)?;
        let (shared, newest) = driver.feeds().open(driver, space, newest)?;
        driver.input(Input::FollowFeed { space: space.to_owned(), newest });
        Ok(Self { shared })
    }

    /// Which space it is of.
    #[must_use]
    pub fn space(&self) -> &str {
        &self.shared.space
    }

    /// What it shows at the moment.
    #[must_use]
    pub fn view(&self) -> Arc<FeedView> {
        self.shared.view.borrow().clone()
    }

    /// What it shows, and each change of it. Whoever is slow sees the latest and not what was between.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<FeedView>> {
        self.shared.view.clone()
    }

    /// Waits until it shows what the server has, and gives that. Offline, that is as long as the client
    /// stays offline.
    ///
    /// # Errors
    /// The [`Problem`] that is in the way: the user may not read there, or the client is closed.
    pub async fn live(&self) -> Result<Arc<FeedView>, Problem> {
        let mut view = self.shared.view.clone();
        let settled = view.wait_for(|view| *view.status() != FeedStatus::Waiting).await;
        let view = settled.map_err(|_| Problem::closed(None))?.clone();
        if let FeedStatus::Ended { code, message } = view.status() {
            return Err(Problem { address: None, code: *code, message: message.clone() });
        }
        Ok(view)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("space", &self.shared.space).finish_non_exhaustive()
    }
}

/// One feed that is followed.
struct Channel {
    opening: u64,
    newest: usize,
    shared: Weak<Shared>,
    view: watch::Sender<Arc<FeedView>>,
}

/// All feeds that a client follows.
#[derive(Default)]
pub(crate) struct Feeds {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_space: BTreeMap<String, Channel>,
    last: u64,
    closed: bool,
}

impl Feeds {
    fn open_ones(&self) -> MutexGuard<'_, Open> {
        // Nothing in here can panic halfway through a change.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shared part of a feed, and how many posts it is to show: as many as anybody wants.
    fn open(
        &self,
        driver: &Arc<Driver>,
        space: &str,
        newest: usize,
    ) -> Result<(Arc<Shared>, usize), ClientClosed> {
        let mut open = self.open_ones();
        if open.closed {
            return Err(ClientClosed);
        }
        if let Some(channel) = open.by_space.get_mut(space)
            && let Some(shared) = channel.shared.upgrade()
        {
            channel.newest = channel.newest.max(newest);
            return Ok((shared, channel.newest));
        }
        open.last += 1;
        let (opening, view) = (open.last, watch::Sender::default());
        let shared = Arc::new(Shared {
            driver: Arc::clone(driver),
            space: space.to_owned(),
            opening,
            view: view.subscribe(),
        });
        let channel = Channel { opening, newest, shared: Arc::downgrade(&shared), view };
        open.by_space.insert(space.to_owned(), channel);
        Ok((shared, newest))
    }

    /// The last handle of an opening is gone. Answers whether the feed is to be left: somebody may have
    /// opened it anew since.
    fn close(&self, space: &str, opening: u64) -> bool {
        let mut open = self.open_ones();
        let is_last = open.by_space.get(space).is_some_and(|channel| channel.opening == opening);
        if is_last {
            open.by_space.remove(space);
        }
        is_last
    }

    /// A feed shows something else.
    pub(crate) fn tell(&self, space: &str, view: Option<&FeedView>) {
        let open = self.open_ones();
        if let (Some(channel), Some(view)) = (open.by_space.get(space), view) {
            channel.view.send_replace(Arc::new(view.clone()));
        }
    }

    /// The client is closed.
    pub(crate) fn end(&self) {
        let mut open = self.open_ones();
        open.by_space.clear();
        open.closed = true;
    }
}
