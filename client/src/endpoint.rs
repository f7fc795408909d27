//! Where the server is: the URL that a user gives and what is dialled for it. Must never know what
//! is said there.

use std::fmt;
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::Uri;

use crate::transport::Transport;

/// The path that every server serves the protocol at.
const SYNC_PATH: &str = "/v1/sync";

/// A server's address, checked.
///
/// ```
/// use syncline_client::Endpoint;
/// let endpoint: Endpoint = "https://example.org/team".parse()?;
/// assert_eq!(endpoint.as_str(), "wss://example.org/team/v1/sync");
/// assert!("ftp://example.org".parse::<Endpoint>().is_err());
/// # Ok::<(), syncline_client::EndpointError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    transport: Transport,
}

/// A server's address can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It does not parse, or has no host.
    #[error("{0:?} is not a server's address; one looks like ws://127.0.0.1:4400")]
    Malformed(String),
    /// The scheme is another.
    #[error("the scheme of a server's address is ws, wss, http or https, not {0:?}")]
    Scheme(String),
    /// It names a user, a query or a fragment.
    #[error("a server's address has a host, a port and a path, and nothing else")]
    Superfluous,
    /// This build has no TLS.
    #[error("this build has no TLS (feature `tls`), so it can't use wss and https")]
    NoTls,
}

impl Endpoint {
    /// The URL that is dialled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The same place, reached by this way.
    #[must_use]
    pub fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// By which way it is reached.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// The authority, and the path under which requests by HTTP are made.
    pub(crate) fn http(&self) -> (String, String) {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let base = path.strip_suffix("/sync").unwrap_or(path);
        (authority.to_owned(), format!("/{base}"))
    }

    /// The host and the port that are dialled.
    pub(crate) fn host(&self) -> (String, u16) {
        let (authority, _) = self.http();
        let usual = if self.is_secure() { 443 } else { 80 };
        let port = |port: &str| port.parse().unwrap_or(usual);
        if let Some((host, rest)) = authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
            return (host.to_owned(), rest.strip_prefix(':').map_or(usual, port));
        }
        match authority.split_once(':') {
            Some((host, given)) => (host.to_owned(), port(given)),
            None => (authority, usual),
        }
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.url.starts_with("wss:")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed(text.chars().take(200).collect());
        // `Uri` drops a fragment without a word.
        if text.contains('#') {
            return Err(EndpointError::Superfluous);
        }
        let uri: Uri = text.trim().parse().map_err(|_| malformed())?;
        let scheme = match uri.scheme_str() {
            Some("ws" | "http") => "ws",
            Some("wss" | "https") if cfg!(feature = "tls") => "wss",
            Some("wss" | "https") => return Err(EndpointError::NoTls),
            Some(other) => return Err(EndpointError::Scheme(other.to_owned())),
            None => return Err(malformed()),
        };
        let authority = uri.authority().ok_or_else(malformed)?;
        if authority.host().is_empty() {
            return Err(malformed());
        }
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(EndpointError::Superfluous);
        }
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix(SYNC_PATH).unwrap_or(path);
        let url = format!("{scheme}://{authority}{prefix}{SYNC_PATH}");
        Ok(Self { url, transport: Transport::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialled(text: &str) -> String {
        text.parse::<Endpoint>().unwrap().url
    }

    #[test]
    fn schemes_ports_and_prefixes_are_carried_over() {
        assert_eq!(dialled("ws://127.0.0.1:4400"), "ws://127.0.0.1:4400/v1/sync");
        assert_eq!(dialled("http://[::1]:4400/"), "ws://[::1]:4400/v1/sync");
        assert_eq!(dialled("http://host/a/b/"), "ws://host/a/b/v1/sync");
        assert_eq!(dialled("ws://host/v1/sync"), "ws://host/v1/sync");
    }

    #[test]
    fn requests_go_to_the_same_place() {
        let parts = |text: &str| {
            let endpoint: Endpoint = text.parse().unwrap();
            (endpoint.http(), endpoint.host())
        };
        let (http, host) = parts("ws://127.0.0.1:4400");
        assert_eq!(http, ("127.0.0.1:4400".to_owned(), "/v1".to_owned()));
        assert_eq!(host, ("127.0.0.1".to_owned(), 4400));
        let (http, host) = parts("http://host/a/b/");
        assert_eq!(http, ("host".to_owned(), "/a/b/v1".to_owned()));
        assert_eq!(host, ("host".to_owned(), 80));
        assert_eq!(parts("ws://[::1]:4400").1, ("::1".to_owned(), 4400));
        assert_eq!(parts("ws://[::1]").1, ("::1".to_owned(), 80));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn https_becomes_wss() {
        assert_eq!(dialled("https://host"), "wss://host/v1/sync");
        assert!("wss://host".parse::<Endpoint>().unwrap().is_secure());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let parse = |text: &str| text.parse::<Endpoint>().unwrap_err();
        assert_eq!(parse("ftp://host"), EndpointError::Scheme("ftp".into()));
        assert_eq!(parse("ws://me@host"), EndpointError::Superfluous);
        assert_eq!(parse("ws://host/?a=1"), EndpointError::Superfluous);
        assert_eq!(parse("ws://host/#a"), EndpointError::Superfluous);
        assert!(matches!(parse("127.0.0.1:4400"), EndpointError::Malformed(_)));
        assert!(matches!(parse(""), EndpointError::Malformed(_)));
    }
}
