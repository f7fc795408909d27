//! A TCP relay that a test can put between a client and a server to hold back or cut what flows.
//! Knows bytes and directions, nothing else.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What holds for all connections at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    /// Connections of an earlier era are cut.
    era: u64,
    up: bool,
    down: bool,
    target: u16,
}

/// A relay to a port of this machine. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
    bytes_up: Arc<watch::Sender<u64>>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

impl Proxy {
    /// Relays to `target` on the loopback address.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (state, watching) = watch::channel(State { era: 0, up: true, down: true, target });
        let bytes_up = Arc::new(watch::Sender::new(0));
        let counter = Arc::clone(&bytes_up);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, watching.clone(), Arc::clone(&counter)));
            }
        });
        Self { port, state: Arc::new(state), bytes_up, accepting }
    }

    /// What clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/v1/sync", self.port)
    }

    /// Holds back (or lets through) what the server says.
    pub fn hold_down(&self, hold: bool) {
        self.state.send_modify(|state| state.down = !hold);
    }

    /// Holds back (or lets through) what clients say.
    pub fn hold_up(&self, hold: bool) {
        self.state.send_modify(|state| state.up = !hold);
    }

    /// Cuts all connections; what was held back is lost. New ones are taken.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.era += 1);
    }

    /// Relays new connections to another port.
    pub fn retarget(&self, target: u16) {
        self.state.send_modify(|state| state.target = target);
    }

    /// Bytes that clients have said and the server was given.
    #[must_use]
    pub fn bytes_up(&self) -> u64 {
        *self.bytes_up.borrow()
    }

    /// The same, to wait for more.
    #[must_use]
    pub fn watch_bytes_up(&self) -> watch::Receiver<u64> {
        self.bytes_up.subscribe()
    }
}

async fn relay(
    client: TcpStream,
    mut state: watch::Receiver<State>,
    bytes_up: Arc<watch::Sender<u64>>,
) {
    let State { era, target, .. } = *state.borrow();
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = copy(from_client, to_server, state.clone(), |state| state.up, Some(&bytes_up));
    let down = copy(from_server, to_client, state.clone(), |state| state.down, None);
    // Either direction's end ends both: the halves are dropped together.
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = state.wait_for(|state| state.era != era) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    open: fn(&State) -> bool,
    counter: Option<&watch::Sender<u64>>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(open).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        if let Some(counter) = counter {
            counter.send_modify(|bytes| *bytes += count as u64);
        }
    }
}
