//! A run as a value: how the world is made, and what happens in it. Drawn from a seed, saved as JSON
//! and read back. Plays nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncline_engine::{hub, session};

use crate::choices::Choices;
use crate::social::{Social, SocialSetup};
use crate::step::{Action, Side, Step};
use crate::weather;

/// How many faults are drawn to be possible in one run, of all there are.
const RATES: &[(&str, u64)] = &[
    ("cut", 40),
    ("half_open", 12),
    ("stall", 12),
    ("overtake", 20),
    ("read_slowly", 20),
    ("partition", 10),
    ("herd", 8),
    ("crash_server", 16),
    ("restart_server", 8),
    ("fail_write", 8),
    ("fill_disk", 6),
    ("slow_disk", 10),
    ("fail_reads", 8),
    ("tear", 5),
    ("corrupt", 5),
    ("backup", 16),
    ("restore_backup", 10),
    ("repair", 10),
    ("crash_client", 16),
    ("restart_client", 12),
    ("lose_store", 6),
    ("copy_store", 16),
    ("restore_store", 8),
    ("freeze", 12),
    ("jump_clock", 12),
    ("delay_tokens", 10),
    ("renew_token", 10),
    ("set_role", 12),
    ("go_offline", 30),
    ("lose_network", 20),
    ("hide", 16),
    ("close_document", 20),
    ("attack", 60),
];

/// Faults by which the server loses what it had.
const LOSING: &[&str] = &["restore_backup", "tear", "corrupt"];
/// The fault by which a client comes back on an old copy of its store. Together with a server that has
/// lost something it is known not to be survived: the copy may hold a change that its client has
/// written anew under the same name, and which of the two the log had the server does not know any
/// more.
const COPIED_STORE: &str = "restore_store";

/// What the server is configured with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of hub::Config, times in milliseconds")]
pub struct ServerSetup {
    pub grace: u64,
    pub lease_idle: u64,
    pub document_idle: u64,
    pub document_bytes_max: u64,
    pub outstanding_bytes_max: usize,
    pub unread_bytes_max: usize,
    pub ring_bytes_max: usize,
    pub record_bytes_max: usize,
    pub connection_pending_bytes_max: usize,
    pub compact_entries: u64,
    pub compact_keep: u64,
    // Not in runs that were saved before there were rollovers.
    #[serde(default = "for_ever")]
    pub rollover_actors: u64,
    #[serde(default = "for_ever")]
    pub rollover_bytes: u64,
    #[serde(default = "for_ever")]
    pub offline_window: u64,
    // Not in runs that were saved before there were quotas.
    #[serde(default)]
    pub user_changes_per_s: u32,
    // Not in runs that were saved before there were spaces, streams and feeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub social: Option<SocialSetup>,
}

/// More than any run lasts or counts.
pub(crate) const FOR_EVER: u64 = 1 << 50;

const fn for_ever() -> u64 {
    FOR_EVER
}

impl ServerSetup {
    /// The hub's configuration.
    #[must_use]
    pub fn config(&self) -> hub::Config {
        let mut config = hub::Config {
            grace: Duration::from_millis(self.grace),
            lease_idle: Duration::from_millis(self.lease_idle),
            document_idle: Duration::from_millis(self.document_idle),
            document_bytes_max: self.document_bytes_max,
            outstanding_bytes_max: self.outstanding_bytes_max,
            unread_bytes_max: self.unread_bytes_max,
            ring_bytes_max: self.ring_bytes_max,
            record_bytes_max: self.record_bytes_max,
            connection_pending_bytes_max: self.connection_pending_bytes_max,
            compact_entries: self.compact_entries,
            compact_keep: self.compact_keep,
            rollover_actors: usize::try_from(self.rollover_actors).unwrap_or(usize::MAX),
            rollover_bytes: self.rollover_bytes,
            offline_window: Duration::from_millis(self.offline_window),
            quotas: hub::Quotas {
                user_changes_per_s: self.user_changes_per_s,
                burst: Duration::from_secs(2),
                hold_max: Duration::from_secs(3),
                ..hub::Quotas::none()
            },
            ..hub::Config::default()
        };
        if let Some(social) = &self.social {
            social.configure(&mut config);
        }
        config
    }

    fn draw(choices: &mut Choices) -> Self {
        // Mostly so much that it does not matter, and then so little that it does.
        let small = choices.per_mille(150);
        Self {
            grace: choices.between(100, 30_000),
            lease_idle: choices.between(2_000, 60_000),
            document_idle: choices.between(1_000, 60_000),
            document_bytes_max: if small { choices.between(4_000, 30_000) } else { 64 << 20 },
            outstanding_bytes_max: 2_048 << choices.below(8),
            unread_bytes_max: 256 << 10,
            ring_bytes_max: 2_048 << choices.below(10),
            record_bytes_max: 1_024 << choices.below(10),
            connection_pending_bytes_max: 8_192 << choices.below(10),
            compact_entries: 20 + choices.below(60),
            compact_keep: 5 + choices.below(20),
            rollover_actors: if choices.per_mille(500) { 2 + choices.below(7) } else { FOR_EVER },
            rollover_bytes: if choices.per_mille(500) {
                1_024 << choices.below(5)
            } else {
                FOR_EVER
            },
            offline_window: if choices.per_mille(150) {
                choices.between(1_000, 200_000)
            } else {
                FOR_EVER
            },
            user_changes_per_s: 0,
            social: None,
        }
    }
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSetup {
    /// Which user's it is.
    pub user: usize,
    /// By how much its clock is off.
    pub skew_ms: i64,
    /// The measured series that its network follows, and where it begins; else the delay is even.
    pub weather: Option<(String, u64)>,
    /// The longest one-way delay where no series says it.
    pub delay_ms_max: u64,
    /// Bytes that its network carries in a second.
    pub bytes_per_s: u64,
    /// How many messages of a thousand are lost once and come later.
    pub loss_per_mille: u64,
    /// [`session::Config::push_changes_max`].
    pub push_changes_max: usize,
    /// [`session::Config::push_interval`] in milliseconds.
    pub push_interval: u64,
    /// [`session::Config::in_flight_max`].
    pub in_flight_max: u64,
    /// [`session::Config::compact_after`].
    pub compact_after: usize,
    /// [`session::Config::idle_after`] in milliseconds; the default where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_after: Option<u64>,
}

impl ClientSetup {
    /// The session's configuration.
    #[must_use]
    pub fn config(&self) -> session::Config {
        let config = session::Config::default();
        session::Config {
            idle_after: self.idle_after.map_or(config.idle_after, Duration::from_millis),
            push_changes_max: self.push_changes_max,
            push_interval: Duration::from_millis(self.push_interval),
            in_flight_max: self.in_flight_max,
            compact_after: self.compact_after,
            ..config
        }
    }

    fn draw(choices: &mut Choices, number: usize) -> Self {
        let names: Vec<&str> = weather::names().collect();
        let name = names[choices.index(names.len())].to_owned();
        let begin = choices.below(4_000);
        let skew = choices.between(0, 7_200_000).cast_signed() - 3_600_000;
        // Two devices may be one user's.
        let user = if choices.per_mille(200) { choices.index(number + 1) } else { number };
        Self {
            user,
            skew_ms: if choices.per_mille(300) { skew } else { 0 },
            weather: choices.per_mille(250).then_some((name, begin)),
            delay_ms_max: 1 + choices.below(120),
            bytes_per_s: 20_000 << choices.below(10),
            loss_per_mille: if choices.per_mille(300) { choices.below(50) } else { 0 },
            push_changes_max: 1 + choices.index(50),
            push_interval: choices.below(400),
            in_flight_max: 1 << choices.below(11),
            compact_after: 2 + choices.index(16),
            idle_after: None,
        }
    }
}

/// How a world is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The documents, as addresses.
    pub documents: Vec<String>,
    /// How the server is configured.
    pub server: ServerSetup,
    /// The devices.
    pub clients: Vec<ClientSetup>,
    /// How many hostile clients there are.
    pub hostile: usize,
    /// How long a token counts, where the server asks for one.
    pub token_ms: Option<u64>,
}

impl Setup {
    fn draw(choices: &mut Choices) -> Self {
        let server = ServerSetup::draw(choices);
        let mut documents: Vec<String> =
            ["post", "likes", "comments", "json"].map(|facet| format!("sim/one/{facet}")).into();
        if choices.per_mille(300) {
            documents.push("sim/two/comments".to_owned());
        }
        let clients = (0..2 + choices.index(4)).map(|n| ClientSetup::draw(choices, n)).collect();
        Self {
            documents,
            server,
            clients,
            hostile: usize::from(choices.per_mille(350)),
            token_ms: choices.per_mille(350).then(|| choices.between(20_000, 300_000)),
        }
    }
}

/// All of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What it was drawn from, and what all delays in it are drawn from.
    pub seed: u64,
    /// How the world is made.
    pub setup: Setup,
    /// What happens in it.
    pub steps: Vec<Step>,
}

impl Run {
    /// Draws so many steps. Each run first draws which faults it has, and how often; a copied
    /// store and a server that loses something only if `together`, because that is known not to be
    /// survived.
    #[must_use]
    pub fn draw(seed: u64, steps: usize, together: bool) -> Self {
        let mut choices = Choices::new(seed);
        let mut setup = Setup::draw(&mut choices);
        // Drawn apart, so that what a seed meant before there were quotas it means without them.
        let mut pace = Choices::of(seed, 2);
        if pace.per_mille(150) {
            setup.server.user_changes_per_s = u32::try_from(pace.between(1, 8)).unwrap_or(0);
        }
        let (mut social, social_setup) = Social::draw(seed);
        if social_setup.is_some() {
            for client in &mut setup.clients {
                client.idle_after = Some(social.idle_after());
            }
        }
        setup.server.social = social_setup;
        if social.has_feeds() {
            setup.documents.push("sim/two/post".to_owned());
        }
        let calm = choices.per_mille(50);
        let mut rate = |max: u64| match choices.per_mille(400) && !calm {
            true => 1 + choices.below(max),
            false => 0,
        };
        let mut rates: Vec<(&str, u64)> =
            RATES.iter().map(|(name, max)| (*name, rate(*max))).collect();
        // Of two that are not survived together, a run has one.
        let have = |rates: &[(&str, u64)], names: &[&str]| {
            rates.iter().any(|(name, rate)| names.contains(name) && *rate > 0)
        };
        let store_first = choices.per_mille(500);
        if !together && have(&rates, &[COPIED_STORE]) && have(&rates, LOSING) {
            let gone = if store_first { LOSING } else { &[COPIED_STORE] };
            rates.iter_mut().filter(|(name, _)| gone.contains(name)).for_each(|(_, r)| *r = 0);
        }
        // What a full document lost it cannot take back.
        let full = setup.server.document_bytes_max < 1 << 20;
        let loses = |name: &&str| full && LOSING.contains(name);
        rates.iter_mut().filter(|(name, _)| loses(name)).for_each(|(_, rate)| *rate = 0);
        // Nothing comes back from a copy that nobody made.
        for (copy, back) in [("backup", "restore_backup"), ("copy_store", "restore_store")] {
            if rates.iter().any(|(name, rate)| *name == back && *rate > 0) {
                rates.iter_mut().filter(|(name, _)| *name == copy).for_each(|(_, rate)| *rate = 20);
            }
        }
        let mut run = Self { seed, setup, steps: Vec::with_capacity(steps) };
        while run.steps.len() < steps {
            let step = run.step(&mut choices, &rates);
            run.steps.push(step);
        }
        let (clients, documents) = (run.setup.clients.len(), run.setup.documents.len());
        run.steps = social.mix(run.steps, clients, documents);
        run
    }

    fn step(&self, choices: &mut Choices, rates: &[(&str, u64)]) -> Step {
        let long = choices.per_mille(40);
        let after_ms = if long { choices.below(20_000) } else { choices.below(250) };
        let mut drawn = choices.below(1_000);
        for (name, rate) in rates {
            if drawn < *rate {
                if let Some(action) = self.fault(choices, name) {
                    return Step { after_ms, action };
                }
                break;
            }
            drawn -= rate;
        }
        let (client, document) = self.place(choices);
        Step { after_ms, action: Action::Command { client, document, pick: choices.number() } }
    }

    fn place(&self, choices: &mut Choices) -> (usize, usize) {
        (choices.index(self.setup.clients.len()), choices.index(self.setup.documents.len()))
    }

    fn fault(&self, choices: &mut Choices, name: &str) -> Option<Action> {
        let (client, document) = self.place(choices);
        let pick = choices.number();
        let reached = choices.per_mille(500);
        // Short mostly; some longer than any patience in the machines.
        let longest = [2_000, 15_000, 100_000][choices.index(3)];
        let ms = 1 + choices.below(longest);
        Some(match name {
            "cut" => Action::Cut { client, pick },
            "half_open" => {
                let hears = if reached { Side::Client } else { Side::Server };
                Action::HalfOpen { client, hears }
            }
            "stall" => Action::Stall { client },
            "overtake" => Action::Overtake { client, ms },
            "read_slowly" => Action::ReadSlowly { client, ms },
            "partition" => {
                Action::Partition { clients: pick & ((1 << self.setup.clients.len()) - 1), ms }
            }
            "herd" => Action::Herd,
            "crash_server" => Action::CrashServer { reached, ms: ms.min(20_000) },
            "restart_server" => Action::RestartServer { ms: ms.min(20_000) },
            "fail_write" => Action::FailWrite { reached },
            "fill_disk" => Action::FillDisk { ms: ms.min(20_000) },
            "slow_disk" => Action::SlowDisk { ms },
            "fail_reads" => Action::FailReads { count: 1 + pick % 3 },
            "tear" => Action::Tear { document, pick },
            "corrupt" => Action::Corrupt { document, pick },
            "backup" => Action::Backup,
            "restore_backup" => Action::RestoreBackup { ms: ms.min(20_000) },
            "repair" => Action::Repair,
            "crash_client" => Action::CrashClient { client, pick },
            "restart_client" => Action::RestartClient { client, ms },
            "lose_store" => Action::LoseStore { client },
            "copy_store" => Action::CopyStore { client },
            "restore_store" => Action::RestoreStore { client },
            "freeze" => Action::Freeze { client, ms },
            "jump_clock" => {
                let by_ms = (pick % 1_200_000).cast_signed() - 600_000;
                Action::JumpClock { client, by_ms }
            }
            "delay_tokens" => Action::DelayTokens { ms },
            "renew_token" => Action::RenewToken { client },
            "set_role" => Action::SetRole { client, pick },
            "go_offline" => Action::GoOffline { client, ms },
            "lose_network" => Action::LoseNetwork { client, ms },
            "hide" => Action::Hide { client, ms: ms * 10 },
            "close_document" => Action::CloseDocument { client, document, ms },
            "attack" if self.setup.hostile > 0 => {
                let who = choices.index(self.setup.hostile);
                Action::Attack { who, pick }
            }
            _ => return None,
        })
    }
}
