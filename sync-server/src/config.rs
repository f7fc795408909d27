//! What can be set, from where, and what holds if nothing is: flag before environment before file
//! before default.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use syncline_engine::hub::{self, Authenticator, Quotas};
use syncline_engine::ids::{NameError, UserId};
use syncline_engine::policy::Role;

pub use crate::addresses::AddressLimits;
use crate::store::SledOptions;
use crate::tls::TlsFiles;
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
    /// A setting that means nothing without another.
    #[error("{given} needs {missing} beside it")]
    Incomplete {
        /// The one that was given.
        given: &'static str,
        /// The one that was not.
        missing: &'static str,
    },
    /// A page's origin that no browser would send.
    #[error(
        "{0:?} in cors_origins is no origin; one looks like https://app.example or http://localhost:3000"
    )]
    Origin(String),
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

/// Whether users, spaces and addresses have limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Limited {
    /// The ones that are set, and the defaults.
    #[default]
    On,
    /// None, for measuring, and behind something else that limits.
    Off,
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
    /// Certificate chain in PEM, for TLS; read again when the file changes, or on SIGHUP
    #[clap(value_name = "FILE")]
    tls_cert("SYNCLINE_TLS_CERT"): PathBuf,
    /// The certificate's private key in PEM
    #[clap(value_name = "FILE")]
    tls_key("SYNCLINE_TLS_KEY"): PathBuf,
    /// Address and port of a listener for /metrics, /dashboard and the health pages, open to all who
    /// reach it [default: on --listen, for this machine only]
    #[clap(value_name = "ADDRESS")]
    metrics_listen("SYNCLINE_METRICS_LISTEN"): SocketAddr,
    /// How long to wait for a process that holds the data directory or the address [default: 0]
    #[clap(value_name = "MS")]
    takeover_ms("SYNCLINE_TAKEOVER_MS"): u64,
    /// Clients that come back in a second after the server ended, on average: the more there were,
    /// the longer the time over which they are spread [default: 500]
    #[clap(value_name = "N")]
    returns_per_second("SYNCLINE_RETURNS_PER_SECOND"): u32,
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
    /// Origins (SCHEME://HOST) of pages that may talk to the server from a browser, or * for all
    /// [default: none but its own; without keys also those of this machine]
    #[clap(value_name = "ORIGINS", value_delimiter = ',')]
    cors_origins("SYNCLINE_CORS_ORIGINS"): Vec<String>,
    /// Receivers that are told what was accepted, a file in TOML (docs/WEBHOOKS.md)
    #[clap(value_name = "FILE")]
    webhooks("SYNCLINE_WEBHOOKS"): PathBuf,
    /// What to log, for example "info" or "syncline_server=debug" [default: info]
    #[clap(value_name = "FILTER")]
    log("SYNCLINE_LOG"): String,
    /// How log lines look [default: text]
    #[clap(value_enum)]
    log_format("SYNCLINE_LOG_FORMAT"): LogFormat,
    /// Where to send traces to, an OTLP collector's HTTP endpoint such as http://127.0.0.1:4318; needs a
    /// build with the feature otlp [default: nowhere]
    #[clap(value_name = "URL")]
    otlp_endpoint("SYNCLINE_OTLP_ENDPOINT"): String,
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
    /// How often at most a space's feed tells what has changed [default: 1000]
    #[clap(value_name = "MS")]
    feed_interval_ms("SYNCLINE_FEED_INTERVAL_MS"): u64,
    /// How long a client may be offline and still find its place after that [default: 2592000000]
    #[clap(value_name = "MS")]
    offline_window_ms("SYNCLINE_OFFLINE_WINDOW_MS"): u64,
    /// Whether users, spaces and addresses have limits at all; each may be set to 0 for none [default: on]
    #[clap(value_enum)]
    limits("SYNCLINE_LIMITS"): Limited,
    /// Connections that one user may have at a time [default: 200]
    #[clap(value_name = "N")]
    user_connections_max("SYNCLINE_USER_CONNECTIONS_MAX"): u32,
    /// Documents that one user may hold open, over all connections [default: 20000]
    #[clap(value_name = "N")]
    user_documents_max("SYNCLINE_USER_DOCUMENTS_MAX"): u32,
    /// Documents that one user may open in a second; of all rates, what was not used for 20 seconds may
    /// be used at once [default: 500]
    #[clap(value_name = "N")]
    user_opens_per_s("SYNCLINE_USER_OPENS_PER_S"): u32,
    /// Changes that one user may push in a second, importers excepted [default: 1000]
    #[clap(value_name = "N")]
    user_changes_per_s("SYNCLINE_USER_CHANGES_PER_S"): u32,
    /// Bytes that one user may send in a second [default: 8388608]
    #[clap(value_name = "BYTES")]
    user_bytes_per_s("SYNCLINE_USER_BYTES_PER_S"): u32,
    /// Changes that may be pushed in one space in a second [default: 20000]
    #[clap(value_name = "N")]
    space_changes_per_s("SYNCLINE_SPACE_CHANGES_PER_S"): u32,
    /// Bytes of pushes that may be sent for one space in a second [default: 67108864]
    #[clap(value_name = "BYTES")]
    space_bytes_per_s("SYNCLINE_SPACE_BYTES_PER_S"): u32,
    /// Connections that one address may have at a time [default: 10000]
    #[clap(value_name = "N")]
    address_connections_max("SYNCLINE_ADDRESS_CONNECTIONS_MAX"): u32,
    /// Connections that one address may open in a second [default: 500]
    #[clap(value_name = "N")]
    address_connects_per_s("SYNCLINE_ADDRESS_CONNECTS_PER_S"): u32,
    /// Bytes that one address may send in a second; above, it is read more slowly [default: 67108864]
    #[clap(value_name = "BYTES")]
    address_bytes_per_s("SYNCLINE_ADDRESS_BYTES_PER_S"): u32,
    /// Addresses of proxies whose X-Forwarded-For is believed
    #[clap(value_name = "ADDRESSES", value_delimiter = ',')]
    trusted_proxies("SYNCLINE_TRUSTED_PROXIES"): Vec<IpAddr>,
    /// Bytes of text that one stream may have [default: 4194304]
    #[clap(value_name = "BYTES")]
    stream_bytes_max("SYNCLINE_STREAM_BYTES_MAX"): u64,
    /// How long an interrupted stream may go on before the server closes it [default: 30000]
    #[clap(value_name = "MS")]
    stream_interrupt_ms("SYNCLINE_STREAM_INTERRUPT_MS"): u64,
    /// After how long without its writer a stream is closed as abandoned [default: 86400000]
    #[clap(value_name = "MS")]
    stream_abandon_ms("SYNCLINE_STREAM_ABANDON_MS"): u64,
    /// How often at most what is new in a space goes out to those who are there [default: 100]
    #[clap(value_name = "MS")]
    presence_interval_ms("SYNCLINE_PRESENCE_INTERVAL_MS"): u64,
    /// How long somebody whose connection broke is still shown in a space [default: 5000]
    #[clap(value_name = "MS")]
    presence_grace_ms("SYNCLINE_PRESENCE_GRACE_MS"): u64,
    /// Devices in a space above which there are counts and a sample instead of everybody [default: 100]
    #[clap(value_name = "N")]
    presence_full_max("SYNCLINE_PRESENCE_FULL_MAX"): u32,
    /// After how long without anybody there a space is forgotten [default: 1800000]
    #[clap(value_name = "MS")]
    space_idle_ms("SYNCLINE_SPACE_IDLE_MS"): u64,
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
    /// have a name, [`ConfigError::Incomplete`] if half of something is given.
    pub fn config(self) -> Result<Config, ConfigError> {
        self.check()?;
        self.check_origins()?;
        let (hub, roles, default) = (self.hub(), self.roles()?, Config::default());
        let addresses = self.addresses();
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err(incomplete("tls_cert", "tls_key")),
            (None, Some(_)) => return Err(incomplete("tls_key", "tls_cert")),
        };
        let webhooks = self.webhooks.as_deref().map(Webhook::read).transpose()?;
        Ok(Config {
            addresses,
            roles,
            tls,
            metrics_listen: self.metrics_listen,
            seen_from: default.seen_from,
            takeover: millis(self.takeover_ms, default.takeover),
            webhooks: webhooks.unwrap_or_default(),
            listen: self.listen.unwrap_or(default.listen),
            storage: self.data.map_or(default.storage, Storage::Directory),
            authentication: match self.auth_keys {
                Some(keys) => Authentication::Tokens { keys, audience: self.auth_audience },
                None => default.authentication,
            },
            cors_origins: self.cors_origins.unwrap_or(default.cors_origins),
            cache_bytes: self.cache_bytes.unwrap_or(default.cache_bytes),
            cache_idle: millis(self.cache_idle_ms, default.cache_idle),
            connections_max: self.connections_max.unwrap_or(default.connections_max),
            write_stall: millis(self.write_stall_ms, default.write_stall),
            request_wait: default.request_wait,
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
            quotas: self.quotas(),
            returns_per_second: self.returns_per_second.unwrap_or(default.returns_per_second),
            stream_bytes_max: self.stream_bytes_max.unwrap_or(default.stream_bytes_max),
            stream_interrupt_grace: millis(
                self.stream_interrupt_ms,
                default.stream_interrupt_grace,
            ),
            stream_abandon_after: millis(self.stream_abandon_ms, default.stream_abandon_after),
            feed_interval: millis(self.feed_interval_ms, default.feed_interval),
            presence: self.presence(),
            ..default
        }
    }

    fn presence(&self) -> hub::PresenceConfig {
        let default = hub::PresenceConfig::default();
        hub::PresenceConfig {
            interval: millis(self.presence_interval_ms, default.interval),
            grace: millis(self.presence_grace_ms, default.grace),
            full_max: self
                .presence_full_max
                .and_then(|devices| usize::try_from(devices).ok())
                .unwrap_or(default.full_max),
            idle: millis(self.space_idle_ms, default.idle),
            ..default
        }
    }

    fn quotas(&self) -> Quotas {
        let default = match self.limits.unwrap_or_default() {
            Limited::On => Quotas::default(),
            Limited::Off => return Quotas::none(),
        };
        Quotas {
            user_connections: self.user_connections_max.unwrap_or(default.user_connections),
            user_documents: self.user_documents_max.unwrap_or(default.user_documents),
            user_opens_per_s: self.user_opens_per_s.unwrap_or(default.user_opens_per_s),
            user_changes_per_s: self.user_changes_per_s.unwrap_or(default.user_changes_per_s),
            user_bytes_per_s: self.user_bytes_per_s.unwrap_or(default.user_bytes_per_s),
            space_changes_per_s: self.space_changes_per_s.unwrap_or(default.space_changes_per_s),
            space_bytes_per_s: self.space_bytes_per_s.unwrap_or(default.space_bytes_per_s),
            ..default
        }
    }

    fn addresses(&self) -> AddressLimits {
        let trusted_proxies = self.trusted_proxies.clone().unwrap_or_default();
        let default = match self.limits.unwrap_or_default() {
            Limited::On => AddressLimits::default(),
            Limited::Off => return AddressLimits { trusted_proxies, ..AddressLimits::none() },
        };
        AddressLimits {
            connections_max: self.address_connections_max.unwrap_or(default.connections_max),
            connects_per_s: self.address_connects_per_s.unwrap_or(default.connects_per_s),
            bytes_per_s: self.address_bytes_per_s.unwrap_or(default.bytes_per_s),
            trusted_proxies,
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

    /// An origin has a scheme and an authority, and nothing behind it: one that a browser never sends
    /// would only look like leave.
    fn check_origins(&self) -> Result<(), ConfigError> {
        for origin in self.cors_origins.iter().flatten() {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            let fits = authority.is_some_and(|a| !a.is_empty() && !a.contains(['/', '?', '#']));
            if origin != "*" && !fits {
                return Err(ConfigError::Origin(origin.clone()));
            }
        }
        Ok(())
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
            ("returns_per_second", self.returns_per_second.map(u64::from), 1),
            ("feed_interval_ms", self.feed_interval_ms, 1),
            ("presence_interval_ms", self.presence_interval_ms, 1),
            ("presence_full_max", self.presence_full_max.map(u64::from), 1),
        ];
        for (name, value, min) in smallest {
            if value.is_some_and(|value| value < min) {
                return Err(ConfigError::TooSmall { name, min });
            }
        }
        Ok(())
    }
}

const fn incomplete(given: &'static str, missing: &'static str) -> ConfigError {
    ConfigError::Incomplete { given, missing }
}

fn millis(setting: Option<u64>, default: Duration) -> Duration {
    setting.map_or(default, Duration::from_millis)
}

/// Everything that a server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The certificate to show; without one the server speaks in the clear.
    pub tls: Option<TlsFiles>,
    /// Where metrics and the dashboard are, if not where clients connect.
    pub metrics_listen: Option<SocketAddr>,
    /// From which addresses they can be seen where clients connect; none means the loopback addresses.
    pub seen_from: Vec<IpAddr>,
    /// How long to wait for a process that holds the data directory or the address.
    pub takeover: Duration,
    /// Where the log is kept.
    pub storage: Storage,
    /// How clients prove who they are.
    pub authentication: Authentication,
    /// Users with a role in every space, whatever else says who they are.
    pub roles: BTreeMap<UserId, Role>,
    /// Origins of pages that may talk to the server from a browser, `*` for all. Its own always may, and
    /// where names are taken at their word those of this machine.
    pub cors_origins: Vec<String>,
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
    /// How long TLS may take to be agreed on, a request's head to come, and the next to begin.
    pub request_wait: Duration,
    /// How long a graceful end may take.
    pub shutdown: Duration,
    /// What one address may do.
    pub addresses: AddressLimits,
    /// What the hub may be told.
    pub hub: hub::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4400)),
            tls: None,
            metrics_listen: None,
            seen_from: Vec::new(),
            takeover: Duration::ZERO,
            storage: Storage::Directory(PathBuf::from("./syncline-data")),
            authentication: Authentication::Names,
            roles: BTreeMap::new(),
            cors_origins: Vec::new(),
            webhooks: Vec::new(),
            cache_bytes: SledOptions::CACHE_BYTES,
            cache_idle: SledOptions::CACHE_IDLE,
            connections_max: 50_000,
            write_stall: Duration::from_secs(60),
            request_wait: Duration::from_secs(10),
            shutdown: Duration::from_secs(10),
            addresses: AddressLimits::default(),
            hub: hub::Config::default(),
        }
    }
}
