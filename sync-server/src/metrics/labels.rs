//! What metrics are told apart by: names of ours, of which there are so many and no more. Labels that
//! strangers choose would grow without bound.

use syncline_engine::codes::Code;
use syncline_engine::wire::CloseCode;

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Peer,
    Hub,
    Socket,
    Network,
}

impl By {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Hub => "hub",
            Self::Socket => "socket",
            Self::Network => "network",
        }
    }
}

/// Why a socket was turned away before it was a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// As many connections are open as may be.
    Full,
    /// As many sockets are open as may be.
    Sockets,
    /// TLS was not agreed on, or not in time.
    Handshake,
    /// Its address has, or opens, as many as it may.
    Address,
}

impl TurnedAway {
    pub(super) const ALL: [Self; 4] = [Self::Full, Self::Sockets, Self::Handshake, Self::Address];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Sockets => "sockets",
            Self::Handshake => "handshake",
            Self::Address => "address",
        }
    }
}

/// How something went.
pub(super) const fn outcome(well: bool) -> &'static str {
    if well { "done" } else { "failed" }
}

/// A larger task of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Reading a document's outline and tail.
    Load,
    /// Making the gate's index of a document.
    OpenGate,
    /// Making a snapshot.
    Compact,
    /// Ending an epoch.
    RollOver,
}

impl Task {
    pub(super) const ALL: [Self; 4] = [Self::Load, Self::OpenGate, Self::Compact, Self::RollOver];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::OpenGate => "open_gate",
            Self::Compact => "compact",
            Self::RollOver => "roll_over",
        }
    }
}

/// A close code's name. Those that a peer made up share one.
pub(super) fn close_name(code: Option<u16>) -> &'static str {
    match code {
        None => "none",
        Some(1_000) => "normal",
        Some(1_001) => "going_away",
        Some(number) => Code::ALL
            .iter()
            .find(|code| CloseCode::of(**code).0 == number)
            .map_or("other", |code| code.slug()),
    }
}
