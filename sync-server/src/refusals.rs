//! What clients are told that is not done, for the log and the counts: which frames say so, with which
//! code, and of what. Decides nothing.

use syncline_engine::codes::Code;
use syncline_engine::hub::ConnectionId;
use syncline_engine::wire::ServerFrame;

/// The names of the frames that can say it. The others are not decoded to find out.
const FRAMES: &[&str] = &[
    "Reject",
    "Error",
    "Goodbye",
    "SentAway",
    "NotAnnounced",
    "Kicked",
    "StreamRefused",
    "FeedEnded",
    "PostsRefused",
];

/// Whether a message may say that something is not done.
pub(crate) fn may_be_one(message: &[u8]) -> bool {
    let Some(kind) = message.get(1) else { return false };
    ServerFrame::KINDS.iter().any(|(number, name)| number == kind && FRAMES.contains(name))
}

/// The number of the code that a frame tells, and what it is about.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other frames refuse nothing")]
fn told(frame: &ServerFrame) -> Option<(u16, Option<&str>)> {
    Some(match frame {
        ServerFrame::Reject(reject) => (reject.code, None),
        ServerFrame::Error(error) => (error.code, error.address.as_deref()),
        ServerFrame::Goodbye(goodbye) => (goodbye.code, None),
        ServerFrame::SentAway(away) => (away.code, Some(&away.space)),
        ServerFrame::NotAnnounced(refused) => (refused.code, None),
        ServerFrame::Kicked(kicked) => (kicked.refused?, None),
        ServerFrame::StreamRefused(refused) => (refused.code, Some(&refused.address)),
        ServerFrame::FeedEnded(ended) => (ended.code, Some(&ended.space)),
        ServerFrame::PostsRefused(refused) => (refused.code, None),
        _ => return None,
    })
}

/// Logs what a connection is told, and answers the code.
pub(crate) fn log(connection: ConnectionId, message: &[u8], at_info: bool) -> Option<Code> {
    let frame = ServerFrame::decode(message).ok()?;
    let (code, about) = told(&frame)?;
    let known = Code::from_number(code);
    // What a client asked for may be anything; it is printed with escapes.
    let (frame, code, address) = (frame.name(), known.map(Code::slug), about);
    if at_info {
        tracing::info!(connection = connection.0, frame, code, ?address, "refused");
    } else {
        tracing::debug!(connection = connection.0, frame, code, ?address, "refused");
    }
    known
}

#[cfg(test)]
mod tests {
    use syncline_engine::wire::frame::{Kicked, Pong, SentAway, StreamAsk, StreamRefused};

    use super::*;

    #[test]
    fn refusals_of_streams_spaces_and_kicks_are_known_by_their_codes() {
        let (message, retry_after_ms) = (String::new(), None);
        let code = Code::Forbidden.number();
        let refused = StreamRefused {
            address: "town/talk/stream".to_owned(),
            asked: StreamAsk::Read,
            code,
            message: message.clone(),
            retry_after_ms,
        };
        let away = SentAway { space: "town".to_owned(), code, message, retry_after_ms };
        let kicked = |refused| Kicked { handle: 1, user: "eve".to_owned(), devices: 1, refused };
        for (frame, expected) in [
            (ServerFrame::from(refused), Some(Code::Forbidden)),
            (away.into(), Some(Code::Forbidden)),
            (kicked(Some(code)).into(), Some(Code::Forbidden)),
            (kicked(None).into(), None),
        ] {
            let message = frame.encode().unwrap();
            assert!(may_be_one(&message), "{frame:?}");
            assert_eq!(log(ConnectionId(1), &message, true), expected, "{frame:?}");
        }
        let pong = ServerFrame::from(Pong { nonce: 1 }).encode().unwrap();
        assert!(!may_be_one(&pong));
        assert_eq!(log(ConnectionId(1), &pong, true), None);
    }

    #[test]
    fn all_frames_that_are_looked_for_are_frames() {
        for name in FRAMES {
            assert!(ServerFrame::KINDS.iter().any(|(_, known)| known == name), "{name}");
        }
    }
}
