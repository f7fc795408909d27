//! What went wrong, as JavaScript is told it: a stable code and a sentence. Knows no JavaScript.

use std::fmt;

use syncline_engine::codes::Code;
use syncline_engine::document::{CommandError, NotATextPlace};
use syncline_engine::ids::NameError;
use syncline_engine::presence::SayingError;
use syncline_engine::session::{ExecuteError, LayoutError, StreamError};

/// Why something could not be done. It reads `code: sentence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The stable code.
    pub code: Code,
    /// A sentence that helps.
    pub message: String,
}

impl Fault {
    /// Something that is wrong with what was handed in.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Fault {}

impl From<ExecuteError> for Fault {
    fn from(error: ExecuteError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<CommandError> for Fault {
    fn from(error: CommandError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<StreamError> for Fault {
    fn from(error: StreamError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<LayoutError> for Fault {
    fn from(error: LayoutError) -> Self {
        Self::new(Code::LocalStore, error.to_string())
    }
}

impl From<SayingError> for Fault {
    fn from(error: SayingError) -> Self {
        Self::new(Code::BadPresence, error.to_string())
    }
}

impl From<NotATextPlace> for Fault {
    fn from(error: NotATextPlace) -> Self {
        Self::new(Code::BadCommand, error.to_string())
    }
}

impl From<NameError> for Fault {
    /// Names are of documents, spaces and streams, but for ids, which are of commands and comments.
    fn from(error: NameError) -> Self {
        let is_id = error == NameError::NotAUlid;
        let code = if is_id { Code::BadCommand } else { Code::BadAddress };
        Self::new(code, error.to_string())
    }
}
