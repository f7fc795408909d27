//! What a device's app is in the middle of beside its documents, and comes back to after a restart:
//! the spaces that it is in, the streams that it writes and reads, the feeds that it follows.

use std::collections::{BTreeMap, BTreeSet};

use syncline_engine::ids::StreamAddress;
use syncline_engine::session::{InterruptId, SpaceNews};

use crate::rooms::Stay;
use crate::streaming::{Reading, Writing};

#[derive(Debug, Default)]
pub(crate) struct App {
    pub(crate) stays: BTreeMap<String, Stay>,
    pub(crate) writings: BTreeMap<StreamAddress, Writing>,
    /// By numbers of the app's own, counted up.
    pub(crate) readings: BTreeMap<u64, Reading>,
    pub(crate) last_reading: u64,
    pub(crate) interrupts: BTreeMap<InterruptId, StreamAddress>,
    /// How many posts of each space are followed.
    pub(crate) feeds: BTreeMap<String, usize>,
    /// Heard and not looked at.
    pub(crate) space_news: Vec<(String, SpaceNews)>,
    pub(crate) stream_news: BTreeSet<StreamAddress>,
    pub(crate) feed_news: u64,
}

impl App {
    /// Whether something was heard that was not looked at.
    pub(crate) fn has_news(&self) -> bool {
        !self.space_news.is_empty() || !self.stream_news.is_empty() || self.feed_news > 0
    }

    /// The process is gone: what only the session knew is void.
    pub(crate) fn ended(&mut self) {
        self.space_news.clear();
        self.stream_news.clear();
        self.feed_news = 0;
        self.interrupts.clear();
    }
}
