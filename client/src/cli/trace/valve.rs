//! A WebSocket relay between one client and the server that lets the server's changes through only as
//! far as it is told, so that a client's replica stands at exactly the version in which a recorded edit
//! was made. The server, the sockets and the client are the real ones; only the delay is made.
//!
//! Frames are passed on whole and in order. Only frames with changes are held; everything else
//! passes at once. It reads the authors of the changes and nothing else.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use syncline_engine::wire::frame::Changes;
use syncline_engine::wire::{SUBPROTOCOL, ServerFrame, unpack};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::{accept_hdr_async, connect_async};

/// How many changes by each agent.
pub(crate) type Counts = Vec<usize>;

struct Held {
    message: Message,
    /// What has arrived with this frame and those before it.
    counts: Counts,
    /// The log's seq after it.
    seq: u64,
}

struct State {
    /// Names of the agents; changes by others are not counted.
    agents: Vec<String>,
    held: VecDeque<Held>,
    /// What has come from the server.
    arrived: Counts,
    /// What may pass; `None` for everything.
    permitted: Option<Counts>,
    /// What has passed, and the log's seq after it.
    passed: (Counts, u64),
    connections: u32,
    failure: Option<String>,
}

impl State {
    fn passes(&self, counts: &Counts) -> bool {
        let permitted = self.permitted.as_ref();
        permitted.is_none_or(|permitted| counts.iter().zip(permitted).all(|(has, may)| has <= may))
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    passable: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_passable(&self) -> Option<Held> {
        let mut state = self.state();
        let first = state.held.front()?;
        if state.passes(&first.counts) { state.held.pop_front() } else { None }
    }

    fn fail(&self, reason: String) {
        self.state().failure.get_or_insert(reason);
        self.changed.notify_waiters();
    }
}

/// A running relay; dropping it cuts the connection.
pub(crate) struct Valve {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Valve {
    /// Opens a relay to `server` (a WebSocket URL with its path). Everything passes until told
    /// otherwise.
    pub(crate) async fn open(server: String, agents: Vec<String>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("can't open a local port")?;
        let address = listener.local_addr()?;
        let none = vec![0; agents.len()];
        let state = State {
            agents,
            held: VecDeque::new(),
            arrived: none.clone(),
            permitted: None,
            passed: (none, 0),
            connections: 0,
            failure: None,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Notify::new(),
            passable: Notify::new(),
        });
        let task = tokio::spawn(accept(listener, server, Arc::clone(&shared)));
        Ok(Self { shared, address, task })
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// What has come from the server so far.
    pub(crate) fn arrived(&self) -> Counts {
        self.shared.state().arrived.clone()
    }

    /// Lets pass what makes at most `counts`, from here on; `None` for everything.
    pub(crate) fn permit(&self, counts: Option<Counts>) {
        self.shared.state().permitted = counts;
        self.shared.passable.notify_one();
    }

    /// Waits until at least `count` changes by `agent` have come from the server, passed or not.
    pub(crate) async fn wait_arrived(&self, agent: usize, count: usize) -> anyhow::Result<()> {
        self.wait(|state| (state.arrived[agent] >= count).then_some(())).await
    }

    /// Lets `counts` pass, waits until they have, and answers the log's seq after them.
    pub(crate) async fn pass(&self, counts: &Counts, except: usize) -> anyhow::Result<u64> {
        let covers = |have: &Counts| {
            have.iter().zip(counts).enumerate().all(|(a, (have, want))| a == except || have >= want)
        };
        self.wait(|state| covers(&state.arrived).then_some(())).await?;
        let mut permitted = counts.clone();
        // A client's own changes come back to it; they are no news.
        permitted[except] = usize::MAX;
        self.permit(Some(permitted));
        let seq = self.wait(|state| {
            if covers(&state.passed.0) {
                return Some(Some(state.passed.1));
            }
            // Frames pass in order: one that holds too much stays for good.
            state.held.front().filter(|first| !state.passes(&first.counts)).map(|_| None)
        });
        match seq.await? {
            Some(seq) => Ok(seq),
            None => {
                bail!("the log's order has no place at which agent {except} sees just {counts:?}")
            }
        }
    }

    async fn wait<T>(&self, mut done: impl FnMut(&State) -> Option<T>) -> anyhow::Result<T> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // Listening before looking, so that no change falls in between.
            changed.as_mut().enable();
            {
                let state = self.shared.state();
                if let Some(failure) = &state.failure {
                    bail!("{failure}");
                }
                if let Some(done) = done(&state) {
                    return Ok(done);
                }
            }
            changed.await;
        }
    }
}

async fn accept(listener: TcpListener, server: String, shared: Arc<Shared>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { return };
        let connections = {
            let mut state = shared.state();
            state.connections += 1;
            state.connections
        };
        if connections > 1 {
            shared.fail("the connection was lost, so the trace's order can't be kept".to_owned());
            return;
        }
        if let Err(error) = relay(socket, &server, &shared).await {
            shared.fail(format!("the relay to the server failed: {error:#}"));
        }
    }
}

async fn relay(socket: TcpStream, server: &str, shared: &Shared) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let mut request = server.into_client_request().context("the server's address")?;
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    let (upstream, _) = connect_async(request).await.context("can't reach the server")?;
    #[allow(clippy::result_large_err, reason = "the type is the library's")]
    let agree = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        Ok(response)
    };
    let downstream = accept_hdr_async(socket, agree).await.context("the client's handshake")?;
    let (mut to_server, mut from_server) = upstream.split();
    let (mut to_client, mut from_client) = downstream.split();
    let up = async {
        while let Some(message) = from_client.next().await {
            to_server.send(message?).await?;
        }
        anyhow::Ok(())
    };
    let down = async {
        loop {
            tokio::select! {
                message = from_server.next() => match message {
                    Some(message) => {
                        if let Some(free) = sort(message?, shared)? {
                            to_client.send(free).await?;
                        }
                    }
                    None => return anyhow::Ok(()),
                },
                () = shared.passable.notified() => {}
            }
            while let Some(held) = shared.next_passable() {
                to_client.send(held.message).await?;
                shared.state().passed = (held.counts, held.seq);
                shared.changed.notify_waiters();
            }
        }
    };
    tokio::select! { ended = up => ended, ended = down => ended }
}

/// Holds a frame with changes; gives any other back.
fn sort(message: Message, shared: &Shared) -> anyhow::Result<Option<Message>> {
    let Some(changes) = changes_in(&message)? else { return Ok(Some(message)) };
    let mut guard = shared.state();
    let state = &mut *guard;
    for entry in &changes.entries {
        let author = changes.authors.get(usize::from(entry.author));
        let agent = author.and_then(|author| state.agents.iter().position(|name| name == author));
        if let Some(agent) = agent {
            state.arrived[agent] += 1;
        }
    }
    let seq = (changes.first_seq + changes.entries.len() as u64).saturating_sub(1);
    let counts = state.arrived.clone();
    state.held.push_back(Held { message, counts, seq });
    drop(guard);
    shared.changed.notify_waiters();
    Ok(None)
}

fn changes_in(message: &Message) -> anyhow::Result<Option<Changes>> {
    let Message::Binary(bytes) = message else { return Ok(None) };
    let bytes: &Bytes = bytes;
    let frame = ServerFrame::decode(bytes).context("the server's frame")?;
    if let ServerFrame::PackedChanges(packed) = &frame {
        return Ok(Some(unpack(packed).context("packed changes")?));
    }
    if let ServerFrame::Changes(changes) = frame {
        return Ok(Some(changes));
    }
    Ok(None)
}
