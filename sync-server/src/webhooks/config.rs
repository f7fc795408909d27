//! The file that says where events go: one `[[webhook]]` for each receiver. Only what the operator
//! writes there is ever called.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use serde::{Deserialize, Serialize};

use super::authorities::Authorities;
use super::signature::Secret;

/// Receivers that one server may have: each costs a task, a pool of connections and a spool.
const WEBHOOKS_MAX: usize = 32;
/// The longest name of a receiver.
const NAME_BYTES_MAX: usize = 64;

/// The file of webhooks cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhooksError {
    /// It cannot be read.
    #[error("cannot read the file of webhooks {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, has a key that is not known, or a value that does not fit its key.
    #[error("the file of webhooks {} is not right: {source}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What and where.
        source: Box<toml::de::Error>,
    },
    /// A webhook makes no sense.
    #[error("the webhook {name:?}: {what}")]
    Webhook {
        /// Which.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// More than a server has.
    #[error("there are more than {WEBHOOKS_MAX} webhooks")]
    TooMany,
}

/// Where a receiver that is new begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Begin {
    /// With what is accepted from its first start on.
    #[default]
    Now,
    /// With everything that the logs still have.
    Beginning,
}

/// A name, or the beginning of names and then `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// Whether it fits a name.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => self.0 == name,
        }
    }
}

/// Whether one of them fits, or there is none.
pub(super) fn fit(patterns: &[Pattern], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.fits(name))
}

/// One receiver of events.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Webhook {
    /// By which name its state is kept: it may move to another address and keep its place.
    pub name: String,
    /// Where it listens.
    pub url: Uri,
    /// Who vouches for its certificate; the public authorities if nobody is named.
    pub authorities: Option<Authorities>,
    /// What it shares with this server; each signs.
    pub secrets: Vec<Secret>,
    /// Of which spaces it is told; of all if there is none.
    pub spaces: Vec<Pattern>,
    /// Of which kinds of changes it is told; of all if there is none.
    pub events: Vec<Pattern>,
    /// Where it begins.
    pub begin: Begin,
    /// Documents that are told of at the same time.
    pub parallel: usize,
    /// Bytes of one request's body.
    pub batch_bytes: usize,
    /// Events in one request.
    pub batch_events: usize,
    /// How long a request may take.
    pub timeout: Duration,
    /// The first wait after a failure.
    pub backoff_min: Duration,
    /// The longest wait after failures.
    pub backoff_max: Duration,
    /// After how many refusals an event is put aside; never if 0.
    pub dead_after: u32,
    /// Bytes of events that are kept for it when a log drops what it has not had.
    pub spool_bytes: u64,
    /// Bytes of events that may be put aside.
    pub dead_bytes: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    #[serde(default)]
    webhook: Vec<Given>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    name: String,
    url: String,
    ca: Option<PathBuf>,
    secrets: Vec<String>,
    #[serde(default)]
    spaces: Vec<Pattern>,
    #[serde(default)]
    events: Vec<Pattern>,
    #[serde(default)]
    begin: Begin,
    parallel: Option<usize>,
    batch_bytes: Option<usize>,
    batch_events: Option<usize>,
    timeout_ms: Option<u64>,
    backoff_min_ms: Option<u64>,
    backoff_max_ms: Option<u64>,
    dead_after: Option<u32>,
    spool_bytes: Option<u64>,
    dead_bytes: Option<u64>,
}

impl Webhook {
    /// Reads a file of webhooks.
    ///
    /// # Errors
    /// [`WebhooksError`] if it cannot be read or says something that makes no sense.
    pub fn read(path: &Path) -> Result<Vec<Self>, WebhooksError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| WebhooksError::Unreadable { path: path.to_owned(), source })?;
        let listed: Listed = toml::from_str(&text).map_err(|source| WebhooksError::Malformed {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        if listed.webhook.len() > WEBHOOKS_MAX {
            return Err(WebhooksError::TooMany);
        }
        let mut webhooks: Vec<Self> = Vec::new();
        for given in listed.webhook {
            let name = given.name.clone();
            if webhooks.iter().any(|webhook| webhook.name == name) {
                return Err(WebhooksError::Webhook { name, what: "is there twice".to_owned() });
            }
            let webhook = given.webhook();
            webhooks.push(webhook.map_err(|what| WebhooksError::Webhook { name, what })?);
        }
        Ok(webhooks)
    }

    /// Whether it is told of this space.
    pub(super) fn wants_space(&self, space: &str) -> bool {
        fit(&self.spaces, space)
    }
}

impl Given {
    fn webhook(self) -> Result<Webhook, String> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=NAME_BYTES_MAX).contains(&self.name.len()) || !self.name.bytes().all(is_plain) {
            return Err("its name must be 1 to 64 letters, digits, - and _".to_owned());
        }
        let url: Uri = self.url.parse().map_err(|_| "its url is not a URL".to_owned())?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err("its url must begin with http:// or https:// and name a host".to_owned());
        }
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("its url must not hold a password; requests are signed".to_owned());
        }
        if self.ca.is_some() && url.scheme_str() != Some("https") {
            return Err("its ca is of no use where its url is not https".to_owned());
        }
        let authorities = self.ca.as_deref().map(Authorities::read).transpose()?;
        let secrets: Result<Vec<Secret>, _> = self.secrets.iter().map(|s| s.parse()).collect();
        let secrets = secrets.map_err(|error: super::signature::NotASecret| error.to_string())?;
        if secrets.is_empty() {
            return Err("it needs a secret".to_owned());
        }
        let millis = |given: Option<u64>, default| Duration::from_millis(given.unwrap_or(default));
        Ok(Webhook {
            name: self.name,
            url,
            authorities,
            secrets,
            spaces: self.spaces,
            events: self.events,
            begin: self.begin,
            parallel: self.parallel.unwrap_or(4).clamp(1, 64),
            batch_bytes: self.batch_bytes.unwrap_or(256 << 10).clamp(1 << 10, 8 << 20),
            batch_events: self.batch_events.unwrap_or(100).clamp(1, 10_000),
            timeout: millis(self.timeout_ms, 15_000),
            backoff_min: millis(self.backoff_min_ms, 1_000),
            backoff_max: millis(self.backoff_max_ms, 300_000),
            dead_after: self.dead_after.unwrap_or(20),
            spool_bytes: self.spool_bytes.unwrap_or(256 << 20),
            dead_bytes: self.dead_bytes.unwrap_or(64 << 20),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Webhook>, WebhooksError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Webhook::read(file.path())
    }

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_file_names_receivers_and_what_they_are_told() {
        let text = format!(
            "[[webhook]]\nname = \"search\"\nurl = \"https://search.example/in\"\nsecrets = [\"{SECRET}\"]\n\
             spaces = [\"town\", \"shop-*\"]\nevents = [\"comments.*\"]\n\
             [[webhook]]\nname = \"bus\"\nurl = \"http://127.0.0.1:9/\"\nsecrets = [\"{SECRET}\"]\nbegin = \"beginning\"\n"
        );
        let webhooks = read(&text).unwrap();
        assert_eq!(webhooks.len(), 2);
        let spaces = ["town", "towns", "shop-1", "shop"];
        assert_eq!(spaces.map(|at| webhooks[0].wants_space(at)), [true, false, true, false]);
        assert!(webhooks[1].wants_space("any") && webhooks[1].begin == Begin::Beginning);
        assert!(!format!("{webhooks:?}").contains("MfKQ"), "a secret is never printed");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let one = |name: &str, url: &str, secret: &str| {
            format!("[[webhook]]\nname = {name:?}\nurl = {url:?}\nsecrets = [{secret}]\n")
        };
        let secret = format!("{SECRET:?}");
        let fine = one("a", "http://h/", &secret);
        for bad in [
            one("../a", "http://h/", &secret),
            one("a", "ftp://h/", &secret),
            one("a", "/path", &secret),
            one("a", "http://user:word@h/", &secret),
            one("a", "http://h/", ""),
            one("a", "http://h/", "\"secret\""),
            format!("{fine}ca = \"ca.pem\"\n"),
            format!("{}ca = \"/nowhere/ca.pem\"\n", one("a", "https://h/", &secret)),
            format!("{}ca = \"/dev/null\"\n", one("a", "https://h/", &secret)),
            format!("{fine}{fine}"),
        ] {
            let refused = read(&bad);
            assert!(matches!(refused, Err(WebhooksError::Webhook { .. })), "{bad}: {refused:?}");
        }
        assert!(matches!(read(&format!("{fine}nmae = 1")), Err(WebhooksError::Malformed { .. })));
        assert_eq!(read(&fine).unwrap().len(), 1);
    }
}
