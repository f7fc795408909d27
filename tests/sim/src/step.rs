//! What people and the weather do, one step at a time, as values that are drawn from a seed, saved
//! as text, played again and left out one by one. Knows nothing of how they are carried out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Milliseconds after the step before it.
    pub after_ms: u64,
    /// What happens.
    #[serde(flatten)]
    pub action: Action,
}

/// Which side of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

/// What happens. `pick` chooses among what is there when it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "client: whose; pick: which; ms: for how long; the rest by its name"
)]
pub enum Action {
    /// A user does something to a document.
    Command { client: usize, document: usize, pick: u64 },
    /// The app closes a document, and opens it again later.
    CloseDocument { client: usize, document: usize, ms: u64 },
    /// The app wants no connection for a while.
    GoOffline { client: usize, ms: u64 },
    /// The platform says that there is no network for a while.
    LoseNetwork { client: usize, ms: u64 },
    /// The app is out of sight for a while.
    Hide { client: usize, ms: u64 },
    /// The connection is cut; what is under way on it is lost; both ends hear of it in time.
    Cut { client: usize, pick: u64 },
    /// The connection is cut and one side never hears of it.
    HalfOpen { client: usize, hears: Side },
    /// The connection carries nothing any more and nobody is told.
    Stall { client: usize },
    /// The client is back at once, and the server hears of the old connection's end much later.
    Overtake { client: usize, ms: u64 },
    /// The client does not read for a while.
    ReadSlowly { client: usize, ms: u64 },
    /// Nothing gets through between these clients (a set of bits) and the server for a while.
    Partition { clients: u64, ms: u64 },
    /// All connections are cut and everybody comes back at the same moment.
    Herd,
    /// The server's process dies; a commit under way has reached the disk or not.
    CrashServer { reached: bool, ms: u64 },
    /// The server is asked to end, and is started again.
    RestartServer { ms: u64 },
    /// The next write fails and says so; it has reached the disk or not.
    FailWrite { reached: bool },
    /// Every write fails for a while.
    FillDisk { ms: u64 },
    /// Everything on the disk takes long for a while.
    SlowDisk { ms: u64 },
    /// The next so many reads fail.
    FailReads { count: u64 },
    /// A stored record or snapshot loses its end.
    Tear { document: usize, pick: u64 },
    /// A bit of a stored record or snapshot changes.
    Corrupt { document: usize, pick: u64 },
    /// A copy of the server's disk is made.
    Backup,
    /// The server comes back on the last copy of its disk.
    RestoreBackup { ms: u64 },
    /// What is damaged on the server's disk is replaced from the last copy.
    Repair,
    /// The client's process dies; so much of what it was writing has reached its disk.
    CrashClient { client: usize, pick: u64 },
    /// The client ends in good order and is started again.
    RestartClient { client: usize, ms: u64 },
    /// The client comes back with an empty store.
    LoseStore { client: usize },
    /// A copy of the client's store is made.
    CopyStore { client: usize },
    /// The client comes back on the copy of its store.
    RestoreStore { client: usize },
    /// The client neither ticks nor hears for a while.
    Freeze { client: usize, ms: u64 },
    /// The client's clock jumps.
    JumpClock { client: usize, by_ms: i64 },
    /// New tokens take long to get for a while.
    DelayTokens { ms: u64 },
    /// The client is given a new token before it asks.
    RenewToken { client: usize },
    /// A user is given another role, and a token that says so.
    SetRole { client: usize, pick: u64 },
    /// A hostile client does something.
    Attack { who: usize, pick: u64 },
    /// Somebody does something in a space: comes, announces, sends another out.
    Space { client: usize, pick: u64 },
    /// Somebody does something with a stream: writes, reads, ends or interrupts one.
    Stream { client: usize, pick: u64 },
    /// Somebody follows a feed, or leaves it.
    Feed { client: usize, pick: u64 },
    /// What a client announced last arrives a second time, after what it says meanwhile.
    SayAgain { client: usize, ms: u64 },
}

impl Action {
    /// The action's name, as in saved steps.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
            Self::CloseDocument { .. } => "close_document",
            Self::GoOffline { .. } => "go_offline",
            Self::LoseNetwork { .. } => "lose_network",
            Self::Hide { .. } => "hide",
            Self::Cut { .. } => "cut",
            Self::HalfOpen { .. } => "half_open",
            Self::Stall { .. } => "stall",
            Self::Overtake { .. } => "overtake",
            Self::ReadSlowly { .. } => "read_slowly",
            Self::Partition { .. } => "partition",
            Self::Herd => "herd",
            Self::CrashServer { .. } => "crash_server",
            Self::RestartServer { .. } => "restart_server",
            Self::FailWrite { .. } => "fail_write",
            Self::FillDisk { .. } => "fill_disk",
            Self::SlowDisk { .. } => "slow_disk",
            Self::FailReads { .. } => "fail_reads",
            Self::Tear { .. } => "tear",
            Self::Corrupt { .. } => "corrupt",
            Self::Backup => "backup",
            Self::RestoreBackup { .. } => "restore_backup",
            Self::Repair => "repair",
            Self::CrashClient { .. } => "crash_client",
            Self::RestartClient { .. } => "restart_client",
            Self::LoseStore { .. } => "lose_store",
            Self::CopyStore { .. } => "copy_store",
            Self::RestoreStore { .. } => "restore_store",
            Self::Freeze { .. } => "freeze",
            Self::JumpClock { .. } => "jump_clock",
            Self::DelayTokens { .. } => "delay_tokens",
            Self::RenewToken { .. } => "renew_token",
            Self::SetRole { .. } => "set_role",
            Self::Attack { .. } => "attack",
            Self::Space { .. } => "space",
            Self::Stream { .. } => "stream",
            Self::Feed { .. } => "feed",
            Self::SayAgain { .. } => "say_again",
        }
    }

    /// Whether it makes the server lose something that was durable.
    #[must_use]
    pub const fn loses(&self) -> bool {
        matches!(self, Self::RestoreBackup { .. } | Self::Tear { .. } | Self::Corrupt { .. })
    }

    /// Whether it is something that goes wrong, and not what people do on a good day.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Command { .. }
                | Self::CloseDocument { .. }
                | Self::Backup
                | Self::CopyStore { .. }
                | Self::RenewToken { .. }
                | Self::Space { .. }
                | Self::Stream { .. }
                | Self::Feed { .. }
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        // The rest as it is saved, without the name.
        let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(self) else {
            return Ok(());
        };
        fields
            .iter()
            .filter(|(key, _)| *key != "do")
            .try_for_each(|(key, v)| write!(f, " {key}={v}"))
    }
}
