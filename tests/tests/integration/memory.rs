//! A server that has served many documents lets go of them: what it keeps does not follow what it
//! once had to do.

use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::Ping;
use syncline_tests::many;
use tempfile::tempdir;

use crate::support::{RawClient, ServerProcess, fresh_id, within};

/// Enough to take more than [`KEPT_BYTES_MAX`]; the benchmark `memory` takes 10,000.
const DOCUMENTS: usize = 1_500;
/// What may stay above the size at the start: code that was used by now, page tables, fragments.
const KEPT_BYTES_MAX: u64 = 24 << 20;

#[tokio::test]
async fn a_server_returns_to_near_its_idle_size_after_many_documents() {
    let dir = tempdir().expect("a directory");
    let flags = ["--evict-idle-ms", "100", "--cache-idle-ms", "100"];
    let server = ServerProcess::start(&dir.path().join("server"), &flags).await;
    let Some(idle) = server.resident_bytes() else {
        println!("skipped: this system does not tell a process's memory in /proc");
        return;
    };
    many::write(&server.url(), "town", DOCUMENTS).await;
    let bytes = many::read(&server.url(), "town", DOCUMENTS).await;
    let mut client = RawClient::hello(&server.url(), "watcher", fresh_id(), 1).await;
    let returned = async {
        let mut nonce = 0;
        while server.resident_bytes().is_some_and(|now| now > idle + KEPT_BYTES_MAX) {
            nonce += 1;
            client.say(Ping { nonce }).await;
            client.hear_until(|frame| matches!(frame, ServerFrame::Pong(_)).then_some(())).await;
        }
    };
    within(returned).await;
    // What it let go of is still there.
    assert_eq!(many::read(&server.url(), "town", DOCUMENTS).await, bytes);
    assert_eq!(server.terminate().await, Some(0));
}
