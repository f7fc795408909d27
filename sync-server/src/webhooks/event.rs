//! What a receiver is told: an accepted entry of a log as JSON. Knows neither logs nor receivers.

use serde::{Deserialize, Serialize};
use syncline_engine::document::{self, TextField, View};
use syncline_engine::ids::{Address, Epoch};
use syncline_engine::storage::Entry;

/// Characters of a title that are told.
const TITLE_CHARS_MAX: usize = 512;
/// Places in a schemaless document that are told of one entry.
const PATHS_MAX: usize = 64;

/// One accepted entry, or a stretch of them that cannot be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Event {
    /// The same for the same entry, however often it is sent.
    pub(super) id: String,
    pub(super) space: String,
    pub(super) document: String,
    pub(super) facet: String,
    pub(super) epoch: String,
    pub(super) seq: u64,
    /// When it was accepted, in milliseconds since the Unix epoch; nothing for a gap.
    pub(super) at: Option<u64>,
    pub(super) author: Option<String>,
    /// The command by its outbox and number, `OUTBOX:NUMBER`.
    pub(super) command: Option<String>,
    pub(super) changes: Vec<Change>,
}

/// What an entry did to what is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Change {
    #[serde(rename = "post.created")]
    PostCreated { author: String, title: String },
    #[serde(rename = "post.edited")]
    PostEdited {
        field: TextField,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    #[serde(rename = "post.tagged")]
    PostTagged { tag: String },
    #[serde(rename = "post.untagged")]
    PostUntagged { tag: String },
    #[serde(rename = "post.editor_added")]
    PostEditorAdded { user: String },
    #[serde(rename = "post.editor_removed")]
    PostEditorRemoved { user: String },
    #[serde(rename = "post.status_changed")]
    PostStatusChanged { status: document::PostStatus },
    #[serde(rename = "likes.liked")]
    Liked { target: String, reaction: String, user: String },
    #[serde(rename = "likes.unliked")]
    Unliked { target: String, reaction: String, user: String },
    #[serde(rename = "likes.counted")]
    Counted { counter: document::Counter, value: i64 },
    #[serde(rename = "comments.added")]
    CommentAdded { comment: String, parent: Option<String>, author: String, body: String },
    #[serde(rename = "comments.edited")]
    CommentEdited { comment: String, body: String },
    #[serde(rename = "comments.deleted")]
    CommentDeleted { comment: String },
    #[serde(rename = "json.changed")]
    JsonChanged { paths: Vec<Vec<document::PathSegment>>, complete: bool },
    #[serde(rename = "rules.changed")]
    RulesChanged { paths: Vec<Vec<document::PathSegment>>, complete: bool },
    /// Entries that cannot be told any more: read the document.
    #[serde(rename = "gap")]
    Gap { reason: Reason, from_seq: u64, to_seq: u64 },
}

/// Why entries cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    /// The log has dropped them, and there was no room to keep them for the receiver.
    Dropped,
    /// The log is not the one that the receiver was told of: it was restored, or deleted and begun anew.
    Replaced,
    /// What is stored is damaged.
    Unreadable,
}

impl Change {
    /// The kind, by which receivers choose.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::PostCreated { .. } => "post.created",
            Self::PostEdited { .. } => "post.edited",
            Self::PostTagged { .. } => "post.tagged",
            Self::PostUntagged { .. } => "post.untagged",
            Self::PostEditorAdded { .. } => "post.editor_added",
            Self::PostEditorRemoved { .. } => "post.editor_removed",
            Self::PostStatusChanged { .. } => "post.status_changed",
            Self::Liked { .. } => "likes.liked",
            Self::Unliked { .. } => "likes.unliked",
            Self::Counted { .. } => "likes.counted",
            Self::CommentAdded { .. } => "comments.added",
            Self::CommentEdited { .. } => "comments.edited",
            Self::CommentDeleted { .. } => "comments.deleted",
            Self::JsonChanged { .. } => "json.changed",
            Self::RulesChanged { .. } => "rules.changed",
            Self::Gap { .. } => "gap",
        }
    }
}

impl Event {
    /// An entry and what it did. `None` if it is nobody's command and shows nothing: the server's own
    /// merges.
    pub(super) fn of(
        address: &Address,
        epoch: Epoch,
        seq: u64,
        entry: &Entry,
        events: Vec<document::Event>,
        view: &View,
    ) -> Option<Self> {
        let changes = changes(address, events, view);
        if entry.command.is_none() && changes.is_empty() {
            return None;
        }
        let command = entry.command.map(|command| format!("{}:{}", command.outbox, command.number));
        let hash = entry.hash.to_string();
        Some(Self {
            id: format!("{address}/{epoch}/{seq}/{}", &hash[..16]),
            at: Some(entry.at.0),
            author: Some(entry.author.to_string()),
            command,
            changes,
            ..Self::bare(address, epoch, seq)
        })
    }

    /// Entries that cannot be told.
    pub(super) fn gap(
        address: &Address,
        epoch: Epoch,
        reason: Reason,
        (from_seq, to_seq): (u64, u64),
    ) -> Self {
        Self {
            id: format!("{address}/{epoch}/{from_seq}-{to_seq}/gap"),
            changes: vec![Change::Gap { reason, from_seq, to_seq }],
            ..Self::bare(address, epoch, to_seq)
        }
    }

    fn bare(address: &Address, epoch: Epoch, seq: u64) -> Self {
        Self {
            id: String::new(),
            space: address.space().to_owned(),
            document: address.to_string(),
            facet: address.facet().as_str().to_owned(),
            epoch: epoch.to_string(),
            seq,
            at: None,
            author: None,
            command: None,
            changes: Vec::new(),
        }
    }
}

fn changes(address: &Address, events: Vec<document::Event>, view: &View) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let (mut paths, mut complete) = (Vec::new(), true);
    for event in events {
        if let document::Event::JsonChanged { path } = event {
            let is_new = !paths.contains(&path);
            complete &= !is_new || paths.len() < PATHS_MAX;
            if is_new && complete {
                paths.push(path);
            }
        } else if let Some(change) = change(event, view)
            // A text that was edited in several places was edited.
            && !changes.contains(&change)
        {
            changes.push(change);
        }
    }
    if !paths.is_empty() {
        changes.push(if address.is_rules() {
            Change::RulesChanged { paths, complete }
        } else {
            Change::JsonChanged { paths, complete }
        });
    }
    changes
}

fn title(view: &View) -> String {
    match view {
        View::Post(post) => post.title().chars().take(TITLE_CHARS_MAX).collect(),
        View::Likes(_) | View::Comments(_) | View::Json(_) => String::new(),
    }
}

fn body(view: &View, id: syncline_engine::ids::Ulid) -> String {
    match view {
        View::Comments(comments) => {
            comments.comment(id).map(|comment| comment.body.clone()).unwrap_or_default()
        }
        View::Post(_) | View::Likes(_) | View::Json(_) => String::new(),
    }
}

fn change(event: document::Event, view: &View) -> Option<Change> {
    use document::Event as E;
    Some(match event {
        E::PostCreated { author } => {
            Change::PostCreated { author: author.to_string(), title: title(view) }
        }
        E::TitleSpliced { .. } => {
            Change::PostEdited { field: TextField::Title, title: Some(title(view)) }
        }
        E::BodySpliced { .. } | E::MarksChanged { .. } => {
            Change::PostEdited { field: TextField::Body, title: None }
        }
        E::TagAdded { tag } => Change::PostTagged { tag },
        E::TagRemoved { tag } => Change::PostUntagged { tag },
        E::EditorAdded { user } => Change::PostEditorAdded { user: user.to_string() },
        E::EditorRemoved { user } => Change::PostEditorRemoved { user: user.to_string() },
        E::StatusChanged { status } => Change::PostStatusChanged { status },
        E::LikeAdded { target, reaction, user } => {
            Change::Liked { target: target.to_string(), reaction, user: user.to_string() }
        }
        E::LikeRemoved { target, reaction, user } => {
            Change::Unliked { target: target.to_string(), reaction, user: user.to_string() }
        }
        E::CounterChanged { counter, value } => Change::Counted { counter, value },
        E::CommentAdded { id, parent, author } => Change::CommentAdded {
            comment: id.to_string(),
            parent: parent.map(|parent| parent.to_string()),
            author: author.to_string(),
            body: body(view, id),
        },
        E::CommentEdited { id } => {
            Change::CommentEdited { comment: id.to_string(), body: body(view, id) }
        }
        E::CommentDeleted { id } => Change::CommentDeleted { comment: id.to_string() },
        // What was rolled back was never in a log, and places are gathered.
        E::PostRemoved | E::CommentRemoved { .. } | E::JsonChanged { .. } => return None,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_the_type_that_is_written() {
        let all = [
            Change::PostCreated { author: "ada".into(), title: "T".into() },
            Change::PostEdited { field: TextField::Body, title: None },
            Change::Liked { target: "post".into(), reaction: "like".into(), user: "ada".into() },
            Change::Counted { counter: document::Counter::Views, value: 2 },
            Change::CommentDeleted { comment: "x".into() },
            Change::RulesChanged { paths: vec![vec!["members".into(), 0.into()]], complete: true },
            Change::Gap { reason: Reason::Dropped, from_seq: 1, to_seq: 2 },
        ];
        for change in all {
            let written = serde_json::to_value(&change).unwrap();
            assert_eq!(written["type"], change.kind());
            assert_eq!(serde_json::from_value::<Change>(written).unwrap(), change);
        }
    }

    #[test]
    fn places_of_one_entry_are_told_together_and_bounded() {
        let address: Address = "town/rules/json".parse().unwrap();
        let view = View::of_genesis(&address, automerge::TextEncoding::UnicodeCodePoint);
        let at = |n: usize| document::Event::JsonChanged { path: vec![n.into()] };
        let few = changes(&address, vec![at(1), at(2), at(1)], &view);
        let paths = vec![vec![1.into()], vec![2.into()]];
        assert_eq!(few, [Change::RulesChanged { paths, complete: true }]);
        let many = changes(&address, (0..100).map(at).collect(), &view);
        assert!(
            matches!(&many[..], [Change::RulesChanged { paths, complete: false }] if paths.len() == PATHS_MAX)
        );
    }
}
