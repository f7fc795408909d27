//! What happens in a space, as server-sent events: its most recently active posts, and then each that is
//! new or has changed, told by the space's feed and as seldom as that. No document is opened for it.
//!
//! A reader resumes by the activity that it was told of last. That says which posts may have changed
//! since, because every change of a summary is one of activity, as long as the same server runs; after
//! another start the posts are told anew.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::Stream;
use serde_json::{Value, json};
use syncline_engine::codes::Code;
use syncline_engine::limits::FEED_POSTS_MAX;
use syncline_engine::summary::Summary;
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{FeedEnded, FollowFeed, PostSummary};
use tokio::sync::OwnedSemaphorePermit;

use super::caller::Caller;
use super::events::{answer, ending};
use super::inner::Inner;
use super::problem::Problem;
use super::{Http, REQUEST_WAIT};
use crate::app::App;
use crate::listener::Peer;

/// How much earlier than the last one told a change may have been accepted that becomes durable after
/// it: where a document has more than fits a record, what follows is committed later.
const SLACK: Duration = Duration::from_secs(60);

/// How far a reader has come: which run of the server it heard, and the last activity of a post that
/// it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    run: u64,
    active: u64,
}

impl Place {
    fn of(text: &str) -> Option<Self> {
        let (run, active) = text.split_once('.')?;
        Some(Self { run: run.parse().ok()?, active: active.parse().ok()? })
    }

    fn text(self) -> String {
        format!("{}.{}", self.run, self.active)
    }
}

/// What a reader is told first.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    /// The posts as they are.
    Anew(&'static str),
    /// Those that may have changed since.
    Since(u64),
}

impl Beginning {
    /// After an event with this id, if the reader names one. `found` is what the feed gave: the most
    /// recently active posts, and whether there may be more.
    fn after(last: Option<&str>, run: u64, found: &[PostSummary]) -> Self {
        let Some(last) = last else { return Self::Anew("state") };
        let Some(place) = Place::of(last).filter(|place| place.run == run) else {
            return Self::Anew("reset");
        };
        let since = place.active.saturating_sub(millis(SLACK));
        let all = found.len() < FEED_POSTS_MAX;
        // What was active since and is not among them would be missed.
        let enough = all || found.last().is_some_and(|oldest| oldest.active_ms < since);
        if enough { Self::Since(since) } else { Self::Anew("reset") }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A stream of events under way.
struct Follower {
    inner: Inner,
    space: String,
    place: Place,
    events: VecDeque<Event>,
    over: bool,
    /// One of the connections that may be open.
    _seat: OwnedSemaphorePermit,
}

/// Follows the posts of a space. A reader that begins is told `limit` of them at most.
pub(super) async fn follow(
    app: &Arc<App>,
    peer: &Peer,
    caller: &Caller,
    space: String,
    limit: usize,
    last: Option<&str>,
) -> Result<Response, Problem> {
    let full = |_| Problem::of(Code::Overloaded, "there is no room for another connection");
    let seat = Arc::clone(&app.seats).try_acquire_owned().map_err(full)?;
    let newest = if last.is_some() { FEED_POSTS_MAX } else { limit };
    let beginning = async {
        let mut inner = Inner::greet(app, peer, caller).await?;
        let posts = begin(&mut inner, &space, newest).await?;
        Ok((inner, posts))
    };
    let (inner, mut posts) =
        tokio::time::timeout(REQUEST_WAIT, beginning).await.unwrap_or_else(|_| {
            let why = format!("there was no answer within {} s", REQUEST_WAIT.as_secs());
            let late = Problem::http(StatusCode::SERVICE_UNAVAILABLE, "timeout", why);
            Err(late.later(Some(1_000)))
        })?;
    let Http { run, .. } = app.http;
    let (place, events) = (Place { run, active: 0 }, VecDeque::new());
    let mut follower = Follower { inner, space, place, events, over: false, _seat: seat };
    match Beginning::after(last, run, &posts) {
        Beginning::Anew(kind) => {
            // The most active of all is the first.
            posts.truncate(limit);
            follower.tell(kind, posts);
        }
        Beginning::Since(since) => {
            posts.retain(|post| post.active_ms >= since);
            follower.place.active = last.and_then(Place::of).map_or(0, |place| place.active);
            if !posts.is_empty() {
                follower.tell("change", posts);
            }
        }
    }
    Ok(answer(stream(follower)))
}

/// Asks for the feed and waits for what it begins with.
async fn begin(inner: &mut Inner, space: &str, newest: usize) -> Result<Vec<PostSummary>, Problem> {
    let newest = u16::try_from(newest).unwrap_or(u16::MAX);
    inner.say(FollowFeed { space: space.to_owned(), newest }).await?;
    loop {
        match inner.hear().await? {
            ServerFrame::Feed(feed) => return Ok(feed.posts),
            ServerFrame::FeedEnded(ended) => return Err(problem_of(ended)),
            _ => {}
        }
    }
}

fn problem_of(ended: FeedEnded) -> Problem {
    Problem::numbered(ended.code, ended.message).later(ended.retry_after_ms)
}

fn stream(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold(follower, async |mut follower| {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    })
}

impl Follower {
    fn tell(&mut self, kind: &str, posts: Vec<PostSummary>) {
        let active = posts.iter().map(|post| post.active_ms).max().unwrap_or(0);
        self.place.active = self.place.active.max(active);
        let posts: Vec<Value> =
            posts.into_iter().filter_map(Summary::of_wire).map(|post| post.to_json()).collect();
        let body = json!({ "space": self.space, "posts": posts });
        let event = Event::default().event(kind).id(self.place.text());
        self.events.push_back(event.data(body.to_string()));
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let problem = match self.inner.hear().await {
                // The hub begins anew with one whom it could not tell what changed.
                Ok(ServerFrame::Feed(feed)) => {
                    self.tell("reset", feed.posts);
                    continue;
                }
                Ok(ServerFrame::FeedChanged(changed)) => {
                    self.tell("change", changed.posts);
                    continue;
                }
                Ok(ServerFrame::FeedEnded(ended)) => problem_of(ended),
                Ok(_) => continue,
                Err(problem) => problem,
            };
            self.over = true;
            self.events.push_back(ending(&problem));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posts(active: impl IntoIterator<Item = u64>) -> Vec<PostSummary> {
        let post = |active_ms| PostSummary {
            id: format!("post{active_ms}"),
            active_ms,
            author: "ada".to_owned(),
            created_ms: 1,
            status: 0,
            title: String::new(),
            likes: 0,
            reactions: vec![],
            comments: 0,
            deleted: 0,
        };
        active.into_iter().map(post).collect()
    }

    #[test]
    fn a_reader_goes_on_only_in_the_run_that_it_heard() {
        let found = posts([90_000, 2_000]);
        let after = |last| Beginning::after(last, 7, &found);
        assert_eq!(after(None), Beginning::Anew("state"));
        assert_eq!(after(Some("7.90000")), Beginning::Since(30_000));
        assert_eq!(after(Some("7.0")), Beginning::Since(0));
        for nowhere in ["6.90000", "8.90000", "", "7", "7.", "7.x", "7.1.1", "-7.1"] {
            assert_eq!(after(Some(nowhere)), Beginning::Anew("reset"), "{nowhere}");
        }
    }

    #[test]
    fn who_missed_more_than_a_feed_holds_begins_anew() {
        let most = FEED_POSTS_MAX as u64;
        let found = posts((0..most).rev().map(|second| 1_000_000 + second * 1_000));
        let after = |active| Beginning::after(Some(&format!("7.{active}")), 7, &found);
        // The oldest that it gave is of a time after the slack: others may have changed before it.
        assert_eq!(after(1_060_000), Beginning::Anew("reset"));
        assert_eq!(after(1_060_001), Beginning::Since(1_000_001));
        let fewer = &found[1..];
        assert_eq!(Beginning::after(Some("7.0"), 7, fewer), Beginning::Since(0));
    }
}
