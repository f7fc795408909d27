//! Commands by chance: few names, few ids, short texts, so that they meet.

use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, Counter, JsonCommand, LikesCommand, MarkName, MarkValue, PathSegment,
    PostCommand, PostStatus, Target, TextField,
};
use syncline_engine::ids::{Facet, Ulid, UserId};

/// Everything that is up to chance, fed by bytes. When they are over, every choice is the first.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl Choices<'_> {
    /// One of `n`, of which there are at most 256. The label says what is chosen, for whoever debugs.
    pub(crate) fn pick(&mut self, n: usize, _label: &str) -> usize {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*byte) % n.max(1)
    }

    pub(crate) fn are_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn text(&mut self, label: &str) -> String {
        const PIECES: &[&str] = &["", "a", "bc", "é", "👍🏽", "def", "\n", "longer text"];
        PIECES[self.pick(PIECES.len(), label)].to_owned()
    }

    pub(crate) fn user(&mut self) -> UserId {
        let name = ["ada", "bob", "eve"][self.pick(3, "user")];
        UserId::new(name).expect("a plain name")
    }

    /// Few ids, so that they meet.
    pub(crate) fn id(&mut self) -> Ulid {
        let n = self.pick(6, "id") as u64 + 1;
        Ulid::new(Timestamp(n), u128::from(n))
    }
}

/// A command for a document of this facet. A later one has a larger `tick`.
pub(crate) fn command(facet: Facet, tick: u64, choices: &mut Choices<'_>) -> Command {
    match facet {
        Facet::Post => Command::Post(post(choices)),
        Facet::Likes => Command::Likes(like(tick, choices)),
        Facet::Comments => Command::Comments(comment(tick, choices)),
        Facet::Json | Facet::Stream => Command::Json(json(choices)),
    }
}

fn like(tick: u64, choices: &mut Choices<'_>) -> LikesCommand {
    let target = match choices.pick(2, "target") {
        0 => Target::Post,
        _ => Target::Comment(choices.id()),
    };
    let reaction = ["like", "👍🏽"][choices.pick(2, "reaction")].to_owned();
    let user = choices.user();
    let counter = Counter::ALL[choices.pick(2, "counter")];
    match choices.pick(5, "like") {
        0..=2 => {
            let at = Ulid::new(Timestamp(tick), u128::from(tick));
            LikesCommand::Like { target, reaction, user, at }
        }
        3 => LikesCommand::Unlike { target, reaction, user },
        _ => LikesCommand::Count { counter, by: choices.pick(9, "by") as i64 - 4 },
    }
}

fn comment(tick: u64, choices: &mut Choices<'_>) -> CommentsCommand {
    let (id, now) = (choices.id(), Timestamp(tick));
    match choices.pick(4, "comment") {
        0 | 1 => CommentsCommand::Add {
            id,
            author: choices.user(),
            parent: (choices.pick(2, "reply") == 1).then(|| choices.id()),
            created: now,
            body: choices.text("body"),
        },
        2 => CommentsCommand::Edit { id, body: choices.text("body"), edited: now },
        _ => CommentsCommand::Delete { id, at: now },
    }
}

fn post(choices: &mut Choices<'_>) -> PostCommand {
    let (index, length) = (choices.pick(16, "index"), choices.pick(5, "length"));
    let field = [TextField::Title, TextField::Body][choices.pick(2, "field")];
    let name = MarkName::ALL[choices.pick(MarkName::ALL.len(), "mark")];
    let tag = ["rust", "crdt"][choices.pick(2, "tag")].to_owned();
    match choices.pick(12, "post") {
        0 | 1 => PostCommand::Create {
            author: choices.user(),
            created: Timestamp(choices.pick(4, "created") as u64),
            title: choices.text("title"),
            body: choices.text("body"),
            tags: vec![tag],
        },
        2..=4 => {
            PostCommand::Splice { field, index, delete: length, insert: choices.text("insert") }
        }
        5 => {
            let value = match name {
                MarkName::Link => MarkValue::Text("https://example.org/".to_owned()),
                MarkName::Bold | MarkName::Italic | MarkName::Code => MarkValue::Flag(true),
            };
            PostCommand::Mark { start: index, end: index + length, name, value }
        }
        6 => PostCommand::Unmark { start: index, end: index + length, name },
        7 => PostCommand::AddTag { tag },
        8 => PostCommand::RemoveTag { tag },
        9 => PostCommand::AddEditor { user: choices.user() },
        10 => PostCommand::RemoveEditor { user: choices.user() },
        _ => {
            let all = [PostStatus::Published, PostStatus::Hidden, PostStatus::Deleted];
            PostCommand::SetStatus { status: all[choices.pick(3, "status")] }
        }
    }
}

fn json(choices: &mut Choices<'_>) -> JsonCommand {
    let path: Vec<PathSegment> = (0..=choices.pick(3, "depth"))
        .map(|_| match choices.pick(5, "segment") {
            0 => 0.into(),
            1 => 1.into(),
            key => PathSegment::from(["a", "b", "c"][key - 2]),
        })
        .collect();
    let value = match choices.pick(6, "value") {
        0 => serde_json::json!(null),
        1 => serde_json::json!(choices.pick(3, "number")),
        2 => serde_json::json!(choices.text("string")),
        3 => serde_json::json!([]),
        4 => serde_json::json!({}),
        _ => serde_json::json!({ "a": [1, "two", { "c": 3.5 }], "b": {} }),
    };
    match choices.pick(8, "json") {
        0 | 1 => JsonCommand::Put { path, value },
        2 => JsonCommand::PutText { path, text: choices.text("text") },
        3 => JsonCommand::PutCounter { path, value: choices.pick(3, "counter") as i64 },
        4 => JsonCommand::Delete { path },
        5 => JsonCommand::Insert { path, index: choices.pick(3, "index"), value },
        6 => JsonCommand::Splice {
            path,
            index: choices.pick(6, "index"),
            delete: choices.pick(3, "delete"),
            insert: choices.text("insert"),
        },
        _ => JsonCommand::Increment { path, by: choices.pick(9, "by") as i64 - 4 },
    }
}
