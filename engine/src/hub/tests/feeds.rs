//! Feeds: what is told is what the documents show, when it is durable and not more often than it may
//! be; who does not read waits without a queue; who may not read is told nothing.
#![expect(
    clippy::disallowed_types,
    reason = "a store may be read from several threads, so one that stands for it needs a lock"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use automerge::{Automerge, TextEncoding};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::document::{
    Command, CommentsCommand, LikesCommand, PostCommand, PostStatus, Target, TextField, View,
};
use crate::hub::{AuthenticateError, Authenticator, Credentials};
use crate::ids::{Facet, Ulid, UserId};
use crate::limits::{FEED_POSTS_MAX, LISTINGS_MAX};
use crate::policy::Role;
use crate::storage::{Deletion, LogStore};
use crate::summary::{Brought, Part, Place, PostPart};
use crate::wire::frame::{
    FollowFeed, LeaveFeed, ListPosts, PostSummary, Posts as PostsFrame, WirePlace,
};

mod lists;
mod older;
mod random;

/// What a world has stored, as a store that summarises older documents. Nothing is appended to it.
pub(super) struct Stored {
    logs: BTreeMap<Address, Log>,
    posts: Mutex<Posts>,
}

impl Stored {
    pub(super) fn of(world: &mut World) -> Self {
        let posts = std::mem::take(&mut world.posts);
        Self { logs: world.logs.clone(), posts: Mutex::new(posts) }
    }

    pub(super) fn into_posts(self) -> Posts {
        self.posts.into_inner().unwrap()
    }
}

impl LogStore for Stored {
    fn append(&self, _: &[Append]) -> Result<(), StoreError> {
        Err(StoreError::Failed("it is for reading".to_owned()))
    }

    fn head(&self, address: &Address) -> Result<Option<LogHead>, StoreError> {
        Ok(self.logs.get(address).map(Log::head))
    }

    fn read(&self, address: &Address, from: u64, _: usize) -> Result<Vec<Record>, StoreError> {
        let records = self.logs.get(address).map_or(&[][..], |log| &log.records);
        Ok(records.iter().filter(|record| record.last_seq() >= from).cloned().collect())
    }

    fn read_snapshot(
        &self,
        address: &Address,
        _: Cursor,
        offset: u64,
        _: usize,
    ) -> Result<Option<Bytes>, StoreError> {
        let snapshot = self.logs.get(address).and_then(|log| log.snapshot.as_ref());
        Ok(snapshot.map(|s| s.body.slice(usize::try_from(offset).unwrap()..)))
    }

    fn read_attribution(&self, at: &Address, _: Cursor) -> Result<Option<Bytes>, StoreError> {
        let snapshot = self.logs.get(at).and_then(|log| log.snapshot.as_ref());
        Ok(snapshot.map(|snapshot| snapshot.attribution.clone()))
    }

    fn put_snapshot(&self, _: &Address, _: &Snapshot, _: u64) -> Result<(), StoreError> {
        Err(StoreError::Failed("it is for reading".to_owned()))
    }

    fn roll_over(&self, _: &Address, _: &Rollover, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Failed("it is for reading".to_owned()))
    }

    fn list(&self, after: Option<&Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
        let all = self.logs.keys().filter(|at| after.is_none_or(|after| *at > after));
        Ok(all.take(limit).cloned().collect())
    }

    fn posts(&self, space: &str, wanted: &PostsWanted) -> Result<Vec<Summary>, StoreError> {
        Ok(self.posts.lock().unwrap().posts(space, wanted))
    }

    fn put_summary(&self, address: &Address, brought: &Brought) -> Result<(), StoreError> {
        self.posts.lock().unwrap().put(address, brought);
        Ok(())
    }

    fn is_summarised(&self, space: &str) -> Result<bool, StoreError> {
        Ok(self.posts.lock().unwrap().is_complete(space))
    }

    fn set_summarised(&self, space: &str) -> Result<(), StoreError> {
        self.posts.lock().unwrap().set_complete(space);
        Ok(())
    }

    fn deletion(&self, space: &str) -> Result<Option<Deletion>, StoreError> {
        Ok(self.posts.lock().unwrap().deletion(space))
    }

    fn set_deletion(&self, space: &str, deletion: Option<Deletion>) -> Result<(), StoreError> {
        self.posts.lock().unwrap().set_deletion(space, deletion);
        Ok(())
    }
}

/// Somebody with one document open, who writes on what everybody wrote.
struct Pen {
    connection: u64,
    user: UserId,
    handle: u32,
    doc: Automerge,
    number: u64,
    ids: u64,
}

impl Pen {
    fn open(world: &mut World, session: u8, address: &str) -> Self {
        Self::open_as(world, session, 1, address)
    }

    fn open_as(world: &mut World, session: u8, generation: u64, address: &str) -> Self {
        let connection = world.hello(session, generation);
        let address: Address = address.parse().unwrap();
        let mut outbox = [session; 16];
        outbox[0] = u8::try_from(generation).unwrap();
        let text = address.to_string();
        world.say(connection, Subscribe { address: text, cursor: None, outbox, write: true });
        let mut pen = Self {
            connection,
            user: UserId::new(&format!("user{session}")).unwrap(),
            handle: 0,
            doc: genesis::document(&address, TextEncoding::UnicodeCodePoint),
            number: 0,
            ids: u64::from(session) << 32,
        };
        pen.listen(world);
        pen
    }

    fn listen(&mut self, world: &mut World) -> Vec<ServerFrame> {
        let mut rest = Vec::new();
        for frame in world.heard(self.connection) {
            let frame = match frame {
                ServerFrame::PackedChanges(packed) => unpack(&packed).unwrap().into(),
                other => other,
            };
            match frame {
                ServerFrame::Subscribed(subscribed) => {
                    self.handle = subscribed.handle;
                    let lease = subscribed.lease.unwrap();
                    self.doc.set_actor(Writer::from(lease.actor));
                }
                ServerFrame::Changes(changes) => {
                    let all = changes.entries.iter().map(|e| Change::try_from(&e.change.0[..]));
                    self.doc.apply_changes(all.map(Result::unwrap)).unwrap();
                }
                ServerFrame::SnapshotPart(part) => {
                    let actor = self.doc.get_actor().clone();
                    self.doc = Automerge::load(&part.bytes.0).unwrap().with_actor(actor);
                }
                other => rest.push(other),
            }
        }
        rest
    }

    /// Does something to the document; nothing if the command does nothing.
    fn does(&mut self, world: &mut World, command: impl Into<Command>) {
        self.listen(world);
        let before = self.doc.get_heads();
        let mut tx = self.doc.transaction();
        if command.into().apply(&mut tx).is_err() {
            tx.rollback();
            return;
        }
        tx.commit();
        if self.doc.get_heads() == before {
            return;
        }
        let change = self.doc.get_last_local_change().unwrap().raw_bytes().to_vec();
        self.number += 1;
        let (handle, first) = (self.handle, self.number);
        world.say(self.connection, Push { handle, first, changes: vec![Blob(change.into())] });
        for frame in self.listen(world) {
            let rolled_over = |code| code == Code::RolledOver.number();
            let expected = match &frame {
                ServerFrame::Ack(_) => true,
                ServerFrame::Error(error) => rolled_over(error.code),
                _ => false,
            };
            assert!(expected, "{frame:?}");
        }
    }

    fn id(&mut self) -> Ulid {
        self.ids += 1;
        Ulid::new(Timestamp(self.ids), u128::from(self.ids))
    }

    fn create(&mut self, world: &mut World, title: &str) {
        let command = PostCommand::Create {
            author: self.user.clone(),
            created: Timestamp(7),
            title: title.to_owned(),
            body: String::new(),
            tags: vec![],
        };
        self.does(world, command);
    }

    fn like(&mut self, world: &mut World, reaction: &str) {
        let (target, reaction, user) = (Target::Post, reaction.to_owned(), self.user.clone());
        let at = self.id();
        self.does(world, LikesCommand::Like { target, reaction, user, at });
    }

    fn unlike(&mut self, world: &mut World, reaction: &str) {
        let (target, reaction, user) = (Target::Post, reaction.to_owned(), self.user.clone());
        self.does(world, LikesCommand::Unlike { target, reaction, user });
    }

    fn comment(&mut self, world: &mut World) -> Ulid {
        let (id, author) = (self.id(), self.user.clone());
        let (created, body) = (Timestamp(8), "hm".to_owned());
        self.does(world, CommentsCommand::Add { id, author, parent: None, created, body });
        id
    }
}

/// Somebody who follows the feed of `town`.
struct Reader {
    connection: u64,
    posts: BTreeMap<String, PostSummary>,
    /// Frames about the feed that have come.
    frames: usize,
    ended: Option<Code>,
}

impl Reader {
    fn follow(world: &mut World, session: u8, newest: u16) -> Self {
        let connection = world.hello(session, 1);
        world.say(connection, FollowFeed { space: "town".to_owned(), newest });
        let mut reader = Self { connection, posts: BTreeMap::new(), frames: 0, ended: None };
        reader.listen(world);
        reader
    }

    fn listen(&mut self, world: &mut World) {
        for frame in world.heard(self.connection) {
            match frame {
                ServerFrame::Feed(feed) => {
                    self.frames += 1;
                    assert!(feed.posts.is_sorted_by_key(|p| (!p.active_ms, p.id.clone())));
                    self.posts = feed.posts.into_iter().map(|p| (p.id.clone(), p)).collect();
                }
                ServerFrame::FeedChanged(changed) => {
                    self.frames += 1;
                    self.posts.extend(changed.posts.into_iter().map(|p| (p.id.clone(), p)));
                }
                ServerFrame::FeedEnded(ended) => self.ended = Code::from_number(ended.code),
                other => panic!("{other:?}"),
            }
        }
    }

    fn counts(&self, id: &str) -> (u64, u64, u64) {
        let post = &self.posts[id];
        (post.likes, post.comments, post.deleted)
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A world with the post `town/a` and its three pens.
fn town() -> (World, Pen, Pen, Pen) {
    let mut world = World::new();
    let mut post = Pen::open(&mut world, 1, "town/a/post");
    let likes = Pen::open(&mut world, 2, "town/a/likes");
    let comments = Pen::open(&mut world, 3, "town/a/comments");
    post.create(&mut world, "A day");
    (world, post, likes, comments)
}

#[test]
fn fd1_the_answer_is_the_posts_as_they_are_and_opens_no_document() {
    let (mut world, _post, mut likes, mut comments) = town();
    likes.like(&mut world, "like");
    comments.comment(&mut world);
    let documents = world.hub.stats().documents;
    let reader = Reader::follow(&mut world, 9, 50);
    assert_eq!(world.hub.stats().documents, documents);
    let post = &reader.posts["a"];
    assert_eq!((post.title.as_str(), post.author.as_str(), post.created_ms), ("A day", "user1", 7));
    assert_eq!(post.reactions, [("like".to_owned(), 1)]);
    assert_eq!(reader.counts("a"), (1, 1, 0));
}

#[test]
fn fd2_counts_follow_likes_unlikes_comments_and_deletions() {
    let (mut world, mut post, mut likes, mut comments) = town();
    let mut reader = Reader::follow(&mut world, 9, 50);
    assert_eq!(reader.counts("a"), (0, 0, 0));
    let mut see = |world: &mut World| {
        world.pass(2 * SECOND);
        reader.listen(world);
        reader.counts("a")
    };
    likes.like(&mut world, "like");
    likes.like(&mut world, "wow");
    assert_eq!(see(&mut world), (2, 0, 0));
    likes.unlike(&mut world, "like");
    let id = comments.comment(&mut world);
    comments.comment(&mut world);
    assert_eq!(see(&mut world), (1, 2, 0));
    comments.does(&mut world, CommentsCommand::Delete { id, at: Timestamp(9) });
    assert_eq!(see(&mut world), (1, 1, 1));
    post.does(&mut world, PostCommand::SetStatus { status: PostStatus::Hidden });
    assert_eq!(see(&mut world), (1, 1, 1));
    let hidden = &reader.posts["a"];
    assert_eq!((hidden.status, hidden.title.as_str()), (1, ""), "its title is not for everyone");
}

#[test]
fn fd3_what_changes_is_told_at_most_once_in_the_interval_and_the_same_to_all() {
    let (mut world, _post, mut likes, _comments) = town();
    let mut readers = [9, 10, 11].map(|session| Reader::follow(&mut world, session, 50));
    world.pass(2 * SECOND);
    for n in 0..100 {
        likes.like(&mut world, &format!("r{n}"));
        world.pass(Duration::from_millis(50));
    }
    world.pass(SECOND);
    for reader in &mut readers {
        let before = reader.frames;
        reader.listen(&mut world);
        let told = reader.frames - before;
        assert!((4..=7).contains(&told), "told {told} times in 5 s");
        assert_eq!(reader.counts("a"), (100, 0, 0));
    }
    let asked = world.listings;
    world.pass(60 * SECOND);
    assert_eq!(world.listings, asked, "nothing is asked where nothing changes");
}

#[test]
fn fd3_nothing_is_told_before_it_is_durable() {
    let (mut world, _post, mut likes, _comments) = town();
    let mut reader = Reader::follow(&mut world, 9, 50);
    let told = reader.frames;
    world.hold_commits = true;
    likes.like(&mut world, "like");
    world.pass(10 * SECOND);
    reader.listen(&mut world);
    assert_eq!((reader.frames, reader.counts("a")), (told, (0, 0, 0)));
    world.hold_commits = false;
    world.finish_commit();
    world.pass(2 * SECOND);
    reader.listen(&mut world);
    assert_eq!(reader.counts("a"), (1, 0, 0));
}

#[test]
fn fd3_a_reader_that_stops_reading_is_left_where_it_is_and_told_the_rest_at_once() {
    let (mut world, _post, mut likes, _comments) = town();
    world.hub.config.outstanding_bytes_max = 150;
    let mut slow = Reader::follow(&mut world, 9, 50);
    let mut quick = Reader::follow(&mut world, 10, 50);
    world.stuck.push(slow.connection);
    for n in 0..30 {
        likes.like(&mut world, &format!("r{n}"));
        world.pass(SECOND);
    }
    quick.listen(&mut world);
    assert_eq!(quick.counts("a"), (30, 0, 0));
    slow.listen(&mut world);
    let before = slow.frames;
    assert!(before < 10, "{before} frames to one that takes nothing");
    world.stuck.clear();
    world.drain(slow.connection);
    slow.listen(&mut world);
    assert_eq!((slow.counts("a"), slow.frames), ((30, 0, 0), before + 1));
}

#[test]
fn fd5_nothing_is_left_when_all_have_left() {
    let (mut world, post, likes, comments) = town();
    let readers = [9, 10, 11].map(|session| Reader::follow(&mut world, session, 50));
    let stats = world.hub.stats();
    assert_eq!((stats.feeds, stats.feed_followers), (1, 3));
    world.say(readers[0].connection, LeaveFeed { space: "town".to_owned() });
    world.tell(Input::Closed { connection: ConnectionId(readers[1].connection) });
    world.say(readers[2].connection, Bye {});
    let stats = world.hub.stats();
    assert_eq!((stats.feeds, stats.feed_followers), (0, 0));
    for pen in [post, likes, comments] {
        world.tell(Input::Closed { connection: ConnectionId(pen.connection) });
    }
    world.tell(Input::Closed { connection: ConnectionId(readers[0].connection) });
    world.pass(300 * SECOND);
    assert_eq!(world.hub.poll_timeout(), None);
    assert!(world.hub.spaces.is_empty(), "nor the rules of the space");
}

#[test]
fn fd6_what_was_told_is_there_after_a_restart_without_a_document() {
    let (mut world, _post, mut likes, mut comments) = town();
    likes.like(&mut world, "like");
    comments.comment(&mut world);
    let mut world = world.restarted();
    let reader = Reader::follow(&mut world, 9, 50);
    assert_eq!(reader.counts("a"), (1, 1, 0));
    assert_eq!((world.hub.stats().documents, world.reads), (0, 0));
}

#[test]
fn fd6_what_a_cut_record_brings_is_what_is_in_it() {
    let mut world = World::with(Config { record_bytes_max: 400, ..Config::default() }, 1);
    let mut post = Pen::open(&mut world, 1, "town/a/post");
    post.create(&mut world, "A day");
    let mut likes = Pen::open(&mut world, 2, "town/a/likes");
    world.hold_commits = true;
    for n in 0..40 {
        likes.like(&mut world, &format!("r{n}"));
    }
    // Each commit brings what is in the log up to its end and nothing above, until the end.
    let address: Address = "town/a/likes".parse().unwrap();
    let mut commits = 0;
    while world.held_commit.is_some() {
        world.release_commit();
        commits += 1;
        let stored: u64 = world.logs[&address].records.iter().map(|r| r.entries.len() as u64).sum();
        let wanted = PostsWanted::Ids(vec!["a".to_owned()]);
        let summary = world.posts.posts("town", &wanted).remove(0);
        assert_eq!(summary.likes.unwrap().likes, stored);
    }
    assert!(commits > 5, "{commits} commits");
}

#[test]
fn fd6_an_epoch_that_ends_changes_no_summary() {
    let config = Config { rollover_bytes: 1_500, ..Config::default() };
    let mut world = World::with(config, 1);
    let mut post = Pen::open(&mut world, 1, "town/a/post");
    post.create(&mut world, "A day");
    let mut likes = Pen::open(&mut world, 2, "town/a/likes");
    let mut count = 0;
    let address: Address = "town/a/likes".parse().unwrap();
    while world.logs.get(&address).is_none_or(|log| log.sealed.is_empty()) {
        likes.like(&mut world, &format!("r{count}"));
        count += 1;
    }
    let mut reader = Reader::follow(&mut world, 9, 50);
    assert_eq!(reader.counts("a"), (count, 0, 0));
    let mut likes = Pen::open(&mut world, 3, "town/a/likes");
    likes.like(&mut world, "another");
    world.pass(2 * SECOND);
    reader.listen(&mut world);
    assert_eq!(reader.counts("a"), (count + 1, 0, 0));
}

#[test]
fn fd1_a_feed_that_cannot_be_read_ends_and_says_when_to_ask_again() {
    let (mut world, ..) = town();
    world.fail_loads = true;
    let connection = world.hello(9, 1);
    world.say(connection, FollowFeed { space: "town".to_owned(), newest: 50 });
    let heard = world.heard(connection);
    let [ServerFrame::FeedEnded(ended)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(ended.code, Code::FeedUnavailable.number());
    assert!(ended.retry_after_ms.is_some());
    assert_eq!(world.hub.stats().feeds, 0);
    world.fail_loads = false;
    world.say(connection, FollowFeed { space: "town".to_owned(), newest: 50 });
    assert!(matches!(world.heard(connection)[..], [ServerFrame::Feed(_)]));
}

#[test]
fn fd1_bad_names_and_too_many_feeds_are_refused() {
    let mut world = World::new();
    let connection = world.hello(9, 1);
    let mut follow = |space: &str| {
        world.say(connection, FollowFeed { space: space.to_owned(), newest: 5 });
        match &world.heard(connection)[..] {
            [ServerFrame::Feed(feed)] => {
                assert!(feed.posts.is_empty());
                None
            }
            [ServerFrame::FeedEnded(ended)] => Code::from_number(ended.code),
            other => panic!("{other:?}"),
        }
    };
    for bad in ["", "..", "a/b", "x y", &"n".repeat(2_000)] {
        assert_eq!(follow(bad), Some(Code::BadAddress), "{bad}");
    }
    for n in 0..16 {
        assert_eq!(follow(&format!("space{n}")), None);
    }
    assert_eq!(follow("one-more"), Some(Code::TooManyFeeds));
    assert_eq!(follow("space3"), None, "asking again is no other feed");
}

/// Believes names; `user1` owns every space.
#[derive(Debug)]
struct OneOwner;

impl Authenticator for OneOwner {
    fn authenticate(
        &self,
        now: Timestamp,
        claimed: &str,
        token: Option<&str>,
    ) -> Result<Credentials, AuthenticateError> {
        let mut credentials = TakesNames.authenticate(now, claimed, token)?;
        if claimed == "user1" {
            credentials.roles.insert("*".to_owned(), Role::Owner);
        }
        Ok(credentials)
    }
}

/// Puts a value into the rules of `town`.
fn rule(world: &mut World, pen: &mut Pen, part: Option<&str>, key: &str) {
    pen.listen(world);
    let mut tx = pen.doc.transaction();
    let root = tx.get(automerge::ROOT, "root").unwrap().unwrap().1;
    let place = part.map_or(root.clone(), |part| tx.get(&root, part).unwrap().unwrap().1);
    tx.put(place, key, true).unwrap();
    tx.commit();
    let change = pen.doc.get_last_local_change().unwrap().raw_bytes().to_vec();
    pen.number += 1;
    let (handle, first) = (pen.handle, pen.number);
    world.say(pen.connection, Push { handle, first, changes: vec![Blob(change.into())] });
}

#[test]
fn fd5_rules_hold_for_feeds_as_for_documents_and_at_once() {
    let mut world = World::new();
    let identity = world.hub.identity.clone();
    world.hub = Hub::new(world.hub.config, identity).with_authenticator(Arc::new(OneOwner));
    let mut post = Pen::open(&mut world, 1, "town/a/post");
    post.create(&mut world, "A day");
    let mut banned = Reader::follow(&mut world, 9, 50);
    let mut other = Reader::follow(&mut world, 10, 50);
    let connection = post.connection;
    world.tell(Input::Closed { connection: ConnectionId(connection) });
    let mut rules = Pen::open_as(&mut world, 1, 2, "town/rules/json");
    rule(&mut world, &mut rules, Some("banned"), "user9");
    banned.listen(&mut world);
    other.listen(&mut world);
    assert_eq!((banned.ended, other.ended), (Some(Code::Forbidden), None));
    rule(&mut world, &mut rules, None, "private");
    other.listen(&mut world);
    assert_eq!(other.ended, Some(Code::Forbidden));
    assert_eq!(world.hub.stats().feeds, 0);
    world.say(other.connection, FollowFeed { space: "town".to_owned(), newest: 5 });
    let heard = world.heard(other.connection);
    assert!(matches!(heard[..], [ServerFrame::FeedEnded(_)]), "{heard:?}");
    // Also where the rules have to be read first.
    let mut world = world.restarted();
    let reader = Reader::follow(&mut world, 9, 50);
    assert_eq!((reader.ended, reader.frames), (Some(Code::Forbidden), 0));
    assert!(world.hub.spaces.is_empty());
}
