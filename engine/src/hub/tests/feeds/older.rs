//! Documents that were written before there were summaries.

use super::*;

#[test]
fn fd6_documents_from_before_there_were_summaries_are_summarised_when_they_are_asked_for() {
    let (mut world, _post, mut likes, mut comments) = town();
    likes.like(&mut world, "like");
    comments.comment(&mut world);
    let mut dash = Pen::open(&mut world, 4, "town/-/post");
    dash.create(&mut world, "The first of all names");
    let mut elsewhere = Pen::open(&mut world, 5, "tower/b/post");
    elsewhere.create(&mut world, "Elsewhere");
    let mut world = world.restarted();
    world.posts = Posts::default();
    let mut reader = Reader::follow(&mut world, 9, 50);
    world.pass(2 * SECOND);
    reader.listen(&mut world);
    assert_eq!(reader.posts.keys().collect::<Vec<_>>(), ["-", "a"]);
    assert_eq!(reader.counts("a"), (1, 1, 0));
    assert!(world.posts.is_complete("town") && !world.posts.is_complete("tower"));
    assert_eq!(world.hub.stats().documents, 0);
}

#[test]
fn fd6_what_a_commit_brought_meanwhile_stands() {
    let (world, ..) = town();
    let mut world = world.restarted();
    world.posts = Posts::default();
    let mut likes = Pen::open(&mut world, 2, "town/a/likes");
    likes.like(&mut world, "like");
    let stored = Stored::of(&mut world);
    let old = crate::summary::LikesPart::default();
    let brought = Brought { at: Timestamp(1), part: Part::Likes(old) };
    stored.put_summary(&"town/a/likes".parse().unwrap(), &brought).unwrap();
    world.posts = stored.into_posts();
    let reader = Reader::follow(&mut world, 9, 50);
    assert!(reader.posts.is_empty() || reader.counts("a").0 == 1);
    let mut reader = reader;
    world.pass(2 * SECOND);
    reader.listen(&mut world);
    assert_eq!(reader.counts("a"), (1, 0, 0));
}

#[test]
fn fd6_many_older_documents_are_summarised_step_by_step() {
    let mut world = World::new();
    let mut pens = Vec::new();
    for n in 0..150_u8 {
        let mut pen = Pen::open(&mut world, n, &format!("town/p{n:03}/post"));
        pen.create(&mut world, "One of many");
        pens.push(pen);
    }
    let mut world = world.restarted();
    world.posts = Posts::default();
    let mut reader = Reader::follow(&mut world, 200, 500);
    world.pass(2 * SECOND);
    reader.listen(&mut world);
    assert_eq!(reader.posts.len(), 150);
}
