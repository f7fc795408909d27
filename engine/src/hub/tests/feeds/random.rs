//! Random commands through a real hub: what a feed tells is what the documents show.

use super::*;

#[derive(Debug, Clone)]
struct Step {
    document: usize,
    pen: usize,
    kind: u8,
    value: u8,
    pass_ms: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_usize..6, 0_usize..2, any::<u8>(), any::<u8>(), 0_u64..1_500);
    let step = step.prop_map(|(document, pen, kind, value, pass_ms)| Step {
        document,
        pen,
        kind,
        value,
        pass_ms,
    });
    proptest::collection::vec(step, 1..50)
}

const DOCUMENTS: [&str; 6] = [
    "town/a/post",
    "town/a/likes",
    "town/a/comments",
    "town/b/post",
    "town/b/likes",
    "town/b/comments",
];

fn act(world: &mut World, pen: &mut Pen, facet: Facet, step: &Step, comments: &mut Vec<Ulid>) {
    let reaction = format!("r{}", step.value % 10);
    match (facet, step.kind % 4) {
        (Facet::Likes, 0) => pen.unlike(world, &reaction),
        (Facet::Likes, _) => pen.like(world, &reaction),
        (Facet::Comments, 0) => {
            if let Some(id) = comments.get(usize::from(step.value) % comments.len().max(1)) {
                let author = View::read(facet, &pen.doc);
                let View::Comments(view) = author else { panic!("comments") };
                if view.comment(*id).is_some_and(|comment| comment.author == pen.user) {
                    pen.does(world, CommentsCommand::Delete { id: *id, at: Timestamp(9) });
                }
            }
        }
        (Facet::Comments, _) => comments.push(pen.comment(world)),
        (Facet::Post, 0) => {
            let all = [PostStatus::Published, PostStatus::Hidden, PostStatus::Deleted];
            pen.does(world, PostCommand::SetStatus { status: all[usize::from(step.value % 3)] });
        }
        (Facet::Post, _) => {
            let (index, delete) = (usize::from(step.value % 3), usize::from(step.kind / 4 % 3));
            let (field, insert) = (TextField::Title, reaction);
            pen.does(world, PostCommand::Splice { field, index, delete, insert });
        }
        (Facet::Json | Facet::Stream, _) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn fd4_what_is_told_is_what_the_documents_show(
        steps in steps(),
        restart_at in 0_usize..50,
    ) {
        let mut world = World::new();
        // The first of each post's pens is its author.
        let session = |document: usize, pen: usize| u8::try_from(1 + document / 3 * 3 + pen).unwrap();
        let open = |world: &mut World, generation: u64| -> Vec<[Pen; 2]> {
            let all = DOCUMENTS.iter().enumerate();
            all.map(|(document, address)| [0, 1].map(|pen| {
                let name = session(document, pen) + 20 * u8::try_from(document).unwrap();
                Pen::open_as(world, name, generation, address)
            })).collect()
        };
        let mut pens = open(&mut world, 1);
        for document in [0, 3] {
            pens[document][0].create(&mut world, "Title");
        }
        let mut reader = Reader::follow(&mut world, 200, 500);
        let mut comments = vec![Vec::new(); 6];
        for (number, step) in steps.iter().enumerate() {
            if number == restart_at {
                world = world.restarted();
                pens = open(&mut world, 2);
                reader = Reader::follow(&mut world, 200, 500);
            }
            let facet: Facet = DOCUMENTS[step.document].rsplit('/').next().unwrap().parse().unwrap();
            // Only its author may change a post.
            let pen = if facet == Facet::Post { 0 } else { step.pen };
            let pen = &mut pens[step.document][pen];
            act(&mut world, pen, facet, step, &mut comments[step.document]);
            world.pass(Duration::from_millis(step.pass_ms));
            reader.listen(&mut world);
        }
        world.pass(2 * SECOND);
        reader.listen(&mut world);
        for (document, address) in DOCUMENTS.iter().enumerate() {
            let address: Address = address.parse().unwrap();
            let pen = &mut pens[document][0];
            pen.listen(&mut world);
            let shown = Part::of_view(&View::read(address.facet(), &pen.doc));
            let told = Summary::of_wire(reader.posts[address.id()].clone()).unwrap();
            let told = match address.facet() {
                Facet::Post => told.post.map(Part::Post),
                Facet::Likes => told.likes.map(Part::Likes),
                Facet::Comments => told.comments.map(Part::Comments),
                Facet::Json | Facet::Stream => None,
            };
            prop_assert_eq!(told, shown, "{}", address);
        }
    }
}
