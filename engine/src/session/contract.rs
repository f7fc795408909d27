//! What a session hears, asks and tells: the contract with its driver and with the app. No rule lives
//! here.

use bytes::Bytes;

use crate::codes::Code;
use crate::document::{Command, Event};
use crate::ids::{Address, StreamAddress, Ulid, UserId};
use crate::replica::Resolution;
use crate::session::presence::{SpaceAct, SpaceNews};
use crate::wire::CloseCode;

/// A connection's number, counted up by the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A store request's number, counted up by the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreToken(pub u64);

/// A command's name for as long as it is of interest, also across restarts.
pub type CommandId = Ulid;

/// One change to the device's store, an ordered map of byte strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreWrite {
    /// Sets a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its value.
        value: Bytes,
    },
    /// Removes a key, if it is there.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

/// Everything that the world can say to a session.
#[derive(Debug)]
pub enum Input {
    /// The app wants to be connected (or not). A session begins disconnected.
    SetOnline(bool),
    /// The platform says whether there is a network. A session begins with one.
    SetNetwork(bool),
    /// Whether somebody can see the app: a tab in front, an application in the foreground. A
    /// session begins visible. Out of sight it keeps its connection for a while.
    SetVisible(bool),
    /// The user did something in the app, be it to move the mouse: who does nothing for
    /// [`Config::idle_after`](super::Config::idle_after) is shown as idle in spaces. Commands and
    /// what is done in a space count by themselves.
    Active,
    /// The app does something in a space.
    Space {
        /// In which.
        space: String,
        /// What.
        act: SpaceAct,
    },
    /// Try to connect now instead of waiting for the next attempt.
    Reconnect,
    /// The app has a new token. An open connection goes on with it, and one that had failed for
    /// the old one is tried again.
    SetToken(String),
    /// The app opens a document: it is read from the store and kept in sync while open.
    Open {
        /// Which.
        address: Address,
        /// Whether the app means to write soon: a lease is asked for along with the subscription.
        write: bool,
    },
    /// The app closes a document. What is pending in it is still sent.
    Close {
        /// Which.
        address: Address,
    },
    /// The app follows the posts of a space, or follows more or fewer of them.
    FollowFeed {
        /// Which space.
        space: String,
        /// How many posts at most.
        newest: usize,
    },
    /// The app does not follow them any more.
    LeaveFeed {
        /// Of which space.
        space: String,
    },
    /// The user does something.
    Command {
        /// The command's name, new and unique.
        id: CommandId,
        /// In which document, which must be open.
        address: Address,
        /// What.
        command: Command,
    },
    /// The app has heard how a command ended, and is not to hear it again.
    Taken {
        /// Which command.
        id: CommandId,
    },
    /// The app has no more use for a command that was rolled back.
    Dismissed {
        /// Which command.
        id: CommandId,
    },
    /// Answers [`Effect::Connect`]: the socket is open.
    Connected {
        /// Which connection.
        connection: ConnectionId,
    },
    /// A binary message arrived.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// The whole message.
        message: Bytes,
    },
    /// The connection is gone, or could not be made.
    Disconnected {
        /// Which connection.
        connection: ConnectionId,
        /// The WebSocket close code, if one came.
        code: Option<CloseCode>,
        /// What went wrong, for people.
        reason: String,
    },
    /// Answers [`Effect::Write`].
    Written {
        /// Which request.
        token: StoreToken,
        /// An error ends the session: nothing more can be promised.
        result: Result<(), String>,
    },
    /// Answers [`Effect::Read`].
    Read {
        /// Which request.
        token: StoreToken,
        /// The keys with that prefix and their values, in order.
        result: Result<Vec<(Vec<u8>, Bytes)>, String>,
    },
    /// Time passed.
    Tick,
    /// The app ends: say goodbye so that leases end at once, then [`Effect::Stop`].
    Shutdown,
}

/// Everything that a session can ask of the world.
#[derive(Debug)]
pub enum Effect {
    /// Open a connection to the server.
    Connect {
        /// Its number.
        connection: ConnectionId,
    },
    /// Send a message.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// The whole message.
        message: Bytes,
    },
    /// Close the connection after what was sent.
    Disconnect {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Write durably, all or nothing, in the order asked.
    Write {
        /// The request.
        token: StoreToken,
        /// What to write.
        writes: Vec<StoreWrite>,
    },
    /// Read all keys with a prefix. Sees every write asked for before it.
    Read {
        /// The request.
        token: StoreToken,
        /// The prefix.
        prefix: Vec<u8>,
    },
    /// Tell the app.
    Notify(Notice),
    /// Everything is said and stored: the driver may end.
    Stop,
}

/// What an app hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The connection's phase changed.
    Connection(ConnectionStatus),
    /// The token will run out soon, or has: [`Input::SetToken`] is awaited.
    TokenWanted,
    /// A document's sync state changed.
    Document {
        /// Which.
        address: Address,
        /// Its state.
        status: DocumentStatus,
    },
    /// A document's view changed.
    Changed {
        /// Which.
        address: Address,
        /// What changed in it, in order.
        events: Vec<Event>,
        /// Whether this device's user did it.
        local: bool,
    },
    /// A command was applied to the view; it is pending from here on.
    Applied {
        /// Which.
        id: CommandId,
        /// Where.
        address: Address,
    },
    /// A command came to its end. Told once in the life of a session; what the app does not answer
    /// by [`Input::Taken`] is told to the next one by [`Session::endings`](super::Session::endings).
    /// A rollback is told when the store holds it.
    Resolved {
        /// Which.
        id: CommandId,
        /// Where.
        address: Address,
        /// What the command was, to show or to try again.
        command: Command,
        /// How it ended.
        resolution: Resolution,
    },
    /// More was rolled back and not dismissed than may be kept: the oldest is not kept any more.
    Dropped {
        /// Which command.
        id: CommandId,
        /// Where.
        address: Address,
        /// What it was: this is the last time that it is seen.
        command: Command,
    },
    /// Something happened in a space that the app is in.
    Space {
        /// In which.
        space: String,
        /// What.
        news: SpaceNews,
    },
    /// Something has changed about a stream that is read, written or interrupted: there is text to take,
    /// room to write, or news of how it stands.
    Stream {
        /// Which.
        address: StreamAddress,
    },
    /// A feed shows something else, or is in another state
    /// ([`Session::feed`](super::Session::feed)).
    Feed {
        /// Of which space.
        space: String,
        /// The posts that changed, came or went.
        changed: Vec<String>,
    },
    /// A document can't be opened or kept in sync.
    Problem {
        /// Which, if it concerns one.
        address: Option<Address>,
        /// Why.
        code: Code,
        /// A sentence that helps.
        message: String,
    },
}

/// Where the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionStatus {
    /// Not asked to connect.
    Idle,
    /// The platform says that there is no network.
    Offline,
    /// Out of sight for so long that the connection was closed.
    Paused,
    /// A socket is being opened.
    Connecting,
    /// Hello is said, Welcome awaited.
    Authenticating,
    /// In contact.
    Connected,
    /// Waiting for the next attempt.
    Reconnecting {
        /// Which attempt comes next; 1 is the first.
        attempt: u32,
        /// In how many milliseconds.
        in_ms: u64,
    },
    /// Ended for a reason that trying again would not mend.
    Failed {
        /// The reason.
        code: Code,
        /// A sentence that helps.
        message: String,
    },
}

/// Where a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentStatus {
    /// Whether it is read from the store and can be looked at and edited.
    pub ready: bool,
    /// Whether it is caught up with the server.
    pub live: bool,
    /// Commands that are not resolved.
    pub pending: usize,
    /// The seq up to which the server's log is known.
    pub seq: u64,
}

/// Who a session is, as the store remembers it or as drawn for a new store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// What proves it, where the server asks.
    pub token: Option<String>,
    /// Name and version of the app, for the server's logs.
    pub agent: String,
    /// Drawn at random for this process: session and outbox of a new store, jitter, provisional
    /// actors.
    pub seed: [u8; 32],
}
