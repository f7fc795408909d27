//! What can be set, from where, and what holds if nothing is: flag before environment before file
//! before default.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use syncline_engine::hub::{self, Authenticator};
use syncline_engine::ids::{NameError, UserId};
use syncline_engine::policy::Role;

use crate::store::SledOptions;
use crate::webhooks::{Webhook, WebhooksError};

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration file is not TOML, or has a key that is not known, or a value that does not
    /// fit its key.
    #[error("the configuration file {} is not right: {source}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What and where.
        source: Box<toml::de::Error>,
    },
    /// A name that no user can have.
    #[error("{name:?} in {setting} is not a name: {source}")]
    Name {
        /// The name.
        name: String,
        /// Which setting.
        setting: &'static str,
        /// Why not.
        source: NameError,
    },
    /// The file of webhooks cannot be used.
    #[error(transparent)]
    Webhooks(#[from] WebhooksError),
    /// A number that makes no sense.
    #[error("{name} must be at least {min}")]
    TooSmall {
        /// Which setting.
        name: &'static str,
        /// The smallest that is allowed.
        min: u64,
    },
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Where the log of documents is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In a directory that is created if it is not there.
    Directory(PathBuf),
    /// In memory, for tests and demonstrations: it ends with the server.
    Memory,
}

/// How clients prove who they are.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Authentication {
    /// Not at all: names are taken at their word. Only on loopback.
    Names,
    /// By tokens ([`crate::Tokens`]).
    Tokens {
        /// The file with the keys.
        keys: PathBuf,
        /// For whom tokens must be made.
        audience: Option<String>,
    },
    /// As the embedding program decides.
    Custom(Arc<dyn Authenticator>),
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $(#[clap($($arg:meta),+)])? $name:ident ($env:literal): $type:ty,)+) => {
        /// What may be set by flag, environment or file. Everything is optional.
        #[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $(
                $(#[doc = $doc])+
                #[arg(long, env = $env $(, $($arg),+)?)]
                pub $name: Option<$type>,
            )+
        }

        impl Settings {
            /// These settings, and where they say nothing, those of `other`.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)+ }
            }
        }
    };
}

settings! {
    /// Address and port to listen on; port 0 picks a free one [default: 127.0.0.1:4400]
    #[clap(value_name = "ADDRESS")]
    listen("SYNCLINE_LISTEN"): SocketAddr,
    /// Directory of the documents' log [default: ./syncline-data]
    #[clap(value_name = "DIR")]
    data("SYNCLINE_DATA"): PathBuf,
    /// Public or shared keys that users' tokens are signed with, a JSON Web Key Set; read again when
    /// the file changes. Without it names are taken at their word, on loopback only
    #[clap(value_name = "FILE")]
    auth_keys("SYNCLINE_AUTH_KEYS"): PathBuf,
    /// For whom tokens must be made (their aud) [default: anyone]
    #[clap(value_name = "NAME")]
    auth_audience("SYNCLINE_AUTH_AUDIENCE"): String,
    /// Users who own every space: they may do everything and change its rules
    #[clap(value_name = "NAMES", value_delimiter = ',')]
    owners("SYNCLINE_OWNERS"): Vec<String>,
    /// Users who may write in the names of others, to carry data over from elsewhere
    #[clap(value_name = "NAMES", value_delimiter = ',')]
    importers("SYNCLINE_IMPORTERS"): Vec<String>,
    /// Receivers that are told what was accepted, a file in TOML (docs/WEBHOOKS.md)
    #[clap(value_name = "FILE")]
    webhooks("SYNCLINE_WEBHOOKS"): PathBuf,
    /// What to log, for example "info" or "syncline_server=debug" [default: info]
    #[clap(value_name = "FILTER")]
    log("SYNCLINE_LOG"): String,
    /// How log lines look [default: text]
    #[clap(value_enum)]
    log_format("SYNCLINE_LOG_FORMAT"): LogFormat,
    /// Connections that may be open at the same time [default: 50000]
    #[clap(value_name = "N")]
    connections_max("SYNCLINE_CONNECTIONS_MAX"): u32,
    /// Close a connection whose socket took nothing for this long [default: 60000]
    #[clap(value_name = "MS")]
    write_stall_ms("SYNCLINE_WRITE_STALL_MS"): u64,
    /// How long a graceful end may take [default: 10000]
    #[clap(value_name = "MS")]
    shutdown_ms("SYNCLINE_SHUTDOWN_MS"): u64,
    /// Memory for the store's cached pages [default: 67108864]
    #[clap(value_name = "BYTES")]
    cache_bytes("SYNCLINE_CACHE_BYTES"): u64,
    /// After how long without use the store lets go of its cached pages [default: 2000]
    #[clap(value_name = "MS")]
    cache_idle_ms("SYNCLINE_CACHE_IDLE_MS"): u64,
    /// How often a client should be heard of; after twice that it is given up [default: 30000]
    #[clap(value_name = "MS")]
    heartbeat_ms("SYNCLINE_HEARTBEAT_MS"): u64,
    /// Documents that one connection may hold open [default: 1000]
    #[clap(value_name = "N")]
    documents_max("SYNCLINE_DOCUMENTS_MAX"): u32,
    /// Bytes of changes that one document may have [default: 67108864]
    #[clap(value_name = "BYTES")]
    document_bytes_max("SYNCLINE_DOCUMENT_BYTES_MAX"): u64,
    /// How long leases outlive a connection that broke [default: 30000]
    #[clap(value_name = "MS")]
    lease_grace_ms("SYNCLINE_LEASE_GRACE_MS"): u64,
    /// After how long without a push a lease ends [default: 60000]
    #[clap(value_name = "MS")]
    lease_idle_ms("SYNCLINE_LEASE_IDLE_MS"): u64,
    /// After how long without use a document leaves memory [default: 60000]
    #[clap(value_name = "MS")]
    evict_idle_ms("SYNCLINE_EVICT_IDLE_MS"): u64,
    /// Changes above a document's snapshot that call for a new one [default: 2000]
    #[clap(value_name = "N")]
    compact_entries("SYNCLINE_COMPACT_ENTRIES"): u64,
    /// Bytes of changes above a document's snapshot that call for a new one [default: 524288]
    #[clap(value_name = "BYTES")]
    compact_bytes("SYNCLINE_COMPACT_BYTES"): u64,
    /// Changes that stay readable below a snapshot, for clients a little behind [default: 500]
    #[clap(value_name = "N")]
    compact_keep("SYNCLINE_COMPACT_KEEP"): u64,
    /// Past writers after which a document begins a new epoch without its history [default: 1000]
    #[clap(value_name = "N")]
    rollover_actors("SYNCLINE_ROLLOVER_ACTORS"): u32,
    /// Bytes of changes above which a document begins a new epoch without its history [default: 16777216]
    #[clap(value_name = "BYTES")]
    rollover_bytes("SYNCLINE_ROLLOVER_BYTES"): u64,
    /// How long a client may be offline and still find its place after that [default: 2592000000]
    #[clap(value_name = "MS")]
    offline_window_ms("SYNCLINE_OFFLINE_WINDOW_MS"): u64,
}

impl Settings {
    /// Reads a configuration file: TOML, the keys as the flags, with `_` for `-`.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be read or says something that is not understood.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Malformed {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Fills in the defaults.
    ///
    /// # Errors
    /// [`ConfigError::TooSmall`] if a number makes no sense, [`ConfigError::Name`] if no user can
    /// have a name.
    pub fn config(self) -> Result<Config, ConfigError> {
        self.check()?;
        let (hub, roles, default) = (self.hub(), self.roles()?, Config::default());
        let webhooks = self.webhooks.as_deref().map(Webhook::read).transpose()?;
        Ok(Config {
            roles,
            webhooks: webhooks.unwrap_or_default(),
            listen: self.listen.unwrap_or(default.listen),
            storage: self.data.map_or(default.storage, Storage::Directory),
            authentication: match self.auth_keys {
                Some(keys) => Authentication::Tokens { keys, audience: self.auth_audience },
                None => default.authentication,
            },
            cache_bytes: self.cache_bytes.unwrap_or(default.cache_bytes),
            cache_idle: millis(self.cache_idle_ms, default.cache_idle),
            connections_max: self.connections_max.unwrap_or(default.connections_max),
            write_stall: millis(self.write_stall_ms, default.write_stall),
            shutdown: millis(self.shutdown_ms, default.shutdown),
            hub,
        })
    }

    fn hub(&self) -> hub::Config {
        let default = hub::Config::default();
        hub::Config {
            heartbeat: millis(self.heartbeat_ms, default.heartbeat),
            grace: millis(self.lease_grace_ms, default.grace),
            lease_idle: millis(self.lease_idle_ms, default.lease_idle),
            document_idle: millis(self.evict_idle_ms, default.document_idle),
            documents_max: self.documents_max.unwrap_or(default.documents_max),
            document_bytes_max: self.document_bytes_max.unwrap_or(default.document_bytes_max),
            compact_entries: self.compact_entries.unwrap_or(default.compact_entries),
            compact_bytes: self.compact_bytes.unwrap_or(default.compact_bytes),
            compact_keep: self.compact_keep.unwrap_or(default.compact_keep),
            rollover_actors: self
                .rollover_actors
                .and_then(|actors| usize::try_from(actors).ok())
                .unwrap_or(default.rollover_actors),
            rollover_bytes: self.rollover_bytes.unwrap_or(default.rollover_bytes),
            offline_window: millis(self.offline_window_ms, default.offline_window),
            ..default
        }
    }

    fn roles(&self) -> Result<BTreeMap<UserId, Role>, ConfigError> {
        let lists =
            [("importers", &self.importers, Role::Importer), ("owners", &self.owners, Role::Owner)];
        let mut roles = BTreeMap::new();
        for (setting, names, role) in lists {
            for name in names.iter().flatten() {
                let user = UserId::new(name.trim()).map_err(|source| ConfigError::Name {
                    name: name.clone(),
                    setting,
                    source,
                })?;
                roles.insert(user, role.clone());
            }
        }
        Ok(roles)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let smallest = [
            ("connections_max", self.connections_max.map(u64::from), 1),
            ("write_stall_ms", self.write_stall_ms, 100),
            ("cache_bytes", self.cache_bytes, 1 << 20),
            ("cache_idle_ms", self.cache_idle_ms, 1),
            ("heartbeat_ms", self.heartbeat_ms, 10),
            ("documents_max", self.documents_max.map(u64::from), 1),
            ("compact_entries", self.compact_entries, 1),
            ("compact_bytes", self.compact_bytes, 1),
            ("rollover_actors", self.rollover_actors.map(u64::from), 1),
            ("rollover_bytes", self.rollover_bytes, 1),
        ];
        for (name, value, min) in smallest {
            if value.is_some_and(|value| value < min) {
                return Err(ConfigError::TooSmall { name, min });
            }
        }
        Ok(())
    }
}

fn millis(setting: Option<u64>, default: Duration) -> Duration {
    setting.map_or(default, Duration::from_millis)
}

/// Everything that a server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where the log is kept.
    pub storage: Storage,
    /// How clients prove who they are.
    pub authentication: Authentication,
    /// Users with a role in every space, whatever else says who they are.
    pub roles: BTreeMap<UserId, Role>,
    /// Receivers that are told what was accepted.
    pub webhooks: Vec<Webhook>,
    /// Memory for the cached pages of a store on disk.
    pub cache_bytes: u64,
    /// After how long without use a store on disk lets go of its cached pages.
    pub cache_idle: Duration,
    /// Connections that may be open at the same time.
    pub connections_max: u32,
    /// A connection whose socket took nothing for this long is closed.
    pub write_stall: Duration,
    /// How long a graceful end may take.
    pub shutdown: Duration,
    /// What the hub may be told.
    pub hub: hub::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4400)),
            storage: Storage::Directory(PathBuf::from("./syncline-data")),
            authentication: Authentication::Names,
            roles: BTreeMap::new(),
            webhooks: Vec::new(),
            cache_bytes: SledOptions::CACHE_BYTES,
            cache_idle: SledOptions::CACHE_IDLE,
            connections_max: 50_000,
            write_stall: Duration::from_secs(60),
            shutdown: Duration::from_secs(10),
            hub: hub::Config::default(),
        }
    }
}
