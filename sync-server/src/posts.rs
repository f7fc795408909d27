//! `GET /v1/spaces/{space}/posts`: the posts of a space by activity, as JSON. The request speaks to the
//! hub as a connection of its own, in frames, so that who may read what is decided in one place.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use syncline_engine::codes::Code;
use syncline_engine::hub::{ConnectionId, Input};
use syncline_engine::limits::FEED_POSTS_MAX;
use syncline_engine::summary::Summary;
use syncline_engine::wire::frame::{Bye, Hello, ListPosts, Posts, WirePlace};
use syncline_engine::wire::{ClientFrame, ServerFrame};

use crate::app::App;
use crate::listener::Peer;
use crate::mailbox::Mailbox;
use crate::outgoing::{Next, Outgoing};

/// Where the posts of a space are.
pub(crate) const POSTS_PATH: &str = "/v1/spaces/{space}/posts";
/// The header that names the user, where names are taken at their word.
const USER: &str = "syncline-user";
/// Posts in one answer, if the request does not say how many.
const LIMIT: u16 = 50;
/// How long the hub may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// What may be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// How many posts at most.
    limit: Option<u16>,
    /// What an earlier answer gave as `next`.
    before: Option<String>,
    /// Who asks, where names are taken at their word.
    user: Option<String>,
}

/// Why there is no list.
#[derive(Debug)]
struct Refusal {
    code: Code,
    detail: String,
    retry_after_ms: Option<u32>,
}

impl Refusal {
    fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after_ms: None }
    }

    fn numbered(number: u16, detail: String, retry_after_ms: Option<u32>) -> Self {
        let code = Code::from_number(number).unwrap_or(Code::Overloaded);
        Self { code, detail, retry_after_ms }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { code, detail, retry_after_ms } = self;
        let status = match code.number() {
            200 | 206 => StatusCode::UNAUTHORIZED,
            201 => StatusCode::FORBIDDEN,
            202 | 400 => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = json!({ "status": status.as_u16(), "code": code.slug(), "detail": detail });
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, kind, body.to_string()).into_response();
        let later = retry_after_ms.map_or(1, |ms| ms.div_ceil(1_000));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, later.into());
        }
        response
    }
}

/// Answers a request for the posts of a space.
pub(crate) async fn posts(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path(space): Path<String>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let question = asked
        .map_err(|error| Refusal::new(Code::BadCommand, error.body_text()))
        .and_then(|Query(asked)| Question::of(space, &headers, asked));
    let answer = match question {
        Ok(question) => ask(&app, peer, question).await,
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(posts) => show(&posts),
        Err(refusal) => refusal.into_response(),
    }
}

fn show(found: &Posts) -> Response {
    let posts: Vec<_> = found.posts.iter().cloned().filter_map(Summary::of_wire).collect();
    let last = posts.last().filter(|_| found.more);
    let next = last.map(|last| format!("{}.{}", last.active, last.id));
    let shown: Vec<_> = posts.iter().map(Summary::to_json).collect();
    // Who may read it depends on who asks, and it changes all the time.
    let headers =
        [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "private, no-cache")];
    (headers, json!({ "posts": shown, "next": next }).to_string()).into_response()
}

/// Whom the hub is asked for, and what.
struct Question {
    user: String,
    token: Option<String>,
    space: String,
    after: Option<WirePlace>,
    limit: u16,
}

impl Question {
    fn of(space: String, headers: &HeaderMap, asked: Asked) -> Result<Self, Refusal> {
        let limit = asked.limit.unwrap_or(LIMIT);
        if limit == 0 || usize::from(limit) > FEED_POSTS_MAX {
            let detail = format!("limit is 1 to {FEED_POSTS_MAX}");
            return Err(Refusal::new(Code::BadCommand, detail));
        }
        let after = asked.before.as_deref().map(place).transpose()?;
        let token = bearer(headers)?;
        let named = headers.get(USER).and_then(|name| name.to_str().ok()).map(str::to_owned);
        let named = asked.user.or(named);
        let user = named.or_else(|| token.as_deref().and_then(subject)).ok_or_else(|| {
            let detail = "say who you are: Authorization: Bearer TOKEN, or on a server without keys \
                          ?user=NAME";
            Refusal::new(Code::Unauthenticated, detail)
        })?;
        Ok(Self { user, token, space, after, limit })
    }
}

fn place(text: &str) -> Result<WirePlace, Refusal> {
    let parts = text.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
    parts.map(|(active_ms, id)| WirePlace { active_ms, id }).ok_or_else(|| {
        Refusal::new(Code::BadCommand, "before is what an earlier answer gave as next")
    })
}

fn bearer(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(given) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = given.to_str().ok().and_then(|given| given.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    token.map(|(_, token)| Some(token.trim().to_owned())).ok_or_else(|| {
        Refusal::new(Code::Unauthenticated, "authorization here is Bearer and a token")
    })
}

/// Whom a token names, not looking at whether it proves it: that is the hub's to see.
fn subject(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }
    let payload = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.sub)
}

async fn ask(app: &App, peer: Peer, question: Question) -> Result<Posts, Refusal> {
    let full = || Refusal::new(Code::Overloaded, "no room for another connection");
    let seat = Arc::clone(&app.seats).try_acquire_owned().map_err(|_| full())?;
    let alive = app.alive.upgrade().ok_or_else(full)?;
    let connection = ConnectionId(app.next_connection.fetch_add(1, Ordering::Relaxed));
    let mailbox = app.mailbox.clone();
    // A task of its own, so that the connection ends in order when the one who asked is gone.
    let asking = tokio::spawn(async move {
        let outgoing = Arc::new(Outgoing::default());
        mailbox.opened(connection, peer, Arc::clone(&outgoing)).await;
        let answer = talk(&mailbox, connection, &outgoing, question);
        let answer = tokio::time::timeout(ANSWER_WAIT, answer).await;
        mailbox.closed(connection).await;
        drop((seat, alive));
        answer.unwrap_or_else(|_| Err(Refusal::new(Code::Overloaded, "the hub does not answer")))
    });
    asking.await.unwrap_or_else(|_| Err(full()))
}

async fn talk(
    mailbox: &Mailbox,
    connection: ConnectionId,
    outgoing: &Outgoing,
    question: Question,
) -> Result<Posts, Refusal> {
    let Question { user, token, space, after, limit } = question;
    let mut session = [0; 16];
    getrandom::fill(&mut session)
        .map_err(|error| Refusal::new(Code::Overloaded, error.to_string()))?;
    let hello = Hello { session, generation: 1, user, token, agent: "http".to_owned() };
    let list = ListPosts { nonce: 0, space, after, limit };
    for frame in [ClientFrame::from(hello), list.into()] {
        let message = frame.encode();
        let message = message.map_err(|e| Refusal::new(Code::BadCommand, e.to_string()))?;
        mailbox.received(connection, message).await;
    }
    loop {
        let message = match outgoing.next() {
            Next::Message(message) => message,
            Next::Close(_) => {
                return Err(Refusal::new(Code::ShuttingDown, "the server ended the connection"));
            }
            Next::Wait => {
                mailbox.fact(Input::Drained { connection });
                tokio::select! {
                    () = outgoing.filled() => continue,
                    () = mailbox.gone() => {
                        let detail = "the server is going away";
                        return Err(Refusal::new(Code::ShuttingDown, detail));
                    }
                }
            }
        };
        let Ok(frame) = ServerFrame::decode(&message) else { continue };
        let refusal = if let ServerFrame::Posts(posts) = frame {
            if let Ok(bye) = ClientFrame::from(Bye {}).encode() {
                mailbox.received(connection, bye).await;
            }
            return Ok(posts);
        } else if let ServerFrame::PostsRefused(refused) = frame {
            Refusal::numbered(refused.code, refused.message, refused.retry_after_ms)
        } else if let ServerFrame::Error(error) = frame {
            Refusal::numbered(error.code, error.message, error.retry_after_ms)
        } else if let ServerFrame::Goodbye(goodbye) = frame {
            let detail = "the server ended the connection".to_owned();
            Refusal::numbered(goodbye.code, detail, goodbye.retry_after_ms)
        } else {
            continue;
        };
        return Err(refusal);
    }
}
