//! The body of a request, read within a size and a time. Knows no format.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::LengthLimitError;

use super::problem::Problem;

/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// Reads a body of at most `max` bytes. One that announces more is not read at all.
pub(crate) async fn read(headers: &HeaderMap, body: Body, max: usize) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced.is_some_and(|length| length.parse::<usize>().map_or(true, |length| length > max)) {
        return Err(too_large(max));
    }
    match tokio::time::timeout(BODY_WAIT, to_bytes(body, max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_over_limit(&error) => Err(too_large(max)),
        Ok(Err(_)) => Err(Problem::bad_request("the body broke off")),
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", BODY_WAIT.as_secs());
            Err(Problem::http(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail))
        }
    }
}

fn is_over_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}

fn too_large(max: usize) -> Problem {
    let detail = format!("a body may have at most {max} bytes here");
    Problem::http(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Bytes, Problem>) -> serde_json::Value {
        result.expect_err("it is refused").to_json()["code"].clone()
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_announced_or_not() {
        let (headers, body) = (HeaderMap::new(), || Body::from(vec![0; 11]));
        assert_eq!(read(&headers, body(), 11).await.unwrap().len(), 11);
        assert_eq!(code(read(&headers, body(), 10).await), "body_too_large");
        let endless = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut announced = HeaderMap::new();
        announced.insert(header::CONTENT_LENGTH, "18446744073709551616".parse().unwrap());
        assert_eq!(code(read(&announced, Body::from_stream(endless), 10).await), "body_too_large");
    }
}
