//! Random commands on three replicas with random merges: a view that follows patches is the view
//! read anew after every step, and merging in any order ends in equal views.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const WORDS: [&str; 6] = ["a", "", "héllo ", "👍", "👍🏽x", "line\nbreak"];

/// One step: who, what (or whom to pull from), and three free choices.
type Step = (u8, u8, u8, u8, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), 1..60)
}

fn pick<T: Clone>(from: &[T], choice: u8) -> T {
    from[usize::from(choice) % from.len()].clone()
}

fn within(choice: u8, bound: usize) -> usize {
    usize::from(choice) % (bound + 1)
}

fn post_command(copy: &Copy, (_, kind, a, b, c): Step) -> PostCommand {
    let view = copy.post();
    let width = |text: &str| {
        text.chars()
            .map(|ch| if view.encoding() == UTF16 { ch.len_utf16() } else { 1 })
            .sum::<usize>()
    };
    let names = [user("ann"), user("bob")];
    let tags = ["x".to_owned(), "y".to_owned()];
    let splice = |field, length: usize| {
        let index = within(a, length);
        let delete = within(b, (length - index).min(4));
        PostCommand::Splice { field, index, delete, insert: pick(&WORDS, c).to_owned() }
    };
    let length = width(view.body());
    let (start, end) = (within(a, length), within(b, length));
    let (start, end) = (start.min(end), start.max(end).max(1));
    match kind % 12 {
        0 => PostCommand::Create {
            author: pick(&names, a),
            created: Timestamp(u64::from(b)),
            title: pick(&WORDS, a).to_owned(),
            body: WORDS.concat(),
            tags: vec![pick(&tags, c)],
        },
        1 => splice(TextField::Title, width(view.title())),
        2..=4 => splice(TextField::Body, length),
        5 | 6 => match pick(&MarkName::ALL, c) {
            name @ MarkName::Link => {
                let value = MarkValue::Text(pick(&["a:", "b:"], c / 4).to_owned());
                PostCommand::Mark { start, end, name, value }
            }
            name @ (MarkName::Bold | MarkName::Italic | MarkName::Code) => {
                PostCommand::Mark { start, end, name, value: MarkValue::Flag(true) }
            }
        },
        7 => PostCommand::Unmark { start, end, name: pick(&MarkName::ALL, c) },
        8 => PostCommand::AddTag { tag: pick(&tags, a) },
        9 => PostCommand::RemoveTag { tag: pick(&tags, a) },
        10 if a % 2 == 0 => PostCommand::AddEditor { user: pick(&names, b) },
        10 => PostCommand::RemoveEditor { user: pick(&names, b) },
        _ => PostCommand::SetStatus {
            status: pick(&[PostStatus::Published, PostStatus::Hidden, PostStatus::Deleted], a),
        },
    }
}

fn likes_command(number: u64, (_, kind, a, b, c): Step) -> LikesCommand {
    let target = pick(&[Target::Post, Target::Comment(id(1))], a);
    let reaction = pick(&["like", "👍"], b).to_owned();
    let user = pick(&[user("ann"), user("bob")], c);
    match kind % 5 {
        0 | 1 => LikesCommand::Like { target, reaction, user, at: id(number) },
        2 | 3 => LikesCommand::Unlike { target, reaction, user },
        _ => LikesCommand::Count { counter: pick(&Counter::ALL, a), by: i64::from(b) - 100 },
    }
}

fn comments_command((_, kind, a, b, c): Step) -> CommentsCommand {
    // Few ids, so that the same one is also written in two places at once.
    let id = id(u64::from(a % 6) + 1);
    let time = Timestamp(u64::from(c));
    match kind % 4 {
        0 | 1 => CommentsCommand::Add {
            id,
            author: pick(&[user("ann"), user("bob")], c),
            parent: (b % 2 == 0).then(|| super::id(u64::from(b / 2 % 6) + 1)),
            created: time,
            body: format!("{b} {c}"),
        },
        2 => CommentsCommand::Edit { id, body: format!("edit {b}"), edited: time },
        _ => CommentsCommand::Delete { id, at: time },
    }
}

fn list_places(value: &Value, path: &mut Vec<PathSegment>, places: &mut Vec<Vec<PathSegment>>) {
    places.push(path.clone());
    let entries: Vec<(PathSegment, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(k, v)| (k.as_str().into(), v)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(k, v)| (k.into(), v)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (step, inner) in entries {
        path.push(step);
        list_places(inner, path, places);
        path.pop();
    }
}

fn json_command(copy: &Copy, (_, kind, a, b, c): Step) -> JsonCommand {
    let keys = ["k", "l", "t", "n"];
    let values = [
        json!(1),
        json!("s"),
        json!({"k": 1, "l": [1, 2, {"k": []}], "t": {"k": {"k": 2}}}),
        json!([[], {"k": "v"}, 3]),
        json!(null),
        json!({}),
    ];
    // Mostly a place that is there, sometimes one next to it.
    let mut places = Vec::new();
    list_places(&copy.json().value(), &mut Vec::new(), &mut places);
    let mut path = pick(&places, a);
    match b % 8 {
        0..3 => path.push(pick(&keys, b / 8).into()),
        3 => path.push(usize::from(b / 8 % 4).into()),
        _ => {}
    }
    match kind % 9 {
        0 | 1 => JsonCommand::Put { path, value: pick(&values, c) },
        2 => JsonCommand::PutText { path, text: pick(&WORDS, c).to_owned() },
        3 => JsonCommand::PutCounter { path, value: i64::from(c) },
        4 => JsonCommand::Delete { path },
        5 | 6 => {
            JsonCommand::Insert { path, index: usize::from(b / 8 % 4), value: pick(&values, c) }
        }
        7 => JsonCommand::Splice {
            path,
            index: usize::from(b / 8 % 4),
            delete: usize::from(b / 32 % 3),
            insert: pick(&WORDS, c).to_owned(),
        },
        _ => JsonCommand::Increment { path, by: i64::from(c) - 100 },
    }
}

fn command(copy: &Copy, number: u64, step: Step) -> Command {
    match copy.facet {
        Facet::Post => Command::Post(post_command(copy, step)),
        Facet::Likes => Command::Likes(likes_command(number, step)),
        Facet::Comments => Command::Comments(comments_command(step)),
        Facet::Json | Facet::Stream => Command::Json(json_command(copy, step)),
    }
}

/// What a view shows, without the units in which it counts.
pub(super) fn shown(view: &View) -> String {
    match view {
        View::Post(view) => format!(
            "{:?}",
            (
                view.title(),
                view.spans(),
                view.author(),
                view.created(),
                view.tags(),
                view.editors(),
                view.status()
            )
        ),
        View::Json(view) => view.value().to_string(),
        View::Likes(_) | View::Comments(_) => format!("{view:?}"),
    }
}

fn play(facet: Facet, encoding: TextEncoding, steps: &[Step]) {
    let mut copies = [
        Copy::new(facet, 1, encoding),
        Copy::new(facet, 2, encoding),
        Copy::new(facet, 3, if encoding == UTF16 { POINTS } else { UTF16 }),
    ];
    for (number, step) in steps.iter().enumerate() {
        let who = usize::from(step.0 % 3);
        if step.0 / 3 % 4 == 0 {
            let from = copies[usize::from(step.1 % 3)].clone();
            copies[who].pull(&from);
        } else {
            let command = command(&copies[who], number as u64, *step);
            let before = copies[who].clone();
            match copies[who].run(&command) {
                Ok(_) => {}
                // Refused commands leave nothing behind.
                Err(_) => assert_eq!(copies[who].doc.get_heads(), before.doc.get_heads()),
            }
            let told = before.view.diff(&copies[who].view);
            assert_eq!(told.is_empty(), telling(&before.view) == telling(&copies[who].view));
        }
    }
    for (who, whom) in [(0, 1), (0, 2), (2, 1), (1, 2), (2, 0), (1, 0)] {
        let from = copies[whom].clone();
        copies[who].pull(&from);
    }
    for copy in &copies[1..] {
        assert_eq!(copy.doc.get_heads(), copies[0].doc.get_heads());
        assert_eq!(shown(&copy.view), shown(&copies[0].view));
    }
    let loaded = Automerge::load(&copies[0].doc.save()).unwrap();
    assert_eq!(shown(&View::read(facet, &loaded)), shown(&copies[0].view));
    epochs::begins_with_what_was_shown(&copies);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn posts_follow_their_patches_and_converge(mut steps in steps(), utf16: bool, empty: bool) {
        if !empty {
            steps.splice(0..0, [(4, 0, 1, 1, 1), (0, 1, 0, 0, 0), (2, 1, 0, 0, 0)]);
        }
        play(Facet::Post, if utf16 { UTF16 } else { POINTS }, &steps);
    }

    #[test]
    fn likes_follow_their_patches_and_converge(steps in steps()) {
        play(Facet::Likes, POINTS, &steps);
    }

    #[test]
    fn comments_follow_their_patches_and_converge(steps in steps()) {
        play(Facet::Comments, POINTS, &steps);
    }

    #[test]
    fn schemaless_documents_follow_their_patches_and_converge(steps in steps(), utf16: bool) {
        play(Facet::Json, if utf16 { UTF16 } else { POINTS }, &steps);
    }
}
