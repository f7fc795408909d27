//! What a store that keeps summaries of posts must do with them.

use super::{KEY, LogWriter, append, made_up_rollover, made_up_snapshot};
use crate::clock::Timestamp;
use crate::document::PostStatus;
use crate::ids::{Address, Epoch, Facet, UserId};
use crate::storage::{Append, LogStore, PostsWanted, StoreError};
use crate::summary::{Brought, CommentsPart, LikesPart, Part, Place, PostPart, Summary};

const SPACE: &str = "summaries";

fn address(id: &str, facet: Facet) -> Address {
    Address::new(SPACE, id, facet).expect("a fixed name")
}

fn post(title: &str, at: u64) -> Brought {
    let part = PostPart {
        author: UserId::new("ada").expect("a fixed name"),
        created: Timestamp(at),
        status: PostStatus::Published,
        title: title.to_owned(),
    };
    Brought { at: Timestamp(at * 1_000), part: Part::Post(part) }
}

fn likes(count: u64, at: u64) -> Brought {
    let part = LikesPart { likes: count, reactions: vec![("like".to_owned(), count)] };
    Brought { at: Timestamp(at * 1_000), part: Part::Likes(part) }
}

fn comments(count: u64, at: u64) -> Brought {
    let part = CommentsPart { comments: count, deleted: 1 };
    Brought { at: Timestamp(at * 1_000), part: Part::Comments(part) }
}

/// The next append to the log of a document, with what it brings.
fn bringing(writer: &mut LogWriter, brought: Brought) -> Append {
    Append { brought: Some(brought), ..writer.next(&[10]) }
}

fn writer(id: &str, facet: Facet) -> LogWriter {
    LogWriter::new(address(id, facet), Epoch([1; 16]), KEY)
}

fn listed(store: &dyn LogStore, after: Option<Place>, limit: usize) -> Vec<String> {
    let found = store.posts(SPACE, &PostsWanted::After(after, limit)).expect("a list");
    found.into_iter().map(|summary| summary.id).collect()
}

fn named(store: &dyn LogStore, id: &str) -> Option<Summary> {
    let wanted = PostsWanted::Ids(vec![id.to_owned()]);
    let mut found = store.posts(SPACE, &wanted).expect("a read");
    assert!(found.len() <= 1);
    found.pop()
}

fn title(store: &dyn LogStore, id: &str) -> Option<String> {
    named(store, id).and_then(|summary| summary.post).map(|post| post.title)
}

pub(super) fn summaries_are_kept_by_post_and_listed_by_activity(
    open: &mut dyn FnMut() -> Box<dyn LogStore>,
) {
    let (mut a, mut b) = (writer("a", Facet::Post), writer("b", Facet::Post));
    let (mut of_a, mut of_b) = (writer("a", Facet::Likes), writer("b", Facet::Comments));
    assert_eq!(listed(&*open(), None, 10), [""; 0]);
    append(&*open(), &[bringing(&mut of_a, likes(1, 5))]);
    assert_eq!(listed(&*open(), None, 10), [""; 0], "not before the post is created");
    // One batch may change a post several times, and several posts.
    let batch = [
        bringing(&mut a, post("A", 3)),
        bringing(&mut b, post("B", 9)),
        bringing(&mut of_b, comments(4, 2)),
        bringing(&mut of_a, likes(2, 7)),
    ];
    append(&*open(), &batch);
    assert_eq!(listed(&*open(), None, 10), ["b", "a"]);
    let summary = named(&*open(), "a").expect("it is there");
    assert_eq!(summary.active, Timestamp(7_000));
    assert_eq!((summary.likes.map(|l| l.likes), summary.comments), (Some(2), None));
    // What brings nothing changes nothing.
    append(&*open(), &[a.next(&[10])]);
    append(&*open(), &[bringing(&mut of_a, likes(3, 20))]);
    let store = open();
    assert_eq!(listed(&*store, None, 10), ["a", "b"]);
    assert_eq!(listed(&*store, None, 1), ["a"]);
    let after = named(&*store, "a").and_then(|summary| summary.place());
    assert_eq!(listed(&*store, after, 10), ["b"]);
    assert_eq!(named(&*store, "c"), None);
    let elsewhere = store.posts("summaries.x", &PostsWanted::After(None, 10)).expect("a list");
    assert_eq!(elsewhere, []);
}

pub(super) fn a_conflict_leaves_summaries_as_they_were(
    open: &mut dyn FnMut() -> Box<dyn LogStore>,
) {
    let mut writer = writer("refused", Facet::Post);
    append(&*open(), &[bringing(&mut writer, post("First", 1))]);
    let skipped = writer.next(&[10]);
    let refused = open().append(&[bringing(&mut writer, post("Second", 2))]);
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    assert_eq!(title(&*open(), "refused").as_deref(), Some("First"));
    append(&*open(), &[Append { brought: Some(post("Third", 3)), ..skipped }]);
    assert_eq!(title(&*open(), "refused").as_deref(), Some("Third"));
}

pub(super) fn snapshots_and_the_ends_of_epochs_leave_summaries(
    open: &mut dyn FnMut() -> Box<dyn LogStore>,
) {
    let (mut writer, at) = (writer("lasting", Facet::Post), address("lasting", Facet::Post));
    append(&*open(), &[bringing(&mut writer, post("Lasting", 4))]);
    let before = named(&*open(), "lasting");
    open().put_snapshot(&at, &made_up_snapshot(writer.end(), 500), u64::MAX).expect("a snapshot");
    let rollover = made_up_rollover(writer.end(), 9, 1);
    open().roll_over(&at, &rollover, Timestamp(0)).expect("an epoch's end");
    assert_eq!(named(&*open(), "lasting"), before);
    let mut writer = LogWriter::resume(at, rollover.start.cursor, KEY);
    append(&*open(), &[bringing(&mut writer, post("And on", 6))]);
    assert_eq!(title(&*open(), "lasting").as_deref(), Some("And on"));
}

pub(super) fn older_documents_are_summarised_unless_something_newer_is_there(
    open: &mut dyn FnMut() -> Box<dyn LogStore>,
) {
    assert!(!open().is_summarised(SPACE).expect("a read"));
    open().put_summary(&address("old", Facet::Post), &post("Old", 1)).expect("a summary");
    open().put_summary(&address("old", Facet::Likes), &likes(5, 2)).expect("a summary");
    open().put_summary(&address("old", Facet::Likes), &likes(1, 9)).expect("it does nothing");
    open().put_summary(&address("old", Facet::Json), &likes(1, 9)).expect("it does nothing");
    let summary = named(&*open(), "old").expect("it is there");
    assert_eq!(summary.active, Timestamp(2_000));
    assert_eq!(summary.likes.map(|likes| likes.likes), Some(5));
    assert!(listed(&*open(), None, 100).contains(&"old".to_owned()));
    open().set_summarised(SPACE).expect("a note");
    assert!(open().is_summarised(SPACE).expect("a read"));
    assert!(!open().is_summarised("summaries.x").expect("a read"));
}

pub(super) fn long_lists_are_read_in_pages(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    let space = "many";
    {
        let store = open();
        for n in 0..300_u64 {
            let address = Address::new(space, &format!("p{n}"), Facet::Post).expect("a name");
            store.put_summary(&address, &post("One of many", n / 4)).expect("a summary");
        }
    }
    let store = open();
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let page = store.posts(space, &PostsWanted::After(after.clone(), 70)).expect("a page");
        let Some(last) = page.last() else { break };
        after = last.place();
        all.extend(page.iter().filter_map(Summary::place));
    }
    assert_eq!(all.len(), 300);
    assert!(all.is_sorted_by(|a, b| a < b), "in order and without doubles");
    let whole = store.posts(space, &PostsWanted::After(None, 1_000)).expect("a page");
    assert!(whole.iter().filter_map(Summary::place).eq(all));
}
