//! Server-sent events: what happens to one document, or to some of a space, for whoever can't or need
//! not hold a replica. What happens to all posts of a space is told by [`super::feed`]. A reader is a follower with a cursor, and resumes by the id of the last event
//! that it got; nothing is queued for it here.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Value, json};
use syncline_engine::codes::Code;
use syncline_engine::document::shown::summary;
use syncline_engine::ids::{Address, Cursor, Epoch, Tip};
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{Changes, Resume};
use tokio::sync::OwnedSemaphorePermit;

use super::caller::Caller;
use super::documents::{AddressPath, NamePath, address_of, name_of, query_of};
use super::inner::{Inner, problem_of};
use super::problem::Problem;
use super::read::{changes_in, last_seq, open, take, within_turn};
use super::{COME_BACK, KEEP_ALIVE, cursor, feed, posts, show};
use crate::app::App;
use crate::listener::Peer;

/// Documents that one stream of a space follows. The place in each of them is in the id of each event.
const DOCUMENTS_MAX: usize = 32;
/// How often a document is opened anew that is put in order again and again.
const TRIES: usize = 3;
/// The header by which a reader says how far it has come.
const LAST_EVENT_ID: &str = "last-event-id";

/// What may be asked of one document's events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfDocument {
    user: Option<String>,
}

/// What may be asked of a space's events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfSpace {
    user: Option<String>,
    documents: Option<String>,
    limit: Option<usize>,
}

/// Follows one document.
pub(crate) async fn of_document(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    path: AddressPath,
    query: Result<Query<OfDocument>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let address = address_of(path)?;
    let caller = Caller::of(&headers, query_of(query)?.user.as_deref())?;
    follow(app, peer, caller, vec![address], &headers).await
}

/// Follows documents of a space, or all its posts.
pub(crate) async fn of_space(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    path: NamePath,
    query: Result<Query<OfSpace>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let space = name_of(path)?;
    let OfSpace { user, documents, limit } = query_of(query)?;
    let caller = Caller::of(&headers, user.as_deref())?;
    let bad = |why: &str| Problem::of(Code::BadAddress, why);
    let Some(documents) = documents else {
        let limit = posts::limit(limit)?;
        let last = last_event_id(&headers);
        return feed::follow(&app, &peer, &caller, space, limit, last).await;
    };
    if limit.is_some() {
        return Err(Problem::bad_request("limit is of posts: give it without documents"));
    }
    let mut addresses = Vec::new();
    for document in documents.split(',') {
        let address = format!("{space}/{document}").parse::<Address>();
        let address = address.map_err(|error| bad(&error.to_string()))?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        if addresses.len() > DOCUMENTS_MAX {
            return Err(bad("a stream follows at most 32 documents"));
        }
    }
    follow(app, peer, caller, addresses, &headers).await
}

/// One document of a stream.
#[derive(Debug)]
struct Followed {
    address: Address,
    handle: u32,
    cursor: Cursor,
}

/// A stream of events under way.
struct Follower {
    app: Arc<App>,
    peer: Peer,
    caller: Caller,
    inner: Inner,
    followed: Vec<Followed>,
    events: VecDeque<Event>,
    over: bool,
    /// One of the connections that may be open.
    _seat: OwnedSemaphorePermit,
}

async fn follow(
    app: Arc<App>,
    peer: Peer,
    caller: Caller,
    addresses: Vec<Address>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let full = |_| Problem::of(Code::Overloaded, "there is no room for another connection");
    let seat = Arc::clone(&app.seats).try_acquire_owned().map_err(full)?;
    let last = last_event_id(headers);
    let last: Vec<Option<Cursor>> =
        last.map_or_else(Vec::new, |last| last.split(',').map(cursor::from_text).collect());
    let inner = Inner::greet(&app, &peer, &caller).await?;
    let (followed, events) = (Vec::new(), VecDeque::new());
    let mut follower =
        Follower { app, peer, caller, inner, followed, events, over: false, _seat: seat };
    let given = !last.is_empty();
    for (place, address) in addresses.into_iter().enumerate() {
        let last = last.get(place).copied().flatten();
        follower.begin(address, last, given).await?;
    }
    Ok(answer(stream(follower)))
}

fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    // One that is no text is as one that leads nowhere.
    headers.get(LAST_EVENT_ID).map(|last| last.to_str().unwrap_or(""))
}

/// Answers with a stream of events.
pub(super) fn answer<S>(events: S) -> Response
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    stream_headers(response.headers_mut());
    response
}

/// Tells why a stream ends, and when to come back where that is of use.
pub(super) fn ending(problem: &Problem) -> Event {
    Event::default().event("end").data(problem.to_json().to_string()).retry(COME_BACK)
}

/// What keeps caches and proxies from holding a stream back.
pub(super) fn stream_headers(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
}

fn stream(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold(follower, async |mut follower| {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    })
}

impl Follower {
    /// Opens a document: after the last event of it that the reader got, or as it is.
    async fn begin(
        &mut self,
        address: Address,
        last: Option<Cursor>,
        again: bool,
    ) -> Result<(), Problem> {
        if let Some(last) = last {
            let subscribed = self.inner.subscribe(&address, Some(last), [0; 16], false).await?;
            if subscribed.resume == Resume::Cursor && subscribed.next.is_none() {
                self.put(Followed { address, handle: subscribed.handle, cursor: last });
                return Ok(());
            }
        }
        self.show(address, if again { "reset" } else { "state" }).await
    }

    /// Reads a document as it is, tells that, and follows it from there.
    async fn show(&mut self, address: Address, kind: &'static str) -> Result<(), Problem> {
        for _ in 0..TRIES {
            let (place, body) = self.read(&address).await?;
            let subscribed = self.inner.subscribe(&address, Some(place), [0; 16], false).await?;
            if subscribed.resume == Resume::Cursor && subscribed.next.is_none() {
                let followed = Followed { address, handle: subscribed.handle, cursor: place };
                self.put(followed);
                let event = self.event(kind, &body);
                self.events.push_back(event);
                return Ok(());
            }
        }
        Err(Problem::of(Code::RolledOver, "the document is being put in order"))
    }

    /// Notes where a document is. Each keeps its place among the others, which the ids of events count on.
    fn put(&mut self, followed: Followed) {
        match self.followed.iter_mut().find(|known| known.address == followed.address) {
            Some(known) => *known = followed,
            None => self.followed.push(followed),
        }
    }

    /// The document as it is, on a connection of its own.
    async fn read(&self, address: &Address) -> Result<(Cursor, Value), Problem> {
        let run = async |app: &App, inner: &mut Inner| {
            let opened = open(&app.http, inner, address, [0; 16], false).await?;
            let missing = || Problem::of(Code::DocumentUnavailable, "the document can't be read");
            let copy = opened.place.as_ref().ok_or_else(missing)?;
            let cursor = copy.reading.cursor();
            let body = json!({
                "address": address.to_string(),
                "seq": cursor.seq,
                "etag": show::etag(&copy.reading.heads()),
                "summary": summary(copy.reading.view()),
            });
            Ok((cursor, body))
        };
        within_turn(&self.app, &self.peer, &self.caller, run).await
    }

    /// An event with the place of each document after it as its id.
    fn event(&self, kind: &str, body: &Value) -> Event {
        let places: Vec<_> =
            self.followed.iter().map(|followed| cursor::to_text(followed.cursor)).collect();
        Event::default().event(kind).id(places.join(",")).data(body.to_string())
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let heard = match self.inner.hear().await {
                Ok(frame) => self.heard(frame).await,
                Err(problem) => Err(problem),
            };
            if let Err(problem) = heard {
                self.end(&problem);
            }
        }
    }

    fn end(&mut self, problem: &Problem) {
        self.over = true;
        self.events.push_back(ending(problem));
    }

    async fn heard(&mut self, frame: ServerFrame) -> Result<(), Problem> {
        match frame {
            ServerFrame::Error(error) => {
                let address = error.address.as_deref().and_then(|address| address.parse().ok());
                let problem = problem_of(&error);
                match address {
                    Some(address) if problem.code() == Some(Code::RolledOver) => {
                        self.show(address, "reset").await
                    }
                    _ => Err(problem),
                }
            }
            // What was to be sent is gone, and the hub began anew.
            ServerFrame::Subscribed(subscribed) => match subscribed.address.parse::<Address>() {
                Ok(address) => self.show(address, "reset").await,
                Err(_) => Ok(()),
            },
            frame => self.changed(frame).await,
        }
    }

    async fn changed(&mut self, frame: ServerFrame) -> Result<(), Problem> {
        let Some(changes) = changes_in(frame)? else { return Ok(()) };
        let of = |followed: &Followed| followed.handle == changes.handle;
        let Some(place) = self.followed.iter().position(of) else { return Ok(()) };
        let Some(Followed { address, cursor: from, .. }) = self.followed.get(place) else {
            return Ok(());
        };
        let (address, from, last) = (address.clone(), *from, last_seq(&changes));
        if last <= from.seq {
            return Ok(());
        }
        let told = told(&changes, from.seq);
        let to = Cursor { epoch: from.epoch, seq: last, tip: Tip(changes.tip) };
        let (etag, summary) = self.summary(&address, from.epoch, changes).await?;
        if let Some(followed) = self.followed.get_mut(place) {
            followed.cursor = to;
        }
        let body = json!({
            "address": address.to_string(),
            "seq": last,
            "changes": told,
            "etag": etag,
            "summary": summary,
        });
        let event = self.event("change", &body);
        self.events.push_back(event);
        Ok(())
    }

    /// What the document shows after a frame, or by now: one copy serves all who follow it.
    async fn summary(
        &self,
        address: &Address,
        epoch: Epoch,
        changes: Changes,
    ) -> Result<(Value, Value), Problem> {
        let copies = &self.app.http.copies;
        if !take(copies, address, epoch, changes).await? {
            let (_, mut body) = self.read(address).await?;
            return Ok((body["etag"].take(), body["summary"].take()));
        }
        let place = copies.place(address);
        let place = place.lock().await;
        Ok(place.as_ref().map_or((Value::Null, Value::Null), |copy| {
            let reading = &copy.reading;
            (show::etag(&reading.heads()).into(), summary(reading.view()))
        }))
    }
}

/// Who wrote what follows `from`, and when.
fn told(changes: &Changes, from: u64) -> Vec<Value> {
    (changes.first_seq..)
        .zip(&changes.entries)
        .filter(|(seq, _)| *seq > from)
        .map(|(seq, entry)| {
            let author = changes.authors.get(usize::from(entry.author));
            json!({ "seq": seq, "author": author, "at": entry.at_ms })
        })
        .collect()
}
