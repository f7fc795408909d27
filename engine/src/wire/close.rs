//! WebSocket close codes. 4000 to 4499 mean "come back", 4500 to 4999 mean "coming back with the
//! same will end the same".

use crate::codes::Code;

/// A WebSocket close code that this protocol uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// A close that both sides wanted.
    pub const NORMAL: Self = Self(1000);

    /// The close code that carries `code`.
    #[must_use]
    pub const fn of(code: Code) -> Self {
        let base = if fatal(code) { 4500 } else { 4000 };
        Self(base + code.number() % 500)
    }

    /// Whether a client may try again by itself.
    #[must_use]
    pub const fn may_retry(self) -> bool {
        !(self.0 >= 4500 && self.0 <= 4999)
    }
}

/// Whether a connection that ended with `code` would end the same way again.
#[must_use]
pub const fn fatal(code: Code) -> bool {
    matches!(
        code,
        Code::BadFrame
            | Code::FrameTooLarge
            | Code::UnsupportedVersion
            | Code::OutOfProtocol
            | Code::Replaced
            | Code::Unauthenticated
            | Code::TokenExpired
            | Code::Forbidden
    )
}
