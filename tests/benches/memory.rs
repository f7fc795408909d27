//! What a server keeps in memory after it has served many small documents once, and how long
//! commits wait while it gives memory back. The server is a process of its own.

use std::time::{Duration, Instant};

use syncline_tests::many;
use syncline_tests::measure::{row, size, table};
use syncline_tests::process::ServerProcess;

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let documents = size(10_000, 50);
    let flags = ["--evict-idle-ms", "1000", "--log", "warn,syncline_server::store=debug"];
    let server = ServerProcess::start(&dir.path().join("server"), &flags).await;
    table(
        &format!("Memory of a server, {documents} documents of {} changes", many::CHANGES),
        &["when", "resident", "took"],
    );
    let say = |when: &str, begin: Instant| {
        let resident = server.resident_bytes().unwrap_or(0) as f64 / 1e6;
        row(&[&when, &format!("{resident:.1} MB"), &format!("{:.1?}", begin.elapsed())]);
    };
    say("at the start", Instant::now());
    let begin = Instant::now();
    many::write(&server.url(), "town", documents).await;
    say("all written", begin);
    let begin = Instant::now();
    many::read(&server.url(), "town", documents).await;
    say("all read again", begin);
    for seconds in [5, 10] {
        let begin = Instant::now();
        tokio::time::sleep(Duration::from_secs(size(seconds, 0) as u64)).await;
        say("later", begin);
    }
    println!("\n{}", server.log());
}
