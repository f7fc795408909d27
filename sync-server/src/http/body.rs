//! The body of a request, read within a size and a time. Knows no format.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::LengthLimitError;

use super::problem::Problem;

/// Reads a body of at most `max` bytes that takes no longer than `wait` to arrive. One that announces
/// more is not read at all, nor is one that would have to be unpacked.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    wait: Duration,
) -> Result<Bytes, Problem> {
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        let (status, why) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "bodies come as they are here");
        return Err(Problem::http(status, "content_encoding_unsupported", why));
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced.is_some_and(|length| length.parse::<usize>().map_or(true, |length| length > max)) {
        return Err(too_large(max));
    }
    match tokio::time::timeout(wait, to_bytes(body, max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_over_limit(&error) => Err(too_large(max)),
        Ok(Err(_)) => Err(Problem::bad_request("the body broke off")),
        Err(_) => {
            let detail = format!("the body did not arrive within {} ms", wait.as_millis());
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

    const WAIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_is_too_large_is_refused_announced_or_not() {
        let (headers, body) = (HeaderMap::new(), || Body::from(vec![0; 11]));
        assert_eq!(read(&headers, body(), 11, WAIT).await.unwrap().len(), 11);
        assert_eq!(code(read(&headers, body(), 10, WAIT).await), "body_too_large");
        let endless = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut announced = HeaderMap::new();
        announced.insert(header::CONTENT_LENGTH, "18446744073709551616".parse().unwrap());
        let endless = Body::from_stream(endless);
        assert_eq!(code(read(&announced, endless, 10, WAIT).await), "body_too_large");
    }
}
