//! A load of many small documents: each is written by somebody and let go, and read by somebody else
//! later. Knows nothing of what it is meant to show.

use std::sync::atomic::{AtomicU64, Ordering};

use automerge::Change;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{Command, LikesCommand, Target};
use syncline_engine::ids::{Address, Facet, Ulid, UserId};
use syncline_engine::wire::frame::Unsubscribe;
use tokio::task::JoinSet;

use crate::raw::{RawClient, RawDocument};

/// Small changes in each document.
pub const CHANGES: usize = 20;
/// Connections that share the work.
const CONNECTIONS: usize = 16;

#[derive(Debug, Clone, Copy)]
enum Wave {
    Write,
    Read,
}

/// Writes documents `0..count` of a space, [`CHANGES`] likes in each, and lets go of each as soon as
/// all is acknowledged.
///
/// # Panics
/// If a server does not take it all.
pub async fn write(url: &str, space: &str, count: usize) {
    wave(url, space, count, Wave::Write).await;
}

/// Reads the same documents as somebody who has none of them. Answers how many bytes of changes
/// they have.
///
/// # Panics
/// If a document lacks something.
pub async fn read(url: &str, space: &str, count: usize) -> usize {
    wave(url, space, count, Wave::Read).await
}

async fn wave(url: &str, space: &str, count: usize, wave: Wave) -> usize {
    let mut lanes = JoinSet::new();
    for lane in 0..CONNECTIONS {
        let (url, space) = (url.to_owned(), space.to_owned());
        lanes.spawn(async move {
            let id = identity();
            let user = format!("user-{lane}");
            let mut client = RawClient::hello(&url, &user, id, 1).await;
            let mut bytes = 0;
            for number in (lane..count).step_by(CONNECTIONS) {
                let address = Address::new(&space, &format!("d{number:06}"), Facet::Likes);
                let address = address.expect("an address");
                bytes += match wave {
                    Wave::Write => write_one(&mut client, &user, &address, id).await,
                    Wave::Read => read_one(&mut client, &address, id).await,
                };
            }
            bytes
        });
    }
    lanes.join_all().await.into_iter().sum()
}

/// A session and outbox that nobody had before in this process.
fn identity() -> [u8; 16] {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let mut id = [0x3a; 16];
    id[..8].copy_from_slice(&LAST.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    id
}

async fn write_one(
    client: &mut RawClient,
    user: &str,
    address: &Address,
    outbox: [u8; 16],
) -> usize {
    let opened = client.subscribe(address, outbox, true).await;
    let mut document = client.read(address, &opened).await;
    let lease = opened.lease.as_ref().expect("a lease was asked for");
    let commands: Vec<Command> = (0..CHANGES).map(|number| like(user, number)).collect();
    let changes = document.write(lease, &commands);
    for (number, change) in (1..).zip(&changes) {
        client.push(opened.handle, number, std::slice::from_ref(change)).await;
    }
    client.acked(opened.handle, CHANGES as u64).await;
    client.say(Unsubscribe { handle: opened.handle }).await;
    changes.iter().map(|change: &Change| change.raw_bytes().len()).sum()
}

async fn read_one(client: &mut RawClient, address: &Address, outbox: [u8; 16]) -> usize {
    let opened = client.subscribe(address, outbox, false).await;
    let document: RawDocument = client.read(address, &opened).await;
    assert!(document.seq() >= CHANGES as u64, "{address} has {}", document.seq());
    client.say(Unsubscribe { handle: opened.handle }).await;
    document.automerge.get_changes(&[]).iter().map(|change| change.raw_bytes().len()).sum()
}

/// A like of one of many comments.
fn like(user: &str, number: usize) -> Command {
    let number = number as u64;
    let at = Ulid::new(Timestamp(1_700_000_000_000 + number), u128::from(number));
    Command::Likes(LikesCommand::Like {
        target: Target::Comment(at),
        reaction: "like".to_owned(),
        user: UserId::new(user).expect("a name"),
        at,
    })
}
