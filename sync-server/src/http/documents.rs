//! `GET /v1/documents/{space}/{id}/{facet}`: a document as JSON, as it is or as it was.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use syncline_engine::codes::Code;
use syncline_engine::ids::{Address, ChangeHash};
use syncline_engine::reading::{History, Past, PastError};

use super::caller::Caller;
use super::copies::Copy;
use super::cursor::from_hex;
use super::inner::Inner;
use super::problem::Problem;
use super::read::{open, within_turn};
use super::show::Shown;
use crate::app::App;
use crate::listener::Peer;

/// Heads that a version may be named by: a document never has more.
const HEADS_MAX: usize = 64;

/// The three parts of an address in a path.
pub(crate) type AddressPath = Result<Path<(String, String, String)>, PathRejection>;

/// The one name in a path.
pub(crate) type NamePath = Result<Path<String>, PathRejection>;

/// Reads a name from a path.
pub(crate) fn name_of(path: NamePath) -> Result<String, Problem> {
    path.map(|Path(name)| name)
        .map_err(|rejection| Problem::of(Code::BadAddress, rejection.body_text()))
}

/// Reads an address from a path.
pub(crate) fn address_of(path: AddressPath) -> Result<Address, Problem> {
    let Path((space, id, facet)) =
        path.map_err(|rejection| Problem::of(Code::BadAddress, rejection.body_text()))?;
    let facet = facet.parse().map_err(bad_address)?;
    Address::new(&space, &id, facet).map_err(bad_address)
}

fn bad_address(error: syncline_engine::ids::NameError) -> Problem {
    Problem::of(Code::BadAddress, error.to_string())
}

/// What may be asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    user: Option<String>,
    at: Option<u64>,
    heads: Option<String>,
}

/// Reads a query, with its mistakes as problems.
pub(crate) fn query_of<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(asked)| asked).map_err(|error| Problem::bad_request(error.body_text()))
}

/// Which version.
#[derive(Debug)]
enum Version {
    Present,
    Seq(u64),
    Heads(Vec<ChangeHash>),
}

impl Asked {
    fn version(&self) -> Result<Version, Problem> {
        match (self.at, &self.heads) {
            (None, None) => Ok(Version::Present),
            (Some(seq), None) => Ok(Version::Seq(seq)),
            (None, Some(heads)) => {
                let heads: Option<Vec<_>> = heads
                    .split(',')
                    .take(HEADS_MAX + 1)
                    .map(|head| from_hex(head).map(ChangeHash))
                    .collect();
                let heads = heads.filter(|heads| heads.len() <= HEADS_MAX);
                heads.map(Version::Heads).ok_or_else(|| {
                    let why =
                        "heads are up to 64 hashes of 64 hexadecimal digits, separated by commas";
                    Problem::bad_request(why)
                })
            }
            (Some(_), Some(_)) => Err(Problem::bad_request("give at or heads, not both")),
        }
    }
}

/// Answers with a document.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    path: AddressPath,
    query: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let address = address_of(path)?;
    let asked = query_of(query)?;
    let version = asked.version()?;
    let caller = Caller::of(&headers, asked.user.as_deref())?;
    let run = async |app: &App, inner: &mut Inner| read(app, inner, &address, version).await;
    let shown = within_turn(&app, &peer, &caller, run).await?;
    Ok(answer(&shown, &headers))
}

async fn read(
    app: &App,
    inner: &mut Inner,
    address: &Address,
    version: Version,
) -> Result<Arc<Shown>, Problem> {
    let copies = &app.http.copies;
    let mut opened = open(&app.http, inner, address, [0; 16], false).await?;
    let gone = || Problem::of(Code::DocumentUnavailable, "the document can't be shown");
    let copy = opened.place.as_ref().ok_or_else(gone)?;
    let of = address.clone();
    if !matches!(version, Version::Present) {
        // Nobody who reads the document as it is waits for this.
        let history = copy.reading.history();
        drop(opened);
        let past = copies.make(move || render_past(&of, &history, &version)).await;
        return past.ok_or_else(gone)?.map_err(|error| no_version(&error));
    }
    if let Some(shown) = &copy.shown {
        return Ok(Arc::clone(shown));
    }
    let copy = opened.place.take().ok_or_else(gone)?;
    let (copy, shown) = copies.make(move || render(&of, copy)).await.ok_or_else(gone)?;
    copies.note(address, Some(opened.place.insert(copy)));
    Ok(shown)
}

fn no_version(error: &PastError) -> Problem {
    let (status, code) = if *error == PastError::NotYet {
        (StatusCode::NOT_FOUND, "version_unknown")
    } else {
        (StatusCode::GONE, "version_gone")
    };
    Problem::http(status, code, error.to_string())
}

/// Renders a document as it is, and keeps that with the copy.
fn render(address: &Address, mut copy: Copy) -> (Copy, Arc<Shown>) {
    let (reading, cursor) = (&copy.reading, copy.reading.cursor());
    let heads = reading.heads();
    let shown = Shown::new(address, cursor.epoch, Some(cursor.seq), &heads, reading.view());
    let shown = Arc::new(shown);
    copy.shown = Some(Arc::clone(&shown));
    (copy, shown)
}

fn render_past(
    address: &Address,
    history: &History,
    version: &Version,
) -> Result<Arc<Shown>, PastError> {
    let Past { seq, heads, view } = match version {
        Version::Present => history.at(history.cursor().seq),
        Version::Seq(seq) => history.at(*seq),
        Version::Heads(heads) => history.at_heads(heads),
    }?;
    let epoch = history.cursor().epoch;
    Ok(Arc::new(Shown::new(address, epoch, seq, &heads, &view)))
}

fn answer(shown: &Shown, headers: &HeaderMap) -> Response {
    let fresh = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|given| given.to_str().ok())
        .any(|given| matches(given, &shown.etag));
    let mut response = if fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = [(header::CONTENT_TYPE, "application/json")];
        (kind, shown.body.clone()).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&shown.etag) {
        headers.insert(header::ETAG, etag);
    }
    // Whoever may keep it asks each time whether it still is so, and whether one still may see it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.append(header::VARY, HeaderValue::from_static("authorization, syncline-user"));
    response
}

/// Whether one of the entity tags in an `If-None-Match` is this one. A weak one is as good here.
fn matches(given: &str, etag: &str) -> bool {
    given
        .split(',')
        .map(str::trim)
        .any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_is_found_among_others_weak_or_not() {
        let etag = "\"ab\"";
        for given in ["\"ab\"", "W/\"ab\"", "\"x\", \"ab\"", "*"] {
            assert!(matches(given, etag), "{given}");
        }
        for given in ["", "ab", "\"abc\"", "w/\"ab\""] {
            assert!(!matches(given, etag), "{given}");
        }
    }

    #[test]
    fn a_version_is_a_place_in_the_log_or_heads() {
        let asked = |at, heads: Option<&str>| {
            Asked { user: None, at, heads: heads.map(str::to_owned) }.version()
        };
        let head = "ab".repeat(32);
        assert!(matches!(asked(None, None), Ok(Version::Present)));
        assert!(matches!(asked(Some(3), None), Ok(Version::Seq(3))));
        let two = format!("{head},{head}");
        assert!(matches!(asked(None, Some(&two)), Ok(Version::Heads(heads)) if heads.len() == 2));
        let many = vec![head.as_str(); HEADS_MAX + 1].join(",");
        for bad in ["", "zz", "ab", &many] {
            assert!(asked(None, Some(bad)).is_err(), "{bad}");
        }
        assert!(asked(Some(1), Some(&head)).is_err());
    }
}
