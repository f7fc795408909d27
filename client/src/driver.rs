//! The loop around the session: hands it what happens, carries out what it asks, and tells whoever
//! waits. Must never decide anything about sync, and never hold its lock across an await.
//!
//! Everything goes through one mutex. Whoever has something to say (a caller with a command, the
//! connection with a message, the store's thread with an answer) takes it, hands the input in and
//! carries out the effects before letting go; so effects keep their order and a command shows in the
//! view before the call returns. Effects only queue work up: nothing blocks under the lock.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::{Command, Event, View};
use syncline_engine::ids::{Address, Ids, Ulid, UserId};
use syncline_engine::machine::{Machine, Wake};
use syncline_engine::session::{
    CommandId, ConnectionId, ConnectionStatus, DocumentStatus, Effect, Ending, ExecuteError,
    Execution, Input, Notice, Resolution, Session, SpaceAct, SpaceNews, SpaceStatus,
};
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::connection::{self, CLOSE_TIMEOUT, Outgoing, SEND_QUEUE_MAX};
use crate::document::{Change, CommandError};
use crate::endpoint::Endpoint;
use crate::feed::Feeds;
use crate::space;
use crate::status::{ClientClosed, DocumentState, Problem, SyncStatus};
use crate::store::Store;
use crate::trust::Trust;
use crate::writer::{Request, Which, Writer};

/// Writes that the store has not answered, above which nothing more is read from the server.
const WRITES_AHEAD_OF_READING: u64 = 256;
/// Writes that the store has not answered, above which commands are refused.
const WRITES_AHEAD_OF_COMMANDS: u64 = 16_384;
/// Changes of a document that a slow reader may lag behind before it loses some. Each open document
/// pays for these in memory.
const CHANGES_BACKLOG: usize = 128;
/// The same for what happens in a space.
const SPACE_BACKLOG: usize = 256;
/// The same for the notices of a client.
const NOTICES_BACKLOG: usize = 1_024;
/// A wake in the past must not keep a processor busy.
const NAP_MIN: Duration = Duration::from_millis(1);
/// How long an orderly end may take before the client is ended anyway.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// One client's machinery, shared by its handles, its connection, its timer and its store's thread.
pub(crate) struct Driver {
    this: Weak<Self>,
    core: Mutex<Core>,
    user: UserId,
    endpoint: Endpoint,
    trust: Trust,
    runtime: Handle,
    /// Rings when the session's next timeout may have moved.
    timer: Notify,
    connection: watch::Sender<ConnectionStatus>,
    status: watch::Sender<SyncStatus>,
    notices: broadcast::Sender<Notice>,
    /// Counts what is new about streams.
    streams: watch::Sender<u64>,
    /// How many write requests are on disk.
    stored: watch::Sender<u64>,
    /// The session has stopped, or its store failed.
    ended: watch::Sender<bool>,
    /// The store's thread is gone, and its lock with it.
    store_closed: watch::Receiver<bool>,
    /// How many connection tasks there are.
    connections: watch::Sender<usize>,
    feeds: Feeds,
}

struct Core {
    session: Session,
    clock: Clock,
    ids: Ids,
    /// `None` once everything is over.
    writer: Option<Writer>,
    link: Option<Link>,
    documents: BTreeMap<Address, Channels>,
    spaces: BTreeMap<String, space::Channels>,
    /// Documents that can't be opened or synced.
    problems: BTreeMap<Address, Problem>,
    waiting: BTreeMap<CommandId, oneshot::Sender<Resolution>>,
    /// Write requests made so far.
    asked: u64,
    /// What the session is to hear once the present input is dealt with.
    next: Vec<Input>,
    wake: Option<Wake>,
    opened: u64,
    frames_sent: u64,
    frames_received: u64,
    last_durable: Option<Timestamp>,
    /// The app says itself which endings it has taken.
    by_hand: bool,
}

/// The connection that the session knows.
struct Link {
    connection: ConnectionId,
    queue: mpsc::Sender<Outgoing>,
    /// Dropped with the rest, which tells the connection that it has little time left.
    _hold: oneshot::Sender<()>,
}

/// What the handles of one open document share.
struct Channels {
    /// Tells one opening of a document from the next.
    opening: u64,
    handles: Weak<crate::document::Shared>,
    state: watch::Sender<DocumentState>,
    changes: broadcast::Sender<Change>,
    /// The view as of the last change, if somebody asked for it since.
    view: Option<Arc<View>>,
}

/// What a handle of a document is made of.
pub(crate) struct Opened {
    pub(crate) opening: u64,
    pub(crate) state: watch::Receiver<DocumentState>,
}

/// A command that was taken on.
pub(crate) struct Taken {
    pub(crate) id: CommandId,
    pub(crate) resolution: oneshot::Receiver<Resolution>,
    /// The command is on disk when this many write requests are.
    pub(crate) stored_at: u64,
    pub(crate) stored: watch::Receiver<u64>,
    pub(crate) ended: watch::Receiver<bool>,
}

/// What a command may need of the moment in which it is made.
pub(crate) struct Moment<'a> {
    pub(crate) now: Timestamp,
    ids: &'a mut Ids,
}

impl Moment<'_> {
    /// An id for now, larger than any drawn before and than `largest`.
    pub(crate) fn id_after(&mut self, largest: Option<Ulid>) -> Ulid {
        self.ids.after(largest, self.now)
    }
}

impl Driver {
    /// Starts the store's thread and the timer, and lets the session begin.
    pub(crate) fn start(
        session: Session,
        store: Box<dyn Store>,
        (endpoint, trust): (Endpoint, Trust),
        secret: [u8; 32],
        clock: Clock,
        by_hand: bool,
    ) -> std::io::Result<Arc<Self>> {
        let (closed, store_closed) = watch::channel(false);
        let (route, answers) = oneshot::channel::<Weak<Self>>();
        let mut answers = Some(answers);
        let mut driver: Weak<Self> = Weak::new();
        let answer = move |inputs: Vec<Input>| {
            if let Some(answers) = answers.take() {
                driver = answers.blocking_recv().unwrap_or_default();
            }
            if let Some(driver) = driver.upgrade() {
                driver.inputs(inputs);
            }
        };
        let writer = Writer::start(store, answer, closed)?;
        let driver = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            user: session.user().clone(),
            core: Mutex::new(Core::new(session, clock, Ids::new(secret), writer, by_hand)),
            endpoint,
            trust,
            runtime: Handle::current(),
            timer: Notify::new(),
            connection: watch::Sender::new(ConnectionStatus::Idle),
            status: watch::Sender::new(SyncStatus::default()),
            notices: broadcast::Sender::new(NOTICES_BACKLOG),
            streams: watch::Sender::new(0),
            stored: watch::Sender::new(0),
            ended: watch::Sender::new(false),
            store_closed,
            connections: watch::Sender::new(0),
            feeds: Feeds::default(),
        });
        // The thread waits for it, and is still there.
        let _ = route.send(driver.this.clone());
        driver.runtime.spawn(Arc::clone(&driver).keep_time());
        driver.inputs(Vec::new());
        Ok(driver)
    }

    /// A panic under the lock is a bug in the session: what it then holds is not to be trusted, and
    /// the client is over.
    fn core(&self) -> Result<MutexGuard<'_, Core>, ClientClosed> {
        self.core.lock().map_err(|poisoned| {
            self.end(&mut poisoned.into_inner());
            ClientClosed
        })
    }

    pub(crate) const fn user(&self) -> &UserId {
        &self.user
    }

    /// The feeds that are followed.
    pub(crate) const fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// Hands in something that happened.
    pub(crate) fn input(&self, input: Input) {
        self.inputs(vec![input]);
    }

    fn inputs(&self, inputs: Vec<Input>) {
        if let Ok(mut core) = self.core() {
            core.next.extend(inputs);
            self.work(&mut core);
        }
    }

    /// Lets the session hear everything that is to be heard, and does everything that it asks.
    fn work(&self, core: &mut Core) {
        let mut told = self.carry_out_all(core);
        let mut inputs = std::mem::take(&mut core.next);
        while !inputs.is_empty() {
            for input in inputs {
                told |= self.hear(core, input);
            }
            inputs = std::mem::take(&mut core.next);
        }
        if told || core.session.documents() != self.status.borrow().open_documents {
            self.publish(core);
        }
        let wake = core.session.poll_timeout();
        if wake != core.wake {
            core.wake = wake;
            self.timer.notify_one();
        }
    }

    fn hear(&self, core: &mut Core, input: Input) -> bool {
        let now = core.clock.now();
        let failed = match &input {
            Input::Written { result, .. } => {
                if result.is_ok() {
                    self.stored.send_modify(|stored| *stored += 1);
                }
                result.is_err()
            }
            Input::Received { .. } => {
                core.frames_received += 1;
                false
            }
            Input::Disconnected { connection, .. } => {
                core.link.take_if(|link| link.connection == *connection);
                false
            }
            Input::SetOnline(_)
            | Input::SetNetwork(_)
            | Input::SetVisible(_)
            | Input::Active
            | Input::Space { .. }
            | Input::Reconnect
            | Input::SetToken(_)
            | Input::Open { .. }
            | Input::Close { .. }
            | Input::FollowFeed { .. }
            | Input::LeaveFeed { .. }
            | Input::Command { .. }
            | Input::Taken { .. }
            | Input::Dismissed { .. }
            | Input::Connected { .. }
            | Input::Read { .. }
            | Input::Tick
            | Input::Shutdown => false,
        };
        core.session.handle(now, input);
        let told = self.carry_out_all(core);
        if failed {
            self.end(core);
        }
        told
    }

    fn carry_out_all(&self, core: &mut Core) -> bool {
        let mut told = false;
        while let Some(effect) = core.session.poll_effect() {
            match effect {
                Effect::Connect { connection } => self.connect(core, connection),
                Effect::Send { connection, message } => {
                    core.frames_sent += 1;
                    core.send(connection, Outgoing::Message(message));
                }
                Effect::Disconnect { connection } => core.send(connection, Outgoing::Close),
                Effect::Write { token, writes } => {
                    core.asked += 1;
                    core.ask(Request::Write { token, writes });
                }
                Effect::Read { token, prefix } => core.ask(Request::Read { token, prefix }),
                Effect::Notify(notice) => {
                    told = true;
                    self.tell(core, notice);
                }
                Effect::Stop => self.end(core),
            }
        }
        told
    }

    fn connect(&self, core: &mut Core, connection: ConnectionId) {
        let Some(driver) = self.this.upgrade() else {
            return;
        };
        let (queue, outgoing) = mpsc::channel(SEND_QUEUE_MAX);
        let (hold, let_go) = oneshot::channel();
        core.link = Some(Link { connection, queue, _hold: hold });
        let server = (self.endpoint.clone(), self.trust.clone());
        self.connections.send_modify(|count| *count += 1);
        self.runtime.spawn(async move {
            connection::run(Arc::clone(&driver), connection, server, outgoing, let_go).await;
            driver.connections.send_modify(|count| *count -= 1);
        });
    }

    fn tell(&self, core: &mut Core, notice: Notice) {
        match &notice {
            Notice::Connection(status) => {
                tracing::debug!(?status, "connection");
                self.connection.send_replace(status.clone());
            }
            Notice::Document { address, status } => core.document_status(address, *status),
            Notice::Changed { address, events, local } => {
                core.document_changed(address, events, *local);
            }
            Notice::Feed { space, .. } => self.feeds.tell(space, core.session.feed(space)),
            Notice::Space { space, news } => core.space_news(space, news),
            Notice::Applied { .. } | Notice::TokenWanted | Notice::Dropped { .. } => {}
            // The streams' handles look for themselves.
            Notice::Stream { .. } => return self.streams.send_modify(|news| *news += 1),
            Notice::Resolved { id, resolution, .. } => {
                if *resolution == Resolution::Confirmed {
                    core.last_durable = Some(core.clock.now());
                }
                // Whoever issued the command need not wait for it.
                let waiting = core.waiting.remove(id);
                let awaited = waiting.is_some_and(|w| w.send(resolution.clone()).is_ok());
                if !core.by_hand && (awaited || self.notices.receiver_count() > 0) {
                    core.next.push(Input::Taken { id: *id });
                }
            }
            Notice::Problem { address, code, message } => {
                tracing::warn!(%code, address = address.as_ref().map(tracing::field::display), %message, "problem");
                core.document_problem(address.as_ref(), *code, message);
            }
        }
        // Nobody may be listening.
        let _ = self.notices.send(notice);
    }

    /// Brings the status that apps see up to date.
    fn publish(&self, core: &Core) {
        let stats = core.session.stats();
        self.status.send_if_modified(|status| {
            let before = status.clone();
            status.bytes_sent = stats.bytes_sent;
            status.bytes_received = stats.bytes_received;
            status.frames_sent = core.frames_sent;
            status.frames_received = core.frames_received;
            status.open_documents = stats.documents;
            status.live_documents = stats.live;
            status.pending = stats.pending;
            status.problem = core.problem().cloned();
            status.last_durable = core.last_durable;
            status.outbox_bytes = stats.outbox_bytes;
            status.oldest_pending = stats.oldest_pending;
            status.next_attempt = stats.next_attempt;
            status.refused = stats.refused;
            status.connection = self.connection.borrow().clone();
            *status != before
        });
    }

    /// Everything is over: whoever waits hears of it, and the store is closed once its queue is
    /// written.
    fn end(&self, core: &mut Core) {
        core.writer = None;
        if let Some(link) = core.link.take() {
            // If its queue is full the connection ends without a goodbye.
            let _ = link.queue.try_send(Outgoing::Close);
        }
        core.waiting.clear();
        core.documents.clear();
        self.feeds.end();
        core.spaces.clear();
        self.ended.send_replace(true);
    }

    async fn keep_time(self: Arc<Self>) {
        let mut ended = self.ended.subscribe();
        loop {
            let wait = match self.core() {
                Ok(mut core) => core.wake.map(|wake| wake.at.since(core.clock.now())),
                Err(ClientClosed) => return,
            };
            let alarm = async {
                match wait {
                    Some(wait) => sleep(wait.max(NAP_MIN)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = alarm => self.input(Input::Tick),
                () = self.timer.notified() => {}
                _ = ended.wait_for(|ended| *ended) => return,
            }
        }
    }

    /// Opens a document, or joins those who have it open.
    pub(crate) fn open(
        &self,
        address: &Address,
        write: bool,
        make: impl FnOnce(Opened) -> Arc<crate::document::Shared>,
    ) -> Result<Arc<crate::document::Shared>, ClientClosed> {
        let mut core = self.core()?;
        if core.writer.is_none() {
            return Err(ClientClosed);
        }
        core.next.push(Input::Open { address: address.clone(), write });
        let present = core.documents.get(address).and_then(|open| open.handles.upgrade());
        let shared = if let Some(shared) = present {
            shared
        } else {
            core.opened += 1;
            let opening = core.opened;
            let state = watch::Sender::new(DocumentState::default());
            let changes = broadcast::Sender::new(CHANGES_BACKLOG);
            let shared = make(Opened { opening, state: state.subscribe() });
            let handles = Arc::downgrade(&shared);
            let channels = Channels { opening, handles, state, changes, view: None };
            core.documents.insert(address.clone(), channels);
            shared
        };
        self.work(&mut core);
        // The session says nothing about a document that it holds already.
        if let Some(status) = core.session.status(address) {
            core.document_status(address, status);
        }
        if let Some(problem) = core.problems.get(address).cloned() {
            core.document_problem(Some(address), problem.code, &problem.message);
        }
        Ok(shared)
    }

    /// The last handle of an opening is gone.
    pub(crate) fn close(&self, address: &Address, opening: u64) {
        let Ok(mut core) = self.core() else {
            return;
        };
        // Somebody may have opened it anew since.
        if core.documents.get(address).is_some_and(|open| open.opening == opening) {
            core.documents.remove(address);
            core.problems.remove(address);
            core.next.push(Input::Close { address: address.clone() });
            self.work(&mut core);
        }
    }

    /// Enters a space, or joins those who are in it.
    pub(crate) fn enter_space(
        &self,
        name: &str,
        visible: bool,
        make: impl FnOnce(u64, watch::Receiver<SpaceStatus>) -> Arc<space::Shared>,
    ) -> Result<Arc<space::Shared>, ClientClosed> {
        let mut core = self.core()?;
        if core.writer.is_none() {
            return Err(ClientClosed);
        }
        let present = core.spaces.get(name).and_then(|space| space.handles.upgrade());
        let shared = if let Some(shared) = present {
            shared
        } else {
            core.opened += 1;
            let opening = core.opened;
            let status = watch::Sender::new(SpaceStatus::Apart);
            let news = broadcast::Sender::new(SPACE_BACKLOG);
            let shared = make(opening, status.subscribe());
            let handles = Arc::downgrade(&shared);
            let channels = space::Channels { opening, handles, status, news };
            core.spaces.insert(name.to_owned(), channels);
            shared
        };
        let (space, act) = (name.to_owned(), SpaceAct::Enter { visible });
        core.next.push(Input::Space { space, act });
        self.work(&mut core);
        // The session says nothing of where it is already.
        if let Some(status) = core.session.space_status(name).cloned()
            && let Some(space) = core.spaces.get(name)
        {
            space.status.send_replace(status);
        }
        Ok(shared)
    }

    /// The last handle of a space is gone.
    pub(crate) fn leave_space(&self, name: &str, opening: u64) {
        let Ok(mut core) = self.core() else {
            return;
        };
        // Somebody may have entered it anew since.
        if core.spaces.get(name).is_some_and(|space| space.opening == opening) {
            core.spaces.remove(name);
            let (space, act) = (name.to_owned(), SpaceAct::Leave);
            core.next.push(Input::Space { space, act });
            self.work(&mut core);
        }
    }

    /// Does something in a space.
    pub(crate) fn act(&self, space: &str, act: SpaceAct) {
        self.input(Input::Space { space: space.to_owned(), act });
    }

    /// What happens in a space from here on; `None` if the app is not in it any more.
    pub(crate) fn space_news(&self, name: &str) -> Option<broadcast::Receiver<SpaceNews>> {
        Some(self.core().ok()?.spaces.get(name)?.news.subscribe())
    }

    /// Carries out what `make` makes of the document as it is. The view shows it when this returns.
    /// `None` if there is nothing to do.
    pub(crate) fn execute(
        &self,
        address: &Address,
        make: impl FnOnce(&View, &mut Moment<'_>) -> Option<Command>,
    ) -> Result<Option<Taken>, CommandError> {
        let mut guard = self.core()?;
        let core = &mut *guard;
        if core.writer.is_none() {
            return Err(CommandError::Closed(ClientClosed));
        }
        if core.asked - *self.stored.borrow() > WRITES_AHEAD_OF_COMMANDS {
            return Err(CommandError::StoreBusy);
        }
        let now = core.clock.now();
        let view = core.session.view(address).ok_or_else(|| core.unusable(address))?;
        let Some(command) = make(view, &mut Moment { now, ids: &mut core.ids }) else {
            return Ok(None);
        };
        self.issue(core, now, address, |session, id| session.execute(now, id, address, command))
            .map(Some)
    }

    /// Undoes or redoes the last command of a document.
    pub(crate) fn take_back(&self, address: &Address, undo: bool) -> Result<Taken, CommandError> {
        let mut guard = self.core()?;
        let core = &mut *guard;
        if core.writer.is_none() {
            return Err(CommandError::Closed(ClientClosed));
        }
        let now = core.clock.now();
        self.issue(core, now, address, |session, id| {
            if undo { session.undo(now, id, address) } else { session.redo(now, id, address) }
        })
    }

    /// Carries out an edit that is one of many. Answers the name of the command it is part of.
    pub(crate) fn execute_typed(
        &self,
        address: &Address,
        command: Command,
    ) -> Result<CommandId, CommandError> {
        let mut guard = self.core()?;
        let core = &mut *guard;
        if core.writer.is_none() {
            return Err(CommandError::Closed(ClientClosed));
        }
        if core.asked - *self.stored.borrow() > WRITES_AHEAD_OF_COMMANDS {
            return Err(CommandError::StoreBusy);
        }
        let now = core.clock.now();
        let id = core.ids.after(None, now);
        let taken = core.session.execute_typed(now, id, address, command);
        self.work(core);
        taken.map_err(|error| core.refusal(address, error))
    }

    /// Carries out what was typed and held back.
    pub(crate) fn flush(&self, address: &Address) {
        if let Ok(mut core) = self.core() {
            let now = core.clock.now();
            core.session.flush(now, address);
            self.work(&mut core);
        }
    }

    /// Has the session carry something out as a new command.
    fn issue(
        &self,
        core: &mut Core,
        now: Timestamp,
        address: &Address,
        carry_out: impl FnOnce(&mut Session, CommandId) -> Result<Execution, ExecuteError>,
    ) -> Result<Taken, CommandError> {
        let id = core.ids.after(None, now);
        let (waiting, resolution) = oneshot::channel();
        core.waiting.insert(id, waiting);
        let outcome = carry_out(&mut core.session, id);
        if outcome.is_err() {
            core.waiting.remove(&id);
        }
        self.work(core);
        outcome.map_err(|error| core.refusal(address, error))?;
        Ok(Taken {
            id,
            resolution,
            stored_at: core.asked,
            stored: self.stored.subscribe(),
            ended: self.ended.subscribe(),
        })
    }

    /// Shows a document to `look`, if it is open and read.
    pub(crate) fn with_view<R>(
        &self,
        address: &Address,
        look: impl FnOnce(&View) -> R,
    ) -> Option<R> {
        let core = self.core().ok()?;
        let view = core.session.view(address)?;
        // A panic of the app's must not pass for one of the session's.
        let seen = catch_unwind(AssertUnwindSafe(|| look(view)));
        drop(core);
        Some(seen.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// What happens in a document from here on; `None` if it is not open any more.
    pub(crate) fn changes(&self, address: &Address) -> Option<broadcast::Receiver<Change>> {
        Some(self.core().ok()?.documents.get(address)?.changes.subscribe())
    }

    /// A copy of a document's view, shared by all who ask between two changes.
    pub(crate) fn view(&self, address: &Address) -> Option<Arc<View>> {
        let mut core = self.core().ok()?;
        let core = &mut *core;
        let view = core.session.view(address)?;
        match core.documents.get_mut(address) {
            Some(open) => Some(Arc::clone(open.view.get_or_insert_with(|| Arc::new(view.clone())))),
            None => Some(Arc::new(view.clone())),
        }
    }

    /// An id for now that is larger than any drawn before.
    pub(crate) fn new_id(&self) -> Ulid {
        // Whatever happened to the session, this part is sound.
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let now = core.clock.now();
        core.ids.after(None, now)
    }

    /// The documents that the store knows, in order.
    pub(crate) async fn stored(&self, which: Which) -> Result<Vec<Address>, Problem> {
        let (answer, listed) = oneshot::channel();
        match self.core() {
            Ok(core) => match &core.writer {
                Some(writer) => drop(writer.ask(Request::List { which, answer })),
                None => return Err(Problem::closed(None)),
            },
            Err(ClientClosed) => return Err(Problem::closed(None)),
        }
        let listed = listed.await.map_err(|_| Problem::closed(None))?;
        listed.map_err(|message| Problem { address: None, code: Code::LocalStore, message })
    }

    /// Waits until the store is not far behind.
    pub(crate) async fn store_has_room(&self) {
        let Ok(asked) = self.core().map(|core| core.asked) else {
            return;
        };
        let enough = asked.saturating_sub(WRITES_AHEAD_OF_READING);
        let mut stored = self.stored.subscribe();
        let mut ended = self.ended.subscribe();
        tokio::select! {
            _ = stored.wait_for(|stored| *stored >= enough) => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
    }

    /// Ends in order: says goodbye, stores what is left, closes the store.
    pub(crate) async fn shut_down(&self) {
        self.input(Input::Shutdown);
        let mut ended = self.ended.subscribe();
        let orderly = timeout(STOP_TIMEOUT, ended.wait_for(|ended| *ended)).await.is_ok();
        if !orderly {
            tracing::warn!("the session did not stop in time");
            if let Ok(mut core) = self.core() {
                self.end(&mut core);
            }
        }
        let mut connections = self.connections.subscribe();
        // A connection gets this long for its goodbye; it has nothing else to lose.
        let _ = timeout(2 * CLOSE_TIMEOUT, connections.wait_for(|count| *count == 0)).await;
        // An error means that the thread is gone, which is as good.
        let _ = self.store_closed.clone().wait_for(|closed| *closed).await;
    }

    /// Ends at once: no goodbye, and nothing more is written.
    pub(crate) async fn abort(&self) {
        {
            let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(writer) = &core.writer {
                writer.abandon();
            }
            // Without its sender the connection ends without a word.
            core.link = None;
            self.end(&mut core);
        }
        // An error means that the thread is gone, which is as good.
        let _ = self.store_closed.clone().wait_for(|closed| *closed).await;
    }

    /// Has the session do something, and carries out what follows.
    pub(crate) fn on_session<R>(
        &self,
        act: impl FnOnce(&mut Session, Timestamp) -> R,
    ) -> Result<R, ClientClosed> {
        let mut guard = self.core()?;
        let core = &mut *guard;
        if core.writer.is_none() {
            return Err(ClientClosed);
        }
        let now = core.clock.now();
        let done = act(&mut core.session, now);
        self.work(core);
        Ok(done)
    }

    /// Changes whenever something is new about a stream.
    pub(crate) fn stream_news(&self) -> watch::Receiver<u64> {
        self.streams.subscribe()
    }

    pub(crate) fn connection(&self) -> watch::Receiver<ConnectionStatus> {
        self.connection.subscribe()
    }

    pub(crate) fn status(&self) -> watch::Receiver<SyncStatus> {
        self.status.subscribe()
    }

    /// What the session says from here on, and before that how commands ended of which nobody has
    /// taken the news. It counts as taken by this, unless the app says itself what is.
    pub(crate) fn notices(&self) -> (Vec<Notice>, broadcast::Receiver<Notice>) {
        let Ok(mut core) = self.core() else {
            return (Vec::new(), self.notices.subscribe());
        };
        let notices = self.notices.subscribe();
        let untaken: Vec<Ending> = core.session.endings().cloned().collect();
        if !core.by_hand {
            core.next.extend(untaken.iter().map(|ending| Input::Taken { id: ending.id }));
            self.work(&mut core);
        }
        let missed = untaken.into_iter().map(|ending| {
            let Ending { id, address, command, resolution, .. } = ending;
            Notice::Resolved { id, address, command, resolution }
        });
        (missed.collect(), notices)
    }

    /// Looks at how commands ended.
    pub(crate) fn with_session<R>(&self, look: impl FnOnce(&Session) -> R) -> Option<R> {
        self.core().ok().map(|core| look(&core.session))
    }

    /// Hands in what the app says, and waits until what follows from it is on disk.
    pub(crate) async fn store_input(&self, input: Input) -> Result<(), ClientClosed> {
        let asked = {
            let mut core = self.core()?;
            if core.writer.is_none() {
                return Err(ClientClosed);
            }
            core.next.push(input);
            self.work(&mut core);
            core.asked
        };
        let (mut stored, mut ended) = (self.stored.subscribe(), self.ended.subscribe());
        tokio::select! {
            biased;
            on_disk = stored.wait_for(|stored| *stored >= asked) => {
                on_disk.map(drop).map_err(|_| ClientClosed)
            }
            _ = ended.wait_for(|ended| *ended) => Err(ClientClosed),
        }
    }

    pub(crate) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }
}

impl Core {
    fn new(session: Session, clock: Clock, ids: Ids, writer: Writer, by_hand: bool) -> Self {
        Self {
            session,
            clock,
            ids,
            writer: Some(writer),
            link: None,
            documents: BTreeMap::new(),
            spaces: BTreeMap::new(),
            problems: BTreeMap::new(),
            waiting: BTreeMap::new(),
            asked: 0,
            next: Vec::new(),
            wake: None,
            opened: 0,
            frames_sent: 0,
            frames_received: 0,
            last_durable: None,
            by_hand,
        }
    }

    /// The first problem of a document that is open.
    fn problem(&self) -> Option<&Problem> {
        let mut problems = self.problems.iter();
        problems.find(|(address, _)| self.documents.contains_key(address)).map(|(_, p)| p)
    }

    /// Why a command was not taken on.
    fn refusal(&self, address: &Address, error: ExecuteError) -> CommandError {
        match error {
            ExecuteError::Command(error) => CommandError::Command(error),
            ExecuteError::Forbidden(refusal) => CommandError::Forbidden(refusal),
            ExecuteError::Undo(error) => CommandError::Undo(error),
            ExecuteError::OutboxFull(bytes) => CommandError::OutboxFull(bytes),
            ExecuteError::NotOpen | ExecuteError::Broken(_) | _ => self.unusable(address),
        }
    }

    /// Why a document that a handle stands for can't be used.
    fn unusable(&self, address: &Address) -> CommandError {
        match self.problems.get(address) {
            Some(problem) => CommandError::Unusable(problem.clone()),
            None => CommandError::Closed(ClientClosed),
        }
    }

    /// Asks the store. If its thread is gone, the session hears that the store failed.
    fn ask(&mut self, request: Request) {
        let unanswered = match &self.writer {
            Some(writer) => writer.ask(request).err(),
            None => Some(request),
        };
        let result = || Err("the store is closed".to_owned());
        match unanswered {
            None | Some(Request::List { .. }) => {}
            Some(Request::Write { token, .. }) => {
                self.next.push(Input::Written { token, result: result() });
            }
            Some(Request::Read { token, .. }) => {
                let result = result().map(|()| Vec::new());
                self.next.push(Input::Read { token, result });
            }
        }
    }

    fn send(&mut self, connection: ConnectionId, outgoing: Outgoing) {
        let Some(link) = self.link.as_ref().filter(|link| link.connection == connection) else {
            return;
        };
        if matches!(outgoing, Outgoing::Close) {
            // What was sent before goes out first. If the queue is full, dropping its sender ends
            // the connection all the same.
            let _ = link.queue.try_send(outgoing);
            self.link = None;
        } else if link.queue.try_send(outgoing).is_err() {
            // The socket takes nothing: the queue's bytes go down with the connection, and the
            // session sends again what was not acknowledged.
            self.link = None;
            let reason = "the connection does not take what is sent".to_owned();
            self.next.push(Input::Disconnected { connection, code: None, reason });
        }
    }

    fn document_status(&mut self, address: &Address, status: DocumentStatus) {
        if status.live {
            self.problems.remove(address);
        }
        if let Some(open) = self.documents.get(address) {
            open.state.send_modify(|state| {
                state.status = status;
                if status.live {
                    state.problem = None;
                }
            });
        }
    }

    fn space_news(&mut self, name: &str, news: &SpaceNews) {
        let Some(space) = self.spaces.get(name) else { return };
        if let SpaceNews::Status(status) = news {
            space.status.send_replace(status.clone());
        }
        // Nobody may be listening.
        let _ = space.news.send(news.clone());
    }

    fn document_changed(&mut self, address: &Address, events: &[Event], local: bool) {
        if let Some(open) = self.documents.get_mut(address) {
            open.view = None;
            // Nobody may be listening.
            let _ = open.changes.send(Change { events: events.to_vec(), local, missed: 0 });
        }
    }

    fn document_problem(&mut self, address: Option<&Address>, code: Code, message: &str) {
        let Some(address) = address else {
            return;
        };
        let problem = Problem { address: Some(address.clone()), code, message: message.to_owned() };
        self.problems.insert(address.clone(), problem.clone());
        if let Some(open) = self.documents.get(address) {
            open.state.send_modify(|state| state.problem = Some(problem));
        }
    }
}
