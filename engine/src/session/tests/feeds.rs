//! Feeds against a server that a test plays by hand: they survive the connection, show no more than the
//! app wants, and are asked for again when the server says so.

use super::*;
use crate::wire::frame::{Feed, FeedChanged, FeedEnded, FollowFeed, LeaveFeed, PostSummary};

const SPACE: &str = "town";

fn post(id: &str, at: u64, likes: u64) -> PostSummary {
    PostSummary {
        id: id.to_owned(),
        active_ms: at * 1_000,
        author: "ada".to_owned(),
        created_ms: 1,
        status: 0,
        title: id.to_owned(),
        likes,
        reactions: vec![],
        comments: 0,
        deleted: 0,
    }
}

fn feed(posts: Vec<PostSummary>) -> Feed {
    Feed { space: SPACE.to_owned(), posts }
}

fn changed(posts: Vec<PostSummary>) -> FeedChanged {
    FeedChanged { space: SPACE.to_owned(), posts }
}

fn ended(code: Code, retry_after_ms: Option<u32>) -> FeedEnded {
    let (code, message) = (code.number(), "no".to_owned());
    FeedEnded { space: SPACE.to_owned(), code, message, retry_after_ms }
}

/// In contact, and following with room for so many posts.
fn following(newest: usize) -> Bench {
    let mut bench = Bench::live(false);
    bench.tell(Input::FollowFeed { space: SPACE.to_owned(), newest });
    let newest = u16::try_from(newest).unwrap();
    assert_eq!(bench.sent.drain(..).collect::<Vec<_>>(), [asked(newest)]);
    bench
}

fn asked(newest: u16) -> ClientFrame {
    FollowFeed { space: SPACE.to_owned(), newest }.into()
}

fn shown(bench: &Bench) -> Vec<(&str, u64)> {
    let view = bench.session.feed(SPACE).expect("it is followed");
    let likes = |post: &crate::summary::Summary| post.likes.as_ref().map_or(0, |l| l.likes);
    view.posts().map(|post| (post.id.as_str(), likes(post))).collect()
}

/// The notices about the feed since the last look: which posts changed, sorted.
fn told(bench: &mut Bench) -> Vec<Vec<String>> {
    let notices = std::mem::take(&mut bench.notices).into_iter();
    notices
        .filter_map(|notice| {
            let Notice::Feed { mut changed, .. } = notice else { return None };
            changed.sort();
            Some(changed)
        })
        .collect()
}

fn status(bench: &Bench) -> FeedStatus {
    bench.session.feed(SPACE).expect("it is followed").status().clone()
}

#[test]
fn fd2_what_is_told_takes_the_place_of_what_was_and_the_rest_is_forgotten() {
    let mut bench = following(2);
    assert_eq!(status(&bench), FeedStatus::Waiting);
    bench.server_says(feed(vec![post("b", 2, 0), post("a", 1, 0)]));
    assert_eq!((shown(&bench), status(&bench)), (vec![("b", 0), ("a", 0)], FeedStatus::Live));
    assert_eq!(told(&mut bench), [["a", "b"]]);
    bench.server_says(changed(vec![post("c", 3, 1), post("b", 4, 5)]));
    assert_eq!(shown(&bench), [("b", 5), ("c", 1)]);
    assert_eq!(told(&mut bench), [["b", "c"]]);
    bench.server_says(changed(vec![post("b", 4, 5)]));
    assert!(told(&mut bench).is_empty(), "the same again is no news");
    let nonsense = PostSummary { id: "../x".to_owned(), ..post("x", 9, 1) };
    bench.server_says(changed(vec![nonsense, PostSummary { status: 9, ..post("y", 9, 1) }]));
    assert_eq!(shown(&bench), [("b", 5), ("c", 1)]);
}

#[test]
fn fd1_a_feed_survives_its_connection_and_begins_anew_with_the_next() {
    let mut bench = following(10);
    bench.server_says(feed(vec![post("b", 2, 0), post("a", 1, 0)]));
    told(&mut bench);
    bench.lose_connection();
    assert_eq!((shown(&bench).len(), status(&bench)), (2, FeedStatus::Waiting));
    bench.wake();
    bench.tell(Input::Connected { connection: bench.connection });
    bench.server_says(welcome());
    assert!(bench.sent.drain(..).any(|frame| frame == asked(10)));
    bench.server_says(changed(vec![post("z", 9, 0)]));
    assert_eq!(shown(&bench).len(), 2, "what comes before the answer is to an older question");
    told(&mut bench);
    bench.server_says(feed(vec![post("c", 3, 0), post("b", 2, 0)]));
    assert_eq!(shown(&bench), [("c", 0), ("b", 0)]);
    assert_eq!(told(&mut bench), [["a", "c"]], "what came and what went");
}

#[test]
fn fd5_what_may_not_be_read_is_not_shown_and_what_is_left_is_said() {
    let mut bench = following(10);
    bench.server_says(feed(vec![post("a", 1, 0)]));
    bench.server_says(ended(Code::Forbidden, None));
    assert!(shown(&bench).is_empty());
    assert!(matches!(status(&bench), FeedStatus::Ended { code: Code::Forbidden, .. }));
    bench.tell(Input::LeaveFeed { space: SPACE.to_owned() });
    let left: ClientFrame = LeaveFeed { space: SPACE.to_owned() }.into();
    assert_eq!(bench.sent.pop_front(), Some(left));
    assert!(bench.session.feed(SPACE).is_none());
    bench.server_says(feed(vec![post("a", 1, 0)]));
    assert!(bench.session.feed(SPACE).is_none(), "what still arrives is ignored");
}

#[test]
fn fd1_a_feed_that_can_be_served_later_is_asked_for_later() {
    let mut bench = following(10);
    bench.server_says(ended(Code::FeedUnavailable, Some(2_000)));
    let asked_at = bench.now + Duration::from_secs(2);
    while bench.now < asked_at {
        assert!(!bench.sent.contains(&asked(10)), "not before");
        bench.wake();
    }
    assert!(bench.sent.contains(&asked(10)));
    bench.server_says(feed(vec![post("a", 1, 0)]));
    assert_eq!(status(&bench), FeedStatus::Live);
}
