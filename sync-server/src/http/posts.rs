//! `GET /v1/spaces/{space}/posts`: the posts of a space by activity, as JSON.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use syncline_engine::limits::FEED_POSTS_MAX;
use syncline_engine::summary::Summary;
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{ListPosts, Posts, WirePlace};

use super::caller::Caller;
use super::documents::{NamePath, name_of, query_of};
use super::inner::Inner;
use super::problem::Problem;
use super::read::within_turn;
use crate::app::App;
use crate::listener::Peer;

/// Posts in one answer, if the request does not say how many.
const LIMIT: usize = 50;

/// What may be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// How many posts at most.
    limit: Option<usize>,
    /// What an earlier answer gave as `next`.
    before: Option<String>,
    /// Who asks, where names are taken at their word.
    user: Option<String>,
}

/// Answers with posts.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    path: NamePath,
    query: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let space = name_of(path)?;
    let asked = query_of(query)?;
    let limit = u16::try_from(limit(asked.limit)?).unwrap_or(u16::MAX);
    let after = asked.before.as_deref().map(place).transpose()?;
    let caller = Caller::of(&headers, asked.user.as_deref())?;
    let list = ListPosts { nonce: 0, space, after, limit };
    let run = async |_: &App, inner: &mut Inner| ask(inner, list).await;
    Ok(show(&within_turn(&app, &peer, &caller, run).await?))
}

/// How many posts are asked for.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(LIMIT);
    if limit == 0 || limit > FEED_POSTS_MAX {
        return Err(Problem::bad_request(format!("limit is 1 to {FEED_POSTS_MAX}")));
    }
    Ok(limit)
}

async fn ask(inner: &mut Inner, list: ListPosts) -> Result<Posts, Problem> {
    inner.say(list).await?;
    loop {
        match inner.hear().await? {
            ServerFrame::Posts(posts) => return Ok(posts),
            ServerFrame::PostsRefused(refused) => {
                let problem = Problem::numbered(refused.code, refused.message);
                return Err(problem.later(refused.retry_after_ms));
            }
            _ => {}
        }
    }
}

fn place(text: &str) -> Result<WirePlace, Problem> {
    let parts = text.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
    parts
        .map(|(active_ms, id)| WirePlace { active_ms, id })
        .ok_or_else(|| Problem::bad_request("before is what an earlier answer gave as next"))
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
