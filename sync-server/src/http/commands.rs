//! `POST /v1/documents/{space}/{id}/{facet}/commands`: one command, written down here for those who have
//! no replica, and answered when it is durable. The hub judges it as it judges anyone's.
//!
//! A command is made safe to repeat by the same means as a client's: the log remembers of each outbox the
//! highest number that it has settled. An `Idempotency-Key` names an outbox, and what is asked names
//! the numbers in it, so that a repetition is recognised for as long as the log remembers, also after a
//! restart, and one with another body is told apart.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::{Command, fill_in};
use syncline_engine::ids::{ActorId, Address, Epoch, Lease, Ulid};
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{Blob, Changes, Push, Release, Subscribed, WireLease};

use super::caller::Caller;
use super::documents::{AddressPath, address_of, query_of};
use super::inner::{Inner, problem_of};
use super::problem::Problem;
use super::read::{changes_in, last_seq, open, take as take_frame, within_turn};
use super::{body, show};
use crate::app::App;
use crate::clock::Clock;
use crate::listener::Peer;

/// A command with all its text; far more than one can hold.
const BODY_BYTES_MAX: usize = 256 << 10;
/// A key is random or a name of the app's.
const KEY_BYTES_MAX: usize = 256;
/// Commands without a key that are carried out at the same time, over all documents. Each lane is an
/// outbox in the documents that it has written to.
const LANES_MAX: u16 = 64;
/// Places in an outbox for the changes of one command, at most as many as a push has.
const NUMBERS: u64 = 1_024;
/// How often a command is written down anew that could not be placed where it was written for.
const TRIES: usize = 4;

/// The outboxes of commands without a key: each is used by one command at a time.
#[derive(Debug)]
pub(crate) struct Lanes {
    secret: [u8; 32],
    free: Mutex<Vec<u16>>,
    turns: Arc<tokio::sync::Semaphore>,
}

/// A lane that is in use.
struct Lane<'a> {
    lanes: &'a Lanes,
    number: u16,
    _turn: tokio::sync::SemaphorePermit<'a>,
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        self.lanes.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}

impl Lanes {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        let free = Mutex::new((0..LANES_MAX).rev().collect());
        Self { secret, free, turns: Arc::new(tokio::sync::Semaphore::new(LANES_MAX.into())) }
    }

    async fn lane(&self) -> Option<Lane<'_>> {
        let turn = self.turns.acquire().await.ok()?;
        let number = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Lane { lanes: self, number, _turn: turn })
    }

    /// The outbox of these parts, which nobody else can name.
    fn outbox(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut outbox = [0; 16];
        outbox.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        outbox
    }
}

/// The numbers of a command under a key: the last one stands for the whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbers {
    /// What comes before the first.
    base: u64,
}

/// What an outbox says of a command before it is carried out.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Fresh,
    /// It was carried out.
    Done,
    /// A part of it was, and the rest was lost.
    InPart,
    /// The key was used for something else.
    Other,
}

impl Numbers {
    /// Those of a command with this body.
    fn of(body: &[u8]) -> Self {
        let mut print = [0; 8];
        print.copy_from_slice(&blake3::hash(body).as_bytes()[..8]);
        // Below 2^58, and never the first block, which is what an unused outbox has settled.
        let block = (u64::from_le_bytes(print) >> 16) | 1;
        Self { base: block * NUMBERS }
    }

    const fn last(self) -> u64 {
        self.base + NUMBERS - 1
    }

    /// The first of `count` numbers that end with the last.
    const fn first(self, count: u64) -> u64 {
        self.base + NUMBERS - count
    }

    const fn known(self, settled: u64) -> Known {
        match settled {
            0 => Known::Fresh,
            settled if settled == self.last() => Known::Done,
            settled if settled >= self.base && settled < self.last() => Known::InPart,
            _ => Known::Other,
        }
    }
}

/// What may be said in the query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    user: Option<String>,
}

/// A command with all that it takes to carry it out.
struct Job {
    address: Address,
    command: Command,
    /// For a command with a key.
    key: Option<(String, Numbers)>,
    caller: Caller,
    peer: Peer,
    now: Timestamp,
}

/// How a command ended well.
#[derive(Debug)]
struct Done {
    outcome: &'static str,
    replayed: bool,
    seq: u64,
    etag: String,
}

/// Takes one command.
pub(crate) async fn take(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    path: AddressPath,
    query: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let address = address_of(path)?;
    let caller = Caller::of(&headers, query_of(query)?.user.as_deref())?;
    require_json(&headers)?;
    let key = key_of(&headers)?;
    let body = body::read(&headers, body, BODY_BYTES_MAX, app.request_wait).await?;
    let now = Clock::start().now();
    let (command, id) = parse(&body, &caller, now)?;
    let key = key.map(|key| (key, Numbers::of(&body)));
    let job = Job { address, command, key, caller, peer, now };
    // Whoever hangs up meanwhile does not leave a lease behind that is half used.
    let done = tokio::spawn(async move { carry_out(&app, &job).await }).await;
    let done = done.map_err(|_| Problem::of(Code::Overloaded, "the command was given up"))??;
    let mut answer = json!({ "outcome": done.outcome, "replayed": done.replayed, "seq": done.seq });
    if let Some(id) = id.filter(|_| !done.replayed) {
        answer["id"] = id.to_string().into();
    }
    let kind = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    let mut response = (StatusCode::OK, kind, answer.to_string()).into_response();
    if let Ok(etag) = HeaderValue::from_str(&done.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// A page of another site can send other types without being asked for leave (CORS), and this not.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let (status, why) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "a command is application/json");
    Err(Problem::http(status, "unsupported_media_type", why))
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    let why = "an Idempotency-Key is 1 to 256 visible characters";
    key.map(|key| Some(key.to_owned())).ok_or_else(|| Problem::bad_request(why))
}

/// Reads a command; what a page need not say is filled in. Answers with the id that it got, if any.
fn parse(body: &[u8], caller: &Caller, now: Timestamp) -> Result<(Command, Option<Ulid>), Problem> {
    let bad = |why: String| Problem::of(Code::BadCommand, why);
    let mut value: Value = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|_| Problem::of(Code::Overloaded, "no random numbers are to be had"))?;
    let id = Ulid::new(now, u128::from_le_bytes(random));
    let used = fill_in(&mut value, &caller.user, now, id);
    let command: Command = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
    command.check()?;
    Ok((command, used.then_some(id)))
}

async fn carry_out(app: &Arc<App>, job: &Job) -> Result<Done, Problem> {
    let lane = match &job.key {
        Some(_) => None,
        None => Some(app.http.lanes.lane().await.ok_or_else(|| overloaded("no lane is free"))?),
    };
    let outbox = match (&job.key, &lane) {
        (Some((key, _)), _) => {
            let address = job.address.to_string();
            let user = job.caller.user.as_bytes();
            app.http.lanes.outbox(&[b"key", user, address.as_bytes(), key.as_bytes()])
        }
        (None, Some(lane)) => app.http.lanes.outbox(&[b"lane", &lane.number.to_le_bytes()]),
        (None, None) => return Err(overloaded("no lane is free")),
    };
    let mut last = overloaded("the document is being put in order");
    for _ in 0..TRIES {
        let run = async |app: &App, inner: &mut Inner| attempt(app, inner, job, outbox).await;
        match within_turn(app, &job.peer, &job.caller, run).await {
            Err(problem) if problem.code().is_some_and(is_to_be_tried_again) => last = problem,
            ended => return ended,
        }
    }
    Err(last)
}

fn overloaded(why: &str) -> Problem {
    Problem::of(Code::Overloaded, why)
}

/// Whether a refusal concerns the place that a command was written for, and not the command. A reused
/// number is the same command, sent twice at the same time: it is found settled.
fn is_to_be_tried_again(code: Code) -> bool {
    matches!(
        code,
        Code::LeaseLost
            | Code::Stale
            | Code::RolledOver
            | Code::WrongActor
            | Code::WrongSeq
            | Code::UnknownDeps
            | Code::WrongStartOp
            | Code::NumberGap
            | Code::OutboxReused
    )
}

/// Writes the command down under a lease, hands it in, and waits until it is durable and in the copy.
async fn attempt(
    app: &App,
    inner: &mut Inner,
    job: &Job,
    outbox: [u8; 16],
) -> Result<Done, Problem> {
    let mut opened = open(&app.http, inner, &job.address, outbox, true).await?;
    let Subscribed { handle, epoch, settled, lease, .. } = opened.subscribed;
    let missing = || Problem::of(Code::DocumentUnavailable, "the document can't be read");
    let copy = opened.place.as_ref().ok_or_else(missing)?;
    let (seq, etag) = (copy.reading.cursor().seq, show::etag(&copy.reading.heads()));
    let known = job.key.as_ref().map_or(Known::Fresh, |(_, numbers)| numbers.known(settled));
    let drafted = match (known, lease) {
        (Known::Done, _) => Ok(None),
        (Known::InPart, _) => Err(in_part()),
        (Known::Other, _) => Err(key_reused()),
        (Known::Fresh, None) => Err(Problem::of(Code::LeaseLost, "no lease was granted")),
        (Known::Fresh, Some(WireLease { actor, next_seq, after })) => {
            let lease = Lease { actor: ActorId(actor), next_seq, after };
            let copy = opened.place.take().ok_or_else(missing)?;
            let (command, now) = (job.command.clone(), job.now);
            let drafting = move || {
                let drafted = copy.reading.draft(lease, now, command);
                (copy, drafted)
            };
            let (copy, drafted) = app.http.copies.make(drafting).await.ok_or_else(missing)?;
            *opened.place = Some(copy);
            drafted.map(Some).map_err(Problem::from)
        }
    };
    drop(opened.place);
    let changes = match drafted {
        Ok(Some(changes)) if !changes.is_empty() => changes,
        ended => {
            inner.say(Release { handle }).await?;
            let replayed = ended?.is_none();
            let outcome = if replayed { "confirmed" } else { "no_effect" };
            return Ok(Done { outcome, replayed, seq, etag });
        }
    };
    let count = changes.len() as u64;
    let first = job.key.as_ref().map_or(settled + 1, |(_, numbers)| numbers.first(count));
    let last = changes.last().cloned().unwrap_or_default();
    let changes = changes.into_iter().map(Blob).collect();
    inner.say(Push { handle, first, changes }).await?;
    let settled = wait(app, inner, job, (handle, Epoch(epoch)), first + count - 1, &last).await;
    // The actor is free for the next one, also where the command was refused.
    inner.say(Release { handle }).await?;
    let (seq, etag) = settled?;
    Ok(Done { outcome: "confirmed", replayed: false, seq, etag })
}

fn in_part() -> Problem {
    let why =
        "a part of this command was carried out before and the rest was lost; look at the document";
    Problem::http(StatusCode::CONFLICT, "partly_done", why)
}

fn key_reused() -> Problem {
    let why = "this Idempotency-Key was used here for another command";
    Problem::http(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", why)
}

/// Hears what becomes of a push, until it is durable and the log has brought it.
async fn wait(
    app: &App,
    inner: &mut Inner,
    job: &Job,
    (handle, epoch): (u32, Epoch),
    number: u64,
    change: &[u8],
) -> Result<(u64, String), Problem> {
    let (mut acked, mut brought) = (false, None);
    loop {
        match inner.hear().await? {
            ServerFrame::Ack(ack) if ack.handle == handle => acked |= ack.number >= number,
            ServerFrame::Reject(reject) if reject.handle == handle => {
                return Err(Problem::numbered(reject.code, reject.message));
            }
            ServerFrame::LeaseEnded(ended) if ended.handle == handle => {
                return Err(Problem::numbered(ended.code, "the lease ended"));
            }
            ServerFrame::Error(error) => return Err(problem_of(&error)),
            frame => {
                if let Some(changes) = changes_in(frame)?.filter(|frame| frame.handle == handle) {
                    let seq = place_of(&changes, change);
                    take_frame(&app.http.copies, &job.address, epoch, changes).await?;
                    brought = brought.or(seq);
                }
            }
        }
        if let Some(seq) = brought.filter(|_| acked) {
            let place = app.http.copies.place(&job.address);
            let place = place.lock().await;
            let heads = place.as_ref().map(|copy| copy.reading.heads());
            return Ok((seq, heads.map(|heads| show::etag(&heads)).unwrap_or_default()));
        }
    }
}

/// At which place of the log a change stands, if a frame brings it.
fn place_of(changes: &Changes, change: &[u8]) -> Option<u64> {
    let after = changes.entries.iter().rev().position(|entry| entry.change.0 == change)?;
    last_seq(changes).checked_sub(after as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_key_tell_the_same_command_from_others() {
        let (one, other) = (Numbers::of(b"one"), Numbers::of(b"other"));
        assert_ne!(one, other);
        assert_eq!(one, Numbers::of(b"one"));
        assert_eq!(one.known(0), Known::Fresh);
        assert_eq!(one.known(one.last()), Known::Done);
        assert_eq!(one.known(one.last() - 1), Known::InPart);
        assert_eq!(one.known(one.first(256)), Known::InPart);
        assert_eq!(one.known(other.last()), Known::Other);
        assert_eq!(one.first(1), one.last());
        for body in 0_u32..1_000 {
            let numbers = Numbers::of(&body.to_le_bytes());
            assert!(numbers.last() <= syncline_engine::limits::NUMBER_MAX && numbers.base > 0);
        }
    }

    #[tokio::test]
    async fn a_lane_is_used_by_one_at_a_time() {
        let lanes = Lanes::new([1; 32]);
        let one = lanes.lane().await.unwrap();
        let two = lanes.lane().await.unwrap();
        assert_ne!(one.number, two.number);
        let number = one.number;
        drop(one);
        assert_eq!(lanes.lane().await.unwrap().number, number);
    }

    #[test]
    fn an_outbox_follows_from_each_part_and_the_secret() {
        let lanes = Lanes::new([1; 32]);
        let outbox = lanes.outbox(&[b"ab", b"c"]);
        assert_eq!(outbox, lanes.outbox(&[b"ab", b"c"]));
        assert_ne!(outbox, lanes.outbox(&[b"a", b"bc"]));
        assert_ne!(outbox, Lanes::new([2; 32]).outbox(&[b"ab", b"c"]));
    }
}
