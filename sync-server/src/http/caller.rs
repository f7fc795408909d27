//! Who asks: the name and the token that a request gives, for the hub to judge.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use syncline_engine::codes::Code;

use super::problem::Problem;

/// The header that names the user, where names are taken at their word.
const USER: &str = "syncline-user";

/// What a request says of who asks. Nothing of it is checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Who it says it is.
    pub(crate) user: String,
    /// What proves it.
    pub(crate) token: Option<String>,
}

impl Caller {
    /// Reads `Authorization: Bearer`, and the name in `query`, in the header `Syncline-User` or, where
    /// there is neither, in the token.
    pub(crate) fn of(headers: &HeaderMap, query: Option<&str>) -> Result<Self, Problem> {
        let token = bearer(headers)?;
        let named = headers.get(USER).and_then(|name| name.to_str().ok());
        let user = query.or(named).map(str::to_owned);
        let user = user.or_else(|| token.as_deref().and_then(subject)).ok_or_else(|| {
            let why = "say who you are: Authorization: Bearer TOKEN, or on a server without keys ?user=NAME";
            Problem::of(Code::Unauthenticated, why)
        })?;
        Ok(Self { user, token })
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(given) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = given.to_str().ok().and_then(|given| given.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    token.map(|(_, token)| Some(token.trim().to_owned())).ok_or_else(|| {
        Problem::of(Code::Unauthenticated, "authorization here is Bearer and a token")
    })
}

/// Whom a token names, not looking at whether it proves it. Who is named there is who may use it.
fn subject(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }
    let payload = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.sub)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_name_comes_from_the_query_the_header_or_the_token() {
        // {"sub":"ada"}
        let token = "e30.eyJzdWIiOiJhZGEifQ.c2ln";
        let bearer = format!("Bearer {token}");
        let all = headers(&[("authorization", &bearer), (USER, "bob")]);
        let caller = Caller::of(&all, Some("eve")).unwrap();
        assert_eq!((caller.user.as_str(), caller.token.as_deref()), ("eve", Some(token)));
        assert_eq!(Caller::of(&all, None).unwrap().user, "bob");
        assert_eq!(Caller::of(&headers(&[("authorization", &bearer)]), None).unwrap().user, "ada");
        let named = Caller::of(&headers(&[(USER, "bob")]), None).unwrap();
        assert_eq!(named, Caller { user: "bob".to_owned(), token: None });
    }

    #[test]
    fn who_gives_neither_is_told_how() {
        for given in [
            headers(&[]),
            headers(&[("authorization", "Basic YWRhOmFkYQ==")]),
            headers(&[("authorization", "Bearer nonsense")]),
            headers(&[("authorization", "Bearer e30.!!.c2ln")]),
            headers(&[("authorization", "Bearer")]),
        ] {
            let problem = Caller::of(&given, None).expect_err("nobody is named");
            assert_eq!(problem.code(), Some(Code::Unauthenticated));
        }
    }
}
