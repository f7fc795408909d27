//! What goes wrong, as a status and a body that says it (RFC 9457): the one table from codes to statuses.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use syncline_engine::codes::Code;
use syncline_engine::document::CommandError;

/// When to come back where nothing better is known, in milliseconds.
const LATER_MS: u32 = 1_000;

/// The status of each code; of one that is not here, the status of its hundred.
const STATUSES: &[(Code, StatusCode)] = &[
    (Code::BadFrame, StatusCode::BAD_REQUEST),
    (Code::FrameTooLarge, StatusCode::PAYLOAD_TOO_LARGE),
    (Code::UnsupportedVersion, StatusCode::BAD_REQUEST),
    (Code::OutOfProtocol, StatusCode::BAD_REQUEST),
    (Code::Replaced, StatusCode::CONFLICT),
    (Code::RateLimited, StatusCode::TOO_MANY_REQUESTS),
    (Code::TooManyConnections, StatusCode::TOO_MANY_REQUESTS),
    (Code::Unauthenticated, StatusCode::UNAUTHORIZED),
    (Code::TokenExpired, StatusCode::UNAUTHORIZED),
    (Code::BadAddress, StatusCode::BAD_REQUEST),
    (Code::TooManyDocuments, StatusCode::SERVICE_UNAVAILABLE),
    (Code::DocumentUnavailable, StatusCode::SERVICE_UNAVAILABLE),
    (Code::RolledOver, StatusCode::SERVICE_UNAVAILABLE),
    (Code::ChangeTooLarge, StatusCode::PAYLOAD_TOO_LARGE),
    (Code::LeaseLost, StatusCode::SERVICE_UNAVAILABLE),
    (Code::Stale, StatusCode::SERVICE_UNAVAILABLE),
    (Code::DocumentFull, StatusCode::INSUFFICIENT_STORAGE),
    (Code::BadCommand, StatusCode::BAD_REQUEST),
    (Code::NotFound, StatusCode::NOT_FOUND),
    (Code::NotAuthor, StatusCode::FORBIDDEN),
    (Code::TooOld, StatusCode::GONE),
    (Code::FeedUnavailable, StatusCode::SERVICE_UNAVAILABLE),
];

fn status_of(code: Code) -> StatusCode {
    let listed = STATUSES.iter().find(|(listed, _)| *listed == code).map(|(_, status)| *status);
    listed.unwrap_or(match code.number() / 100 {
        1 => StatusCode::SERVICE_UNAVAILABLE,
        2 => StatusCode::FORBIDDEN,
        3 => StatusCode::UNPROCESSABLE_ENTITY,
        4 => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    })
}

fn is_for_later(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}

/// Why a request was not answered as asked.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    slug: &'static str,
    code: Option<Code>,
    detail: String,
    retry_after_ms: Option<u32>,
}

impl Problem {
    /// One that the protocol has a code for.
    pub(crate) fn of(code: Code, detail: impl Into<String>) -> Self {
        let status = status_of(code);
        let retry_after_ms = is_for_later(status).then_some(LATER_MS);
        Self { status, slug: code.slug(), code: Some(code), detail: detail.into(), retry_after_ms }
    }

    /// One that the protocol has a number for.
    pub(crate) fn numbered(number: u16, detail: impl Into<String>) -> Self {
        Self::of(Code::from_number(number).unwrap_or(Code::Overloaded), detail)
    }

    /// One that only HTTP knows.
    pub(crate) fn http(status: StatusCode, slug: &'static str, detail: impl Into<String>) -> Self {
        Self { status, slug, code: None, detail: detail.into(), retry_after_ms: None }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::http(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let detail = "there is nothing here for this method";
        Self::http(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    /// The same, to be tried again after a while.
    pub(crate) fn later(mut self, ms: Option<u32>) -> Self {
        self.retry_after_ms = ms.or(self.retry_after_ms);
        self
    }

    /// The code, if the protocol has one for it.
    pub(crate) const fn code(&self) -> Option<Code> {
        self.code
    }

    /// The body.
    pub(crate) fn to_json(&self) -> Value {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.slug,
            "detail": self.detail,
        });
        if let Some(code) = self.code {
            body["number"] = code.number().into();
        }
        if let Some(ms) = self.retry_after_ms {
            body["retry_after_ms"] = ms.into();
        }
        body
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        Self::of(error.code(), error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Some(ms) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_that_says_whose_fault_it_is() {
        for code in Code::ALL {
            let problem = Problem::of(*code, "because");
            let (status, body) = (problem.status, problem.to_json());
            assert!(status.is_client_error() || status.is_server_error(), "{code}: {status}");
            assert_eq!(
                (&body["code"], &body["number"]),
                (&code.slug().into(), &code.number().into())
            );
            // Whoever is to come back is told when.
            let later = is_for_later(status);
            assert_eq!(body.get("retry_after_ms").is_some(), later, "{code}");
        }
        assert_eq!(status_of(Code::Forbidden), StatusCode::FORBIDDEN);
        assert_eq!(status_of(Code::StoreFailed), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(status_of(Code::NotInSchema), StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[test]
    fn the_answer_says_it_in_headers_too() {
        let response = Problem::of(Code::Overloaded, "full").later(Some(2_500)).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "3");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let response = Problem::of(Code::Unauthenticated, "who?").into_response();
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
