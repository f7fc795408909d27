//! What can be set, from where, and what holds if nothing is: flag before environment before file
//! before default.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

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

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $(#[clap($arg:meta)])? $name:ident ($env:literal): $type:ty,)+) => {
        /// What may be set by flag, environment or file. Everything is optional.
        #[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $(
                $(#[doc = $doc])+
                #[arg(long, env = $env $(, $arg)?)]
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
    /// [`ConfigError::TooSmall`] if a number makes no sense.
    pub fn config(self) -> Result<Config, ConfigError> {
        let default = Config::default();
        let config = Config {
            listen: self.listen.unwrap_or(default.listen),
            storage: self.data.map_or(default.storage, Storage::Directory),
            connections_max: self.connections_max.unwrap_or(default.connections_max),
            write_stall: millis(self.write_stall_ms, default.write_stall),
            shutdown: millis(self.shutdown_ms, default.shutdown),
        };
        at_least("write_stall_ms", config.write_stall, 100)?;
        at_least("shutdown_ms", config.shutdown, 1)?;
        Ok(config)
    }
}

fn millis(setting: Option<u64>, default: Duration) -> Duration {
    setting.map_or(default, Duration::from_millis)
}

fn at_least(name: &'static str, value: Duration, min: u64) -> Result<(), ConfigError> {
    if value < Duration::from_millis(min) {
        return Err(ConfigError::TooSmall { name, min });
    }
    Ok(())
}

/// Everything that a server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where the log is kept.
    pub storage: Storage,
    /// Connections that may be open at the same time.
    pub connections_max: u32,
    /// A connection whose socket took nothing for this long is closed.
    pub write_stall: Duration,
    /// How long a graceful end may take.
    pub shutdown: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4400)),
            storage: Storage::Directory(PathBuf::from("./syncline-data")),
            connections_max: 50_000,
            write_stall: Duration::from_secs(60),
            shutdown: Duration::from_secs(10),
        }
    }
}
