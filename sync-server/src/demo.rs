//! The demo page: files that were made part of the binary (feature `demo`), each under its own path and
//! no other. Reads no disk; knows nothing of what the page does.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// The page may load and talk to what this server serves and nothing else; `wasm-unsafe-eval` is what
/// browsers call leave to compile WebAssembly. The page shows itself twice, side by side, in frames.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
                      connect-src 'self'; img-src 'self' data:; font-src 'self'; manifest-src 'self'; worker-src 'self'; \
                      frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'";
/// Files in this folder have a hash of their content in their name.
const HASHED: &str = "/assets/";

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File {
    /// Under which path it is asked for.
    path: &'static str,
    /// Its content type.
    kind: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// What is part of this binary: nothing without the feature, or if there was no page to take.
#[cfg(feature = "demo")]
pub(crate) const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/demo_files.rs"));
/// What is part of this binary: nothing without the feature.
#[cfg(not(feature = "demo"))]
pub(crate) const FILES: &[File] = &[];

/// A route for each file.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(files: &'static [File]) -> Router<S> {
    files.iter().fold(Router::new(), |router, file| {
        // Weak: it is the same for the packed forms.
        let version = format!("W/\"{}\"", &blake3::hash(file.plain).to_hex()[..32]);
        let version = HeaderValue::try_from(version).ok();
        router.route(
            file.path,
            get(move |headers: HeaderMap| async move { file.answer(&headers, version) }),
        )
    })
}

impl File {
    fn answer(self, asked: &HeaderMap, version: Option<HeaderValue>) -> Response {
        let kept = if self.path.starts_with(HASHED) {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (header::CONTENT_TYPE, self.kind),
            (header::CACHE_CONTROL, kept),
            (header::VARY, "accept-encoding"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let known = version.as_ref().is_some_and(|version| names(asked, version));
        headers.extend(version.map(|version| (header::ETAG, version)));
        if known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let accepted = Accepted::read(asked);
        let (body, coding) = match (self.brotli, self.gzip) {
            (Some(packed), _) if accepted.brotli => (packed, Some("br")),
            (_, Some(packed)) if accepted.gzip => (packed, Some("gzip")),
            _ => (self.plain, None),
        };
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        (headers, body).into_response()
    }
}

/// Whether a browser says that it has this version.
fn names(asked: &HeaderMap, version: &HeaderValue) -> bool {
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|tags| tags.split(',')).any(|tag| tag.trim().as_bytes() == version.as_bytes())
}

/// Which packed forms a browser takes.
#[derive(Debug, Default)]
struct Accepted {
    brotli: bool,
    gzip: bool,
}

impl Accepted {
    fn read(asked: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        let values = asked.get_all(header::ACCEPT_ENCODING).iter();
        for coding in values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')) {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
            let wanted = weight.is_ok_and(|weight| weight > 0.0);
            match name.trim() {
                "br" => accepted.brotli = wanted,
                "gzip" => accepted.gzip = wanted,
                _ => {}
            }
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const PAGE: &[File] = &[
        File {
            path: "/",
            kind: "text/html; charset=utf-8",
            plain: b"<!doctype html>",
            brotli: None,
            gzip: None,
        },
        File {
            path: "/assets/page-1a2b.js",
            kind: "text/javascript; charset=utf-8",
            plain: b"plain",
            brotli: Some(b"as brotli"),
            gzip: Some(b"as gzip"),
        },
    ];

    /// What comes for a request, the names of headers in lower case.
    async fn ask(request: &str, headers: &str) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let serving = tokio::spawn(async { axum::serve(listener, routes(PAGE)).await });
        let request =
            format!("{request} HTTP/1.1\r\nhost: h\r\n{headers}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        serving.abort();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let lines = head.lines().map(|line| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}\n", name.to_ascii_lowercase()),
            None => format!("{line}\n"),
        });
        (lines.collect(), body.to_owned())
    }

    #[tokio::test]
    async fn the_index_is_asked_for_again_and_hashed_files_are_not() {
        let (head, body) = ask("GET /", "").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(body, "<!doctype html>");
        for line in [
            "content-type: text/html; charset=utf-8",
            "cache-control: no-cache",
            "script-src 'self' 'wasm-unsafe-eval';",
            "x-content-type-options: nosniff",
        ] {
            assert!(head.contains(line), "{line}: {head}");
        }
        assert!(!head.contains("unsafe-inline") && !head.contains("'unsafe-eval'"), "{head}");
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a version");
        for known in [tag.to_owned(), format!("\"other\", {tag}")] {
            let (head, body) = ask("GET /", &format!("if-none-match: {known}\r\n")).await;
            assert!(head.starts_with("HTTP/1.1 304") && body.is_empty(), "{head}");
        }
        let (head, _) = ask("GET /", "if-none-match: \"other\"\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let (head, _) = ask("GET /assets/page-1a2b.js", "").await;
        assert!(head.contains("cache-control: public, max-age=31536000, immutable"), "{head}");
    }

    #[tokio::test]
    async fn packed_forms_go_to_who_takes_them() {
        for (accepted, coding, expected) in [
            ("gzip, deflate, br", Some("br"), "as brotli"),
            ("gzip", Some("gzip"), "as gzip"),
            ("br;q=0, gzip;q=0.5", Some("gzip"), "as gzip"),
            ("identity", None, "plain"),
            ("br;q=never", None, "plain"),
        ] {
            let asked = format!("accept-encoding: {accepted}\r\n");
            let (head, body) = ask("GET /assets/page-1a2b.js", &asked).await;
            assert_eq!(body, expected, "{accepted}");
            assert!(head.contains("vary: accept-encoding"), "{head}");
            let said = head.lines().find_map(|line| line.strip_prefix("content-encoding: "));
            assert_eq!(said, coding, "{accepted}");
        }
        let (head, body) = ask("HEAD /assets/page-1a2b.js", "").await;
        assert!(head.contains("content-length: 5") && body.is_empty(), "{head}");
    }

    #[tokio::test]
    async fn a_path_names_one_file_or_nothing() {
        for path in [
            "/index.html",
            "/assets/",
            "/assets",
            "/assets/../",
            "/assets/page-1a2b.js/",
            "//assets/page-1a2b.js",
            "/assets/%2e%2e/page-1a2b.js",
            "/assets/..%2f..%2fCargo.toml",
            "/../Cargo.toml",
        ] {
            let (head, _) = ask(&format!("GET {path}"), "").await;
            assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
        }
        let (head, _) = ask("POST /", "content-length: 0\r\n").await;
        assert!(head.starts_with("HTTP/1.1 405"), "{head}");
    }
}
