//! Lists that are asked for once, and feeds of spaces with more posts than one holds.

use super::*;

/// A space with so many posts that nobody has written: `p0000` is the oldest.
fn many(count: u64) -> World {
    let mut world = World::new();
    for n in 0..count {
        let address = Address::new("town", &format!("p{n:04}"), Facet::Post).unwrap();
        let part = Part::Post(PostPart {
            author: UserId::new("ada").unwrap(),
            created: Timestamp(n),
            status: PostStatus::Published,
            title: format!("Number {n}"),
        });
        world.posts.take_in(&address, &Brought { at: Timestamp(n / 3 * 1_000), part });
    }
    world
}

fn ask(world: &mut World, connection: u64, after: Option<WirePlace>, limit: u16) -> PostsFrame {
    world.say(connection, ListPosts { nonce: 5, space: "town".to_owned(), after, limit });
    match &world.heard(connection)[..] {
        [ServerFrame::Posts(posts)] => posts.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn fd7_pages_follow_each_other_without_gap_or_overlap() {
    let mut world = many(1_000);
    let connection = world.hello(9, 1);
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let page = ask(&mut world, connection, after, 70);
        assert_eq!(page.nonce, 5);
        all.extend(page.posts.iter().map(|post| (!post.active_ms, post.id.clone())));
        let last = page.posts.last().unwrap();
        after = Some(WirePlace { active_ms: last.active_ms, id: last.id.clone() });
        if !page.more {
            break;
        }
    }
    assert_eq!(all.len(), 1_000);
    assert!(all.is_sorted_by(|a, b| a < b));
    assert!(world.hub.spaces.is_empty(), "nothing is kept of a list");
    let none = ask(&mut world, connection, after, 70);
    assert!(none.posts.is_empty() && !none.more);
}

#[test]
fn fd7_a_feed_holds_a_bounded_number_of_posts_and_late_comers_get_in() {
    let mut world = many(1_000);
    world.now = Timestamp(1_000_000);
    let mut reader = Reader::follow(&mut world, 9, 1_000);
    assert_eq!(reader.posts.len(), FEED_POSTS_MAX);
    assert!(!reader.posts.contains_key("p0000"));
    let mut likes = Pen::open(&mut world, 2, "town/p0000/likes");
    likes.like(&mut world, "like");
    world.pass(2 * SECOND);
    reader.listen(&mut world);
    assert_eq!(reader.counts("p0000"), (1, 0, 0), "told whole, though it was not in the feed");
}

#[test]
fn fd7_one_who_asks_and_asks_is_told_to_wait() {
    let mut world = many(10);
    let connection = world.hello(9, 1);
    for nonce in 0..u64::from(LISTINGS_MAX) + 1 {
        let frame: ClientFrame =
            ListPosts { nonce, space: "town".to_owned(), after: None, limit: 5 }.into();
        let (connection, message) = (ConnectionId(connection), frame.encode().unwrap());
        world.hub.handle(world.now, Input::Received { connection, message });
    }
    world.run();
    let heard = world.heard(connection);
    let refused: Vec<_> = heard
        .iter()
        .filter_map(|frame| match frame {
            ServerFrame::PostsRefused(refused) => Some((refused.nonce, refused.code)),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [(u64::from(LISTINGS_MAX), Code::Overloaded.number())]);
    assert_eq!(heard.len(), usize::try_from(LISTINGS_MAX).unwrap() + 1);
    ask(&mut world, connection, None, 5);
}

#[test]
fn fd7_a_list_that_nobody_waits_for_any_more_leaves_nothing() {
    let mut world = many(10);
    let connection = world.hello(9, 1);
    let frame: ClientFrame =
        ListPosts { nonce: 1, space: "town".to_owned(), after: None, limit: 5 }.into();
    let message = frame.encode().unwrap();
    let connection = ConnectionId(connection);
    world.hub.handle(world.now, Input::Received { connection, message });
    world.hub.handle(world.now, Input::Closed { connection });
    world.run();
    assert!(world.hub.spaces.is_empty());
}

#[test]
fn fd7_a_place_is_what_was_told() {
    let place = Place::new(Timestamp(9_000), "a".to_owned());
    assert_eq!((place.active(), place.id()), (Timestamp(9_000), "a"));
}
