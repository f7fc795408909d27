//! Which pages may talk to this server from a browser: an allow-list for CORS and for the upgrade to a
//! WebSocket, which a browser does not ask leave for. Requests without `Origin` do not come from
//! pages and pass.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::problem::Problem;
use crate::app::App;

/// What anybody may ask, from wherever: it says nothing that others should not know.
const OPEN: [&str; 3] = ["/", "/healthz", "/readyz"];
/// How long a browser may keep what it was told about this server.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(600);

/// Whose pages may talk to this server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    listed: Arc<[String]>,
    /// Names are taken at their word here, and so everything is to stay on this machine.
    names: bool,
}

impl Origins {
    /// Allows what is listed, `*` standing for all, and the pages of this server itself. With `names`,
    /// pages of this machine too, and nothing that is reached under another name than its own.
    pub(crate) fn new(listed: &[String], names: bool) -> Self {
        Self { listed: listed.into(), names }
    }

    /// Whether a page of this origin may.
    fn allows(&self, origin: &str, headers: &HeaderMap) -> bool {
        let listed = self.listed.iter().any(|listed| listed == "*" || listed == origin);
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        listed
            || (authority.is_some() && authority == host)
            || (self.names && authority.is_some_and(is_local))
    }

    /// Whether a request may be looked at. Where names are believed, a page that points a name of its own
    /// at this machine must not be taken for one of this server's.
    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or(""));
        if self.names && host.is_some_and(|host| !is_local(host)) {
            return Err(refused("this server is reached as localhost or by its address"));
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        if origin.to_str().is_ok_and(|origin| self.allows(origin, headers)) {
            return Ok(());
        }
        Err(refused("pages of this origin may not talk to this server; see --cors-origins"))
    }

    /// The answers to browsers that ask for leave, and the headers that let a page read.
    pub(crate) fn cors(&self) -> CorsLayer {
        let origins = self.clone();
        let allowed = AllowOrigin::predicate(move |origin: &HeaderValue, parts| {
            origin.to_str().is_ok_and(|origin| origins.allows(origin, &parts.headers))
        });
        let asked = ["authorization", "content-type", "if-none-match", "idempotency-key"];
        let asked = asked.into_iter().chain(["last-event-id", "syncline-user"]);
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::HEAD, Method::POST])
            .allow_headers(asked.map(HeaderName::from_static).collect::<Vec<_>>())
            .expose_headers([header::ETAG, header::RETRY_AFTER])
            .max_age(PREFLIGHT_KEPT)
    }
}

fn refused(why: &str) -> Problem {
    Problem::http(StatusCode::FORBIDDEN, "origin_refused", why)
}

/// Whether an authority is this machine's, or an address.
fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Lets no request in that a page of another origin has sent.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let open = OPEN.contains(&request.uri().path());
    match app.http.origins.check(request.headers()) {
        Err(_) if open => next.run(request).await,
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(origins: &Origins, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        headers.extend(origin.map(|origin| (header::ORIGIN, origin.parse().unwrap())));
        origins.check(&headers).is_ok()
    }

    #[test]
    fn only_listed_pages_and_ones_own_pass() {
        let origins = Origins::new(&["https://app.example".to_owned()], false);
        let pass = |origin| passes(&origins, "sync.example", origin);
        assert!(pass(None));
        assert!(pass(Some("https://app.example")));
        assert!(pass(Some("https://sync.example")));
        for other in
            ["https://evil.example", "https://app.example.evil", "null", "", "http://localhost"]
        {
            assert!(!pass(Some(other)), "{other}");
        }
        let all = Origins::new(&["*".to_owned()], false);
        assert!(passes(&all, "sync.example", Some("https://evil.example")));
    }

    #[test]
    fn where_names_are_believed_everything_stays_on_this_machine() {
        let origins = Origins::new(&[], true);
        for host in ["localhost:4400", "127.0.0.1:4400", "[::1]:4400", "localhost"] {
            assert!(passes(&origins, host, None), "{host}");
            assert!(passes(&origins, host, Some("http://localhost:3000")), "{host}");
        }
        assert!(!passes(&origins, "127.0.0.1:4400", Some("https://evil.example")));
        // A name that its owner lets point here.
        assert!(!passes(&origins, "evil.example:4400", None));
        assert!(!passes(&origins, "evil.example:4400", Some("http://evil.example:4400")));
        assert!(!passes(&origins, "localhost.evil.example", None));
    }
}
