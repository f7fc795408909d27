//! Little that would become much: nothing that somebody deflated is inflated to see what is in it.

use automerge::transaction::Transactable;
use automerge::{Change, ROOT};
use syncline_engine::codes::Code;
use syncline_engine::limits::CHANGE_BYTES_MAX;
use syncline_engine::wire::frame::{Blob, PackedChanges, Push, Restore};
use syncline_engine::wire::{CloseCode, SUBPROTOCOL, ServerFrame};
use syncline_tests::web::Web;

use super::{Forger, Stage, address, refusal, send};

/// What each becomes if it is inflated: nearly as much as fits a change, at a thousand to one.
const INFLATED_BYTES: u32 = 56 << 20;

/// A change that puts a long text, as automerge keeps it: deflated as a whole.
fn deflated_change(eve: &Forger) -> Vec<u8> {
    let mut document = eve.document.automerge.clone();
    document.set_actor(eve.lease.actor.as_slice().into());
    let mut transaction = document.transaction();
    transaction.put(ROOT, "bomb", "a".repeat(INFLATED_BYTES as usize)).expect("it can be put");
    transaction.commit();
    let mut change: Change = document.get_last_local_change().expect("there is one");
    change.bytes().into_owned()
}

/// A whole document of that, whose columns are deflated one by one.
fn deflated_document(eve: &Forger) -> Vec<u8> {
    let mut document = eve.document.automerge.clone();
    let mut transaction = document.transaction();
    transaction.put(ROOT, "bomb", "a".repeat(INFLATED_BYTES as usize)).expect("it can be put");
    transaction.commit();
    document.save()
}

/// The same change with the bit set that says that a column is deflated.
fn with_a_deflated_column(eve: &Forger) -> Vec<Vec<u8>> {
    let honest = eve.honest().raw_bytes().to_vec();
    // Wherever the columns begin, each byte after the header is tried; the checksum is made right.
    (10..honest.len())
        .filter(|at| honest[*at] & 0x08 == 0)
        .map(|at| {
            let mut forged = honest.clone();
            forged[at] |= 0x08;
            seal(&mut forged);
            forged
        })
        .collect()
}

/// Makes the checksum of a chunk that of its bytes.
fn seal(chunk: &mut [u8]) {
    use sha2::{Digest, Sha256};
    let checksum = Sha256::digest(&chunk[8..]);
    chunk[4..8].copy_from_slice(&checksum[..4]);
}

#[tokio::test]
async fn deflated_changes_and_documents_are_refused_as_they_are_pushed_or_handed_back_pu1_rs2() {
    let mut stage = Stage::set().await;
    let mut eve = Forger::begin(&stage, &address("town/bomb/likes")).await;
    eve.recovers_from_nothing().await;
    let handle = eve.opened.handle;
    let bombs = [deflated_change(&eve), deflated_document(&eve)];
    for bomb in bombs {
        assert!(bomb.len() < CHANGE_BYTES_MAX, "{} bytes are no bomb", bomb.len());
        let changes = vec![Blob(bomb.into())];
        eve.client.say(Push { handle, first: eve.next, changes: changes.clone() }).await;
        assert_eq!(refusal(&mut eve.client).await, Code::BadChange.number());
        eve.client.say(Restore { handle, proof: None, changes, last: true }).await;
        let restored = eve.client.hear_until(|frame| match frame {
            ServerFrame::Restored(restored) => Some(restored),
            _ => None,
        });
        let restored = restored.await;
        assert_eq!((restored.accepted, restored.refused), (0, Some(Code::BadChange.number())));
        eve.recovers().await;
        stage.others_go_on().await;
    }
    if let (Some(idle), Some(peak)) = (stage.idle_bytes, stage.server.peak_bytes()) {
        assert!(peak < idle + u64::from(INFLATED_BYTES), "from {idle} to {peak} bytes");
    }
    stage.ends_unharmed().await;
}

#[tokio::test]
async fn a_change_with_a_column_that_says_it_is_deflated_is_refused_pu1() {
    let mut stage = Stage::set().await;
    let mut eve = Forger::begin(&stage, &address("town/columns/likes")).await;
    eve.recovers_from_nothing().await;
    let handle = eve.opened.handle;
    for forged in with_a_deflated_column(&eve) {
        let changes = vec![Blob(forged.into())];
        eve.client.say(Restore { handle, proof: None, changes, last: true }).await;
        let restored = eve.client.hear_until(|frame| match frame {
            ServerFrame::Restored(restored) => Some(restored),
            _ => None,
        });
        let restored = restored.await;
        assert!(restored.accepted == 0 && restored.refused.is_some(), "{restored:?}");
    }
    stage.others_go_on().await;
    stage.ends_unharmed().await;
}

#[tokio::test]
async fn what_only_the_server_packs_is_not_unpacked_there_fr4() {
    let mut stage = Stage::set().await;
    // Raw deflate: one byte, and then copies of it in stored blocks would be long; this announces.
    for bytes in [1 << 20, u32::MAX] {
        let bomb = PackedChanges { bytes, deflated: Blob(vec![0x63; 64 << 10].into()) };
        let bomb = ServerFrame::from(bomb).encode().expect("it fits").to_vec();
        let mut eve = stage.hello().await;
        let fatal = Some(CloseCode::of(Code::BadFrame).0);
        assert_eq!(send(&mut eve, bomb).await.1, fatal);
    }
    stage.others_go_on().await;
    stage.ends_unharmed().await;
}

#[tokio::test]
async fn messages_are_not_deflated_whoever_offers_it() {
    let stage = Stage::set().await;
    let web = Web::new(stage.server.port());
    let mut said = format!(
        "GET /v1/sync HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: {SUBPROTOCOL}\r\n\
         sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
    .into_bytes();
    // A binary message that says of itself that it is deflated, masked with zeros.
    said.extend([0xc2, 0x85, 0, 0, 0, 0, 0x63, 0x60, 0, 0, 0]);
    let heard = web.say(&said).await;
    assert!(heard.starts_with("HTTP/1.1 101"), "{heard}");
    assert!(!heard.to_lowercase().contains("sec-websocket-extensions"), "{heard}");
    stage.ends_unharmed().await;
}
