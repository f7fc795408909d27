//! One signed request to a receiver, and what its answer means. Calls what the operator configured and
//! nothing else: redirects are not followed. Knows no documents.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::backoff;
use super::config::Webhook;
use super::signature::sign;

/// Connections that are kept for the next request are closed after this long.
const IDLE: Duration = Duration::from_secs(30);
/// How much of an answer is read, so that the connection can be used again.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// The answer that says that a receiver wants no more is no different from other refusals.
const AGENT: &str = concat!("syncline-server/", env!("CARGO_PKG_VERSION"));

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The receiver has it.
    Taken,
    /// The receiver does not want it, now or later.
    Refused(StatusCode),
    /// It may work another time, after this long if the receiver says so.
    Failed { why: String, retry_after: Option<Duration> },
}

/// Connections to one receiver.
#[derive(Debug)]
pub(super) struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Poster {
    pub(super) fn new(webhook: &Webhook) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(webhook.timeout));
        http.set_nodelay(true);
        let https = HttpsConnectorBuilder::new();
        let https = match &webhook.authorities {
            Some(authorities) => https.with_tls_config(authorities.config()),
            None => https.with_webpki_roots(),
        };
        let https = https.https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(webhook.parallel)
            .build(https.wrap_connector(http));
        Self { client }
    }

    /// Sends a body. Takes no longer than the receiver is given.
    pub(super) async fn post(&self, webhook: &Webhook, id: &str, body: Bytes) -> Answer {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = sign(&webhook.secrets, id, now, &body);
        let request = Request::builder()
            .method(Method::POST)
            .uri(webhook.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("webhook-id", id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", signature)
            .body(Full::new(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return failed(error.to_string()),
        };
        match tokio::time::timeout(webhook.timeout, self.answer(request)).await {
            Ok(answer) => answer,
            Err(_) => failed("no answer in time".to_owned()),
        }
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Answer {
        match self.client.request(request).await {
            Ok(response) => {
                let answer = meaning(&response);
                let rest: Limited<Incoming> = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
                // What it says is not looked at; more than that closes the connection.
                let _ = rest.collect().await;
                answer
            }
            Err(error) => failed(with_causes(&error)),
        }
    }
}

fn failed(why: String) -> Answer {
    Answer::Failed { why, retry_after: None }
}

fn meaning<B>(response: &Response<B>) -> Answer {
    let status = response.status();
    if status.is_success() {
        return Answer::Taken;
    }
    let is_for_now = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    );
    if status.is_client_error() && !is_for_now {
        return Answer::Refused(status);
    }
    let retry_after = response.headers().get(RETRY_AFTER).map(HeaderValue::to_str);
    let retry_after = retry_after.and_then(Result::ok);
    let retry_after = retry_after.and_then(|asked| backoff::asked(asked, SystemTime::now()));
    let why = if status.is_redirection() {
        format!("it answers {status}; redirects are not followed, so name the address itself")
    } else {
        format!("it answers {status}")
    };
    Answer::Failed { why, retry_after }
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_their_status_says() {
        let of = |status: u16| meaning(&Response::builder().status(status).body(()).unwrap());
        for status in [200, 201, 204] {
            assert_eq!(of(status), Answer::Taken);
        }
        for status in [400, 401, 404, 410, 422] {
            assert!(matches!(of(status), Answer::Refused(_)), "{status}");
        }
        for status in [301, 307, 408, 425, 429, 500, 502, 503] {
            assert!(matches!(of(status), Answer::Failed { .. }), "{status}");
        }
        let busy = Response::builder().status(503).header("retry-after", "7").body(()).unwrap();
        let Answer::Failed { retry_after, .. } = meaning(&busy) else { panic!("it is for now") };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }
}
