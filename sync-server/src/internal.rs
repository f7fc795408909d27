//! The pages for the people who run the server: metrics and the dashboard. Never shown to the public:
//! they are on a listener of their own, or answer only those who sit at the same machine.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use futures_util::Stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use crate::clock::Clock;
use crate::gauge::PUBLISH_EVERY;
use crate::listener::Peer;
use crate::metrics::{Meters, Sampler, TEXT_TYPE};

/// Samples that a page is given when it is opened: five minutes.
const HISTORY: usize = 300;
/// Samples that wait for a page that does not take them; it misses what is older.
const BACKLOG: usize = 16;
/// Dashboards that may be open at the same time.
const WATCHERS_MAX: usize = 16;
/// How often a silent stream shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What proxies add. Whoever comes through one is not at this machine.
const FORWARDED: &[&str] =
    &["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via", "cf-connecting-ip"];
/// Nothing from elsewhere, and nobody may show the page within another.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("dashboard/page.html");
const STYLE: &str = include_str!("dashboard/page.css");
const SCRIPT: &str = include_str!("dashboard/page.js");

/// What the pages show.
pub(crate) struct Internal {
    meters: Arc<Meters>,
    history: Mutex<VecDeque<Arc<str>>>,
    samples: broadcast::Sender<Arc<str>>,
    watchers: Arc<Semaphore>,
}

impl Internal {
    /// Pages about these meters.
    pub(crate) fn new(meters: Arc<Meters>) -> Self {
        Self {
            meters,
            history: Mutex::new(VecDeque::with_capacity(HISTORY)),
            samples: broadcast::Sender::new(BACKLOG),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
        }
    }

    /// Takes a sample whenever the hub's loop has published what it holds, or should have. Never
    /// ends.
    pub(crate) async fn sample(self: Arc<Self>) {
        let (mut sampler, mut clock) = (Sampler::new(&self.meters), Clock::start());
        loop {
            // Silence is a sample too.
            let _ = tokio::time::timeout(PUBLISH_EVERY * 2, self.meters.published()).await;
            let sample = sampler.sample(clock.now(), &self.meters);
            match serde_json::to_string(&sample) {
                Ok(line) => self.show(line.into()),
                Err(error) => tracing::error!(%error, "sample not written"),
            }
        }
    }

    fn show(&self, line: Arc<str>) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(Arc::clone(&line));
        // Within the lock, so that a page that is being opened misses nothing and sees nothing twice.
        // Without a page nobody is told.
        let _ = self.samples.send(line);
    }

    /// What was, and what comes.
    fn watch(&self) -> (String, broadcast::Receiver<Arc<str>>) {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let past: Vec<&str> = history.iter().map(|line| &**line).collect();
        (format!("[{}]", past.join(",")), self.samples.subscribe())
    }
}

/// The pages for a listener that only those can reach who may see them.
pub(crate) fn open_router(internal: Arc<Internal>) -> Router {
    Router::new()
        .route("/metrics", routing::get(metrics))
        .route("/dashboard", routing::get(async || asset("text/html; charset=utf-8", PAGE)))
        .route("/dashboard/page.css", routing::get(async || asset("text/css", STYLE)))
        .route("/dashboard/page.js", routing::get(async || asset("text/javascript", SCRIPT)))
        .route("/dashboard/events", routing::get(events))
        .with_state(internal)
}

/// The pages for a listener that everybody can reach. Without `seen_from` they answer the loopback
/// addresses.
pub(crate) fn guarded_router(internal: Arc<Internal>, seen_from: Arc<[IpAddr]>) -> Router {
    open_router(internal).layer(middleware::from_fn(
        move |Extension(peer): Extension<Peer>, request: Request, next: Next| {
            let near = is_near(peer.address.ip(), request.headers(), &seen_from);
            async move {
                // As if there were no such page.
                if near { next.run(request).await } else { StatusCode::NOT_FOUND.into_response() }
            }
        },
    ))
}

/// Whether a request comes from where the pages may be seen: straight from such an address, and not
/// from a page of somebody else whose name was made to point here.
fn is_near(peer: IpAddr, headers: &HeaderMap, seen_from: &[IpAddr]) -> bool {
    let peer = peer.to_canonical();
    let known = if seen_from.is_empty() { peer.is_loopback() } else { seen_from.contains(&peer) };
    let direct = FORWARDED.iter().all(|name| !headers.contains_key(*name));
    known
        && direct
        && headers.get(header::HOST).is_some_and(|host| names_no_stranger(host.as_bytes()))
}

/// Whether a `Host` is an address or `localhost`, with or without a port.
fn names_no_stranger(host: &[u8]) -> bool {
    let Ok(authority) = axum::http::uri::Authority::try_from(host) else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

async fn metrics(State(internal): State<Arc<Internal>>) -> Response {
    ([(header::CONTENT_TYPE, TEXT_TYPE)], internal.meters.text()).into_response()
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

async fn events(State(internal): State<Arc<Internal>>) -> Response {
    let Ok(seat) = Arc::clone(&internal.watchers).try_acquire_owned() else {
        let refusal = [(header::RETRY_AFTER, "30")];
        return (StatusCode::SERVICE_UNAVAILABLE, refusal, "as many look as may\n").into_response();
    };
    let (history, samples) = internal.watch();
    let stream = follow(history, samples, seat);
    let no_proxy_waits = [("x-accel-buffering", "no")];
    let events = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    (no_proxy_waits, events).into_response()
}

/// One event with what was, then one for each second.
fn follow(
    history: String,
    samples: broadcast::Receiver<Arc<str>>,
    seat: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let begin = (Some(history), samples, seat);
    futures_util::stream::unfold(begin, |(history, mut samples, seat)| async move {
        if let Some(history) = history {
            let event = Event::default().event("history").data(history);
            return Some((Ok(event), (None, samples, seat)));
        }
        loop {
            match samples.recv().await {
                Ok(line) => {
                    let event = Event::default().event("sample").data(&*line);
                    return Some((Ok(event), (None, samples, seat)));
                }
                // A page that was asleep goes on with what is there.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(peer: &str, headers: &[(&'static str, &str)], seen_from: &[&str]) -> bool {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse().expect("a header's name"), value.parse().expect("a header's value"))
        });
        let seen_from: Vec<IpAddr> = seen_from.iter().map(|ip| ip.parse().unwrap()).collect();
        is_near(peer.parse().unwrap(), &headers.collect(), &seen_from)
    }

    #[test]
    fn the_pages_are_seen_from_this_machine_and_from_nowhere_else() {
        let here = [("host", "localhost:4400")];
        for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(near(peer, &here, &[]), "{peer}");
        }
        for peer in ["10.0.0.1", "192.168.1.7", "::ffff:10.0.0.1", "2001:db8::1", "0.0.0.0"] {
            assert!(!near(peer, &here, &[]), "{peer}");
        }
        assert!(near("10.0.0.1", &[("host", "10.0.0.2:4400")], &["10.0.0.1"]));
        assert!(!near("127.0.0.1", &here, &["10.0.0.1"]));
    }

    #[test]
    fn who_comes_through_a_proxy_or_by_a_strangers_name_is_not_near() {
        for header in FORWARDED {
            assert!(!near("127.0.0.1", &[("host", "localhost"), (*header, "x")], &[]), "{header}");
        }
        for host in ["127.0.0.1", "127.0.0.1:4400", "[::1]:4400", "LOCALHOST:1"] {
            assert!(near("127.0.0.1", &[("host", host)], &[]), "{host}");
        }
        for host in ["evil.example", "evil.example:4400", "localhost.evil.example", "", "a@b@c"] {
            assert!(!near("127.0.0.1", &[("host", host)], &[]), "{host}");
        }
        assert!(!near("127.0.0.1", &[], &[]));
    }
}
