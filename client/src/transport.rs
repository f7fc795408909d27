//! By which way a client speaks with its server.

use std::fmt;
use std::str::FromStr;

/// The way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// A WebSocket, and where something between answers for the server that there is none, server-sent
    /// events.
    #[default]
    Auto,
    /// A WebSocket.
    WebSocket,
    /// Server-sent events down and requests up: works wherever HTTP does.
    Sse,
}

impl Transport {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not a way to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a transport is auto, websocket or sse")]
pub struct TransportError;

impl FromStr for Transport {
    type Err = TransportError;

    fn from_str(word: &str) -> Result<Self, TransportError> {
        let all = [Self::Auto, Self::WebSocket, Self::Sse];
        all.into_iter().find(|transport| transport.as_str() == word).ok_or(TransportError)
    }
}
