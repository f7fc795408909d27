//! The demo page as the server serves it: what was built is what comes, over a socket. Needs the
//! feature `demo` and a page in `target/web/demo`; `cargo xtask browser` sees to both.

use std::path::Path;

use syncline_server::Server;

#[path = "support/mod.rs"]
mod support;
use support::{config, page, status};

#[tokio::test]
async fn everything_that_the_page_names_is_served_beside_the_protocol() {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/web/demo/index.html");
    let built = std::fs::read_to_string(built).expect("a page was built: `cargo xtask demo-page`");
    let server = Server::start(config()).await.expect("it starts");
    let at = server.local_addr();
    let index = page(at, "/").await;
    assert_eq!(status(&index), 200);
    assert_eq!(index.split_once("\r\n\r\n").expect("a body").1, built);

    let mut named = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        let values = built.split(attribute).skip(1);
        named.extend(values.filter_map(|rest| rest.split('"').next()));
    }
    assert!(named.iter().any(|path| path.ends_with(".js")), "{named:?}");
    for path in named {
        let path = path.strip_prefix('.').unwrap_or(path);
        assert_eq!(status(&page(at, path).await), 200, "{path}");
    }
    for (path, expected) in [("/healthz", 200), ("/v1/openapi.json", 200), ("/index.html", 404)] {
        assert_eq!(status(&page(at, path).await), expected, "{path}");
    }
}
