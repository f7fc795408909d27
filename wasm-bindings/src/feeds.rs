//! Feeds: the posts of a space. Must never know JavaScript.

use serde_json::{Value, json};
use syncline_engine::session::{FeedStatus, Input};
use syncline_engine::summary::Summary;

use crate::fault::Fault;
use crate::presence::check_space;
use crate::session::Driven;

impl Driven {
    /// Follows the posts of a space, or more or fewer of them.
    ///
    /// # Errors
    /// If the space's name is none.
    pub fn follow_feed(&mut self, now: f64, space: &str, newest: u64) -> Result<(), Fault> {
        check_space(space)?;
        let newest = usize::try_from(newest).unwrap_or(usize::MAX);
        self.input(now, Input::FollowFeed { space: space.to_owned(), newest });
        Ok(())
    }

    /// What a feed shows; `None` if the app does not follow it.
    #[must_use]
    pub fn feed(&self, space: &str) -> Option<Value> {
        let feed = self.session.feed(space)?;
        let mut view = match feed.status() {
            FeedStatus::Live => json!({ "phase": "live" }),
            FeedStatus::Ended { code, message } => {
                json!({ "phase": "ended", "code": code.slug(), "message": message })
            }
            FeedStatus::Waiting | _ => json!({ "phase": "waiting" }),
        };
        view["posts"] = feed.posts().map(Summary::to_json).collect();
        Some(view)
    }
}
