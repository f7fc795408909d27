//! A relay that knows no documents: what a durable server on this machine could do at best. It appends
//! every message to one file, commits what has gathered with one `fdatasync`, and only then
//! acknowledges it and passes it on to everybody in the room, the author included.
//!
//! Messages are binary, numbers little endian. Both ways `1 | count u32 | count times (length u32 |
//! bytes)`; to an author also `2 | count u64`, so many of its messages are on the disk.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path as FilePath;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc as tokio_mpsc;

const CHANGES: u8 = 1;
const ACK: u8 = 2;
/// Messages that may wait for a slow reader before it is cut off.
const BACKLOG: usize = 4_096;
/// What goes into one commit at most.
const COMMIT_BYTES_MAX: usize = 8 << 20;

/// Changes as a client sent them.
struct Post {
    room: Arc<Room>,
    author: u64,
    count: u32,
    /// The messages with their lengths.
    body: Bytes,
}

#[derive(Default)]
struct Room {
    members: Mutex<HashMap<u64, Member>>,
}

struct Member {
    messages: tokio_mpsc::Sender<Message>,
    settled: u64,
}

struct Relay {
    rooms: Mutex<HashMap<String, Arc<Room>>>,
    committer: mpsc::SyncSender<Post>,
    next: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves on a free port of the loopback until the process ends; says the address on standard output.
pub(crate) async fn serve(log: &FilePath) -> std::io::Result<()> {
    let file = File::options().create(true).append(true).open(log)?;
    let (committer, posts) = mpsc::sync_channel(4_096);
    std::thread::spawn(move || {
        if let Err(error) = commit_all(file, &posts) {
            eprintln!("relay: the disk failed: {error}");
            std::process::exit(1);
        }
    });
    let relay = Relay { rooms: Mutex::default(), committer, next: AtomicU64::new(1) };
    let app = Router::new().route("/room/{name}", get(join)).with_state(Arc::new(relay));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("relay listening on ws://{}", listener.local_addr()?);
    axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |socket| {
            // As the server that it is compared with does.
            let _ = socket.set_nodelay(true);
        }),
        app,
    )
    .await
}

async fn join(
    upgrade: WebSocketUpgrade,
    Path(name): Path<String>,
    State(relay): State<Arc<Relay>>,
) -> Response {
    let room = Arc::clone(lock(&relay.rooms).entry(name).or_default());
    upgrade
        .read_buffer_size(4_096)
        .write_buffer_size(0)
        .on_upgrade(move |socket| attend(relay, room, socket))
}

async fn attend(relay: Arc<Relay>, room: Arc<Room>, socket: WebSocket) {
    let id = relay.next.fetch_add(1, Ordering::Relaxed);
    let (messages, mut outgoing) = tokio_mpsc::channel(BACKLOG);
    lock(&room.members).insert(id, Member { messages, settled: 0 });
    let (mut sink, mut stream) = socket.split();
    let write = async {
        while let Some(message) = outgoing.recv().await {
            if sink.feed(message).await.is_err() {
                return;
            }
            while let Ok(message) = outgoing.try_recv() {
                if sink.feed(message).await.is_err() {
                    return;
                }
            }
            if sink.flush().await.is_err() {
                return;
            }
        }
    };
    let read = async {
        while let Some(Ok(message)) = stream.next().await {
            let Message::Binary(bytes) = message else { continue };
            let Some((count, body)) = parse(&bytes) else { return };
            if count == 0 {
                continue;
            }
            let mut post = Post { room: Arc::clone(&room), author: id, count, body };
            // A full channel means that the disk is behind: reading stops until there is room.
            while let Err(mpsc::TrySendError::Full(back)) = relay.committer.try_send(post) {
                post = back;
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::select! { () = write => {}, () = read => {} }
    lock(&room.members).remove(&id);
}

fn parse(bytes: &Bytes) -> Option<(u32, Bytes)> {
    let head: [u8; 5] = bytes.get(..5)?.try_into().ok()?;
    if head[0] != CHANGES {
        return None;
    }
    Some((u32::from_le_bytes([head[1], head[2], head[3], head[4]]), bytes.slice(5..)))
}

fn commit_all(mut file: File, posts: &mpsc::Receiver<Post>) -> std::io::Result<()> {
    while let Ok(first) = posts.recv() {
        let mut batch = vec![first];
        let mut bytes = batch[0].body.len();
        while bytes < COMMIT_BYTES_MAX
            && let Ok(post) = posts.try_recv()
        {
            bytes += post.body.len();
            batch.push(post);
        }
        let mut written = Vec::with_capacity(bytes);
        batch.iter().for_each(|post| written.extend_from_slice(&post.body));
        file.write_all(&written)?;
        file.sync_data()?;
        relay(&batch);
    }
    Ok(())
}

/// Acknowledges and passes on, one message per room for the whole batch.
fn relay(batch: &[Post]) {
    let mut rooms: Vec<(&Arc<Room>, Vec<&Post>)> = Vec::new();
    for post in batch {
        match rooms.iter_mut().find(|(room, _)| Arc::ptr_eq(room, &post.room)) {
            Some((_, posts)) => posts.push(post),
            None => rooms.push((&post.room, vec![post])),
        }
    }
    for (room, posts) in rooms {
        let count: u32 = posts.iter().map(|post| post.count).sum();
        let mut body = BytesMut::new();
        body.put_u8(CHANGES);
        body.put_u32_le(count);
        posts.iter().for_each(|post| body.put_slice(&post.body));
        let message = Message::Binary(body.freeze());
        let mut members = lock(&room.members);
        for post in posts {
            if let Some(author) = members.get_mut(&post.author) {
                author.settled += u64::from(post.count);
                let mut ack = BytesMut::new();
                ack.put_u8(ACK);
                ack.put_u64_le(author.settled);
                // A reader that is cut off below hears nothing more.
                let _ = author.messages.try_send(Message::Binary(ack.freeze()));
            }
        }
        // A relay has no cursors: who does not keep up is cut off.
        members.retain(|_, member| member.messages.try_send(message.clone()).is_ok());
    }
}
