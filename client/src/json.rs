//! A schemaless document as an app sees it. Must never know how it is stored or sent.

use serde_json::Value;
use syncline_engine::document::{Command, JsonCommand, JsonView, PathSegment, View};

use crate::document::{CommandError, Document, Pending};

/// A schemaless document, open. A path is a list of keys and indexes from the root.
#[derive(Debug, Clone)]
pub struct Json {
    document: Document,
}

fn path(path: impl IntoIterator<Item: Into<PathSegment>>) -> Vec<PathSegment> {
    path.into_iter().map(Into::into).collect()
}

impl Json {
    pub(crate) const fn new(document: Document) -> Self {
        Self { document }
    }

    /// The document behind it: its status, its events, its address.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// Looks at the content without a copy; see [`Document::with_view`].
    pub fn with<R>(&self, look: impl FnOnce(&JsonView) -> R) -> R {
        self.document.with_view(|view| match view {
            View::Json(json) => look(json),
            View::Post(_) | View::Likes(_) | View::Comments(_) => {
                unreachable!("the address says json")
            }
        })
    }

    /// The whole content, with counters as numbers and texts as strings.
    #[must_use]
    pub fn value(&self) -> Value {
        self.with(JsonView::value)
    }

    /// The content at a path, if there is any.
    #[must_use]
    pub fn at(&self, at: impl IntoIterator<Item: Into<PathSegment>>) -> Option<Value> {
        let at = path(at);
        self.with(|json| json.at(&at))
    }

    fn command(&self, command: JsonCommand) -> Result<Pending, CommandError> {
        self.document.command(Command::Json(command))
    }

    /// Puts a value in its place.
    ///
    /// # Errors
    /// If the path leads through something that is not there.
    pub fn put(
        &self,
        at: impl IntoIterator<Item: Into<PathSegment>>,
        value: impl Into<Value>,
    ) -> Result<Pending, CommandError> {
        self.command(JsonCommand::Put { path: path(at), value: value.into() })
    }

    /// Puts a text in its place that several can edit at once.
    ///
    /// # Errors
    /// If the path leads through something that is not there.
    pub fn put_text(
        &self,
        at: impl IntoIterator<Item: Into<PathSegment>>,
        text: &str,
    ) -> Result<Pending, CommandError> {
        self.command(JsonCommand::PutText { path: path(at), text: text.to_owned() })
    }

    /// Puts a counter in its place. Make counters before they are shared: of two that are made at
    /// the same time, one is lost with everything that was added to it.
    ///
    /// # Errors
    /// If the path leads through something that is not there.
    pub fn put_counter(
        &self,
        at: impl IntoIterator<Item: Into<PathSegment>>,
        value: i64,
    ) -> Result<Pending, CommandError> {
        self.command(JsonCommand::PutCounter { path: path(at), value })
    }

    /// Removes what is there.
    ///
    /// # Errors
    /// If the path leads through something that is not there.
    pub fn delete(
        &self,
        at: impl IntoIterator<Item: Into<PathSegment>>,
    ) -> Result<Pending, CommandError> {
        self.command(JsonCommand::Delete { path: path(at) })
    }

    /// Inserts into a list, before the element at `index`.
    ///
    /// # Errors
    /// If there is no list, or it is shorter.
    pub fn insert(
        &self,
        list: impl IntoIterator<Item: Into<PathSegment>>,
        index: usize,
        value: impl Into<Value>,
    ) -> Result<Pending, CommandError> {
        self.command(JsonCommand::Insert { path: path(list), index, value: value.into() })
    }

    /// Replaces a stretch of a text. Positions count Unicode code points.
    ///
    /// # Errors
    /// If there is no text, or the position lies behind its end.
    pub fn splice(
        &self,
        text: impl IntoIterator<Item: Into<PathSegment>>,
        index: usize,
        delete: usize,
        insert: &str,
    ) -> Result<Pending, CommandError> {
        let insert = insert.to_owned();
        self.command(JsonCommand::Splice { path: path(text), index, delete, insert })
    }

    /// Adds to a counter.
    ///
    /// # Errors
    /// If there is no counter.
    pub fn increment(
        &self,
        counter: impl IntoIterator<Item: Into<PathSegment>>,
        by: i64,
    ) -> Result<Pending, CommandError> {
        self.command(JsonCommand::Increment { path: path(counter), by })
    }
}
