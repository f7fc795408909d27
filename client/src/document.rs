//! Handles of open documents, what happens in them, and commands on their way. Must never know what
//! the content of a document means.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use syncline_engine::codes::Code;
use syncline_engine::document::{Command, Event, TextPlace, View, genesis};
use syncline_engine::ids::{Address, ChangeHash, Facet, NameError, UserId};
use syncline_engine::policy::Refusal;
use syncline_engine::session::{CommandId, Config, DocumentStatus, Resolution, Session, UndoError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, oneshot, watch};

use crate::driver::{Driver, Moment, Opened, Taken};
use crate::status::{ClientClosed, DocumentState, Problem};

/// An open document: can be read and edited at once, online or not, and is kept in sync while any
/// handle of it exists. Cheap to clone.
///
/// When the last handle is dropped the document is closed; what is pending in it is still sent. A
/// handle does not keep its [`Client`](crate::Client) open.
#[derive(Clone)]
pub struct Document {
    shared: Arc<Shared>,
}

/// What the handles of one document share.
pub(crate) struct Shared {
    driver: Arc<Driver>,
    address: Address,
    opening: u64,
    state: watch::Receiver<DocumentState>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.driver.close(&self.address, self.opening);
    }
}

/// A document can't be opened.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Its name is not acceptable.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What is stored of it can't be read.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The client is closed.
    #[error(transparent)]
    Closed(#[from] ClientClosed),
}

impl DocumentError {
    /// The stable code, where there is one.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Name(_) => Some(Code::BadAddress),
            Self::Problem(problem) => Some(problem.code),
            Self::Closed(_) => None,
        }
    }
}

/// A command was not taken on; nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It can't be carried out on this document as it is.
    #[error(transparent)]
    Command(#[from] syncline_engine::document::CommandError),
    /// The user may not do this here.
    #[error(transparent)]
    Forbidden(#[from] Refusal),
    /// The document can't be used.
    #[error(transparent)]
    Unusable(Problem),
    /// There is nothing to undo or redo, or it can't be.
    #[error(transparent)]
    Undo(#[from] UndoError),
    /// As many bytes of work wait to be sent as may be kept on this device.
    #[error("work of {0} bytes waits to be sent, and no more may be kept on this device")]
    OutboxFull(u64),
    /// The store on this device is too far behind; wait for [`Pending::stored`] of an earlier
    /// command and try again.
    #[error("too many commands wait to be stored on this device")]
    StoreBusy,
    /// The client is closed.
    #[error(transparent)]
    Closed(#[from] ClientClosed),
}

impl CommandError {
    /// The stable code, where there is one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Command(error) => Some(error.code()),
            Self::Forbidden(refusal) => Some(refusal.code),
            Self::Unusable(problem) => Some(problem.code),
            Self::Undo(error) => Some(error.code()),
            Self::OutboxFull(_) => Some(Code::OutboxFull),
            Self::StoreBusy => Some(Code::LocalStore),
            Self::Closed(_) => None,
        }
    }
}

impl Document {
    /// Opens a document and waits until it is read from the store. A stream is none.
    pub(crate) async fn open(
        driver: &Arc<Driver>,
        address: &Address,
        write: bool,
    ) -> Result<Self, DocumentError> {
        if address.facet() == Facet::Stream {
            return Err(NameError::UnknownFacet.into());
        }
        let shared = driver.open(address, write, |Opened { opening, state }| {
            let (driver, address) = (Arc::clone(driver), address.clone());
            Arc::new(Shared { driver, address, opening, state })
        })?;
        let mut state = shared.state.clone();
        let document = Self { shared };
        let read = state.wait_for(|state| state.status.ready || state.problem.is_some()).await;
        match read {
            Err(_) => Err(ClientClosed.into()),
            Ok(state) if state.status.ready => Ok(document),
            Ok(state) => Err(state.problem.clone().map_or(ClientClosed.into(), Into::into)),
        }
    }

    /// Its name.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Who the client's user is.
    #[must_use]
    pub fn user(&self) -> &UserId {
        self.shared.driver.user()
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> DocumentStatus {
        self.shared.state.borrow().status
    }

    /// What keeps it from being in sync, if anything does.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        self.shared.state.borrow().problem.clone()
    }

    /// Waits until it is caught up with the server, which needs the client to be online.
    ///
    /// # Errors
    /// The [`Problem`] that keeps it from being in sync, such as a missing permission.
    pub async fn live(&self) -> Result<(), Problem> {
        let closed = || Problem::closed(Some(self.address().clone()));
        let mut state = self.shared.state.clone();
        let state = state
            .wait_for(|state| state.status.live || state.problem.is_some())
            .await
            .map_err(|_| closed())?;
        if state.status.live {
            return Ok(());
        }
        Err(state.problem.clone().unwrap_or_else(closed))
    }

    /// Waits until every command in it has come to its end.
    ///
    /// # Errors
    /// The [`Problem`] that keeps it from being in sync.
    pub async fn settled(&self) -> Result<(), Problem> {
        let closed = || Problem::closed(Some(self.address().clone()));
        let mut state = self.shared.state.clone();
        let state = state
            .wait_for(|state| state.status.pending == 0 || state.problem.is_some())
            .await
            .map_err(|_| closed())?;
        match &state.problem {
            Some(problem) if state.status.pending > 0 => Err(problem.clone()),
            Some(_) | None => Ok(()),
        }
    }

    /// What it shows. The copy is made at most once between two changes; to look at a little of a
    /// large document, [`with_view`](Self::with_view) makes none.
    ///
    /// If the document has become unusable ([`problem`](Self::problem)), this is the view of an
    /// empty one.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        let view = self.shared.driver.view(self.address());
        view.unwrap_or_else(|| Arc::new(self.empty_view()))
    }

    /// Looks at what it shows, without a copy. Everything else in the client waits meanwhile: do not
    /// call anything of the client in `look`.
    pub fn with_view<R>(&self, look: impl FnOnce(&View) -> R) -> R {
        let mut look = Some(look);
        let seen = self
            .shared
            .driver
            .with_view(self.address(), |view| look.take().map(|look| look(view)))
            .flatten();
        match (seen, look) {
            (Some(seen), _) => seen,
            (None, Some(look)) => look(&self.empty_view()),
            (None, None) => unreachable!("`look` is taken only to be called"),
        }
    }

    fn empty_view(&self) -> View {
        let facet = self.address().facet();
        let doc = genesis::document(self.address(), Config::default().text_encoding);
        View::read(facet, &doc)
    }

    /// Carries a command out: the view shows it when this returns. It is stored on this device next
    /// and sent as soon as there is a connection.
    ///
    /// # Errors
    /// [`CommandError`] if its arguments are not acceptable or what it names is not there.
    pub fn command(&self, command: Command) -> Result<Pending, CommandError> {
        self.issue(|_, _| command)
    }

    /// Undoes the last command that was issued in the document since it was opened and that was not
    /// undone yet, as a new command. What others have made of it since stays as it is.
    ///
    /// # Errors
    /// [`CommandError::Undo`] if there is none, or it can't be taken back (any more): the next call
    /// then undoes the one before it.
    pub fn undo(&self) -> Result<Pending, CommandError> {
        self.shared.driver.take_back(self.address(), true).map(Pending::new)
    }

    /// Does again what [`undo`](Self::undo) undid last.
    ///
    /// # Errors
    /// As for [`undo`](Self::undo).
    pub fn redo(&self) -> Result<Pending, CommandError> {
        self.shared.driver.take_back(self.address(), false).map(Pending::new)
    }

    /// How many commands can be undone, and how many redone.
    #[must_use]
    pub fn undoable(&self) -> (usize, usize) {
        let of = |session: &Session| session.undoable(self.address());
        self.shared.driver.with_session(of).unwrap_or_default()
    }

    /// Carries out an edit of a text as one of many that follow each other, for an editor that holds
    /// its text itself: the first at once, what touches it within
    /// [`Config::typing_window`] as one command when that is over. Until then the view does not show
    /// it. [`flush`](Self::flush) when the editor loses the focus. Answers the name of the command.
    ///
    /// # Errors
    /// As for [`command`](Self::command).
    pub fn command_typed(&self, command: Command) -> Result<CommandId, CommandError> {
        self.shared.driver.execute_typed(self.address(), command)
    }

    /// Carries out what [`command_typed`](Self::command_typed) holds back.
    pub fn flush(&self) {
        self.shared.driver.flush(self.address());
    }

    /// Carries out the command that `make` makes of the document as it is at this moment.
    pub(crate) fn issue(
        &self,
        make: impl FnOnce(&View, &mut Moment<'_>) -> Command,
    ) -> Result<Pending, CommandError> {
        match self.issue_if(|view, moment| Some(make(view, moment)))? {
            Some(pending) => Ok(pending),
            None => unreachable!("a command was made"),
        }
    }

    /// The same where there may be nothing to do.
    pub(crate) fn issue_if(
        &self,
        make: impl FnOnce(&View, &mut Moment<'_>) -> Option<Command>,
    ) -> Result<Option<Pending>, CommandError> {
        let taken = self.shared.driver.execute(self.address(), make)?;
        Ok(taken.map(Pending::new))
    }

    /// What others may call the place at an index of a text, so that it stays there while they write
    /// ([`Replica::caret`](syncline_engine::replica::Replica::caret)). `None` if there is no such
    /// text.
    #[must_use]
    pub fn caret(&self, text: &TextPlace, index: usize) -> Option<String> {
        let of = |session: &Session| session.replica(self.address())?.caret(text, index);
        self.shared.driver.with_session(of).flatten()
    }

    /// Where a place is that somebody called so; `None` if this device can't know.
    #[must_use]
    pub fn caret_index(&self, text: &TextPlace, caret: &str) -> Option<usize> {
        let of = |session: &Session| session.replica(self.address())?.caret_index(text, caret);
        self.shared.driver.with_session(of).flatten()
    }

    /// The newest changes in it, sorted, with what is pending. Two replicas with equal heads hold the same document, byte for byte.
    #[must_use]
    pub fn heads(&self) -> BTreeSet<ChangeHash> {
        let of = |session: &Session| Some(session.replica(self.address())?.heads());
        self.shared.driver.with_session(of).flatten().unwrap_or_default()
    }

    /// What happens in it from here on.
    #[must_use]
    pub fn events(&self) -> Changes {
        Changes(self.shared.driver.changes(self.address()).map(wait_for_change))
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("address", &self.shared.address)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// What changed in a document in one step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// What changed, in order.
    pub events: Vec<Event>,
    /// Whether this client's user did it.
    pub local: bool,
    /// How many changes were left out before this one because the reader was too slow. If it is not
    /// zero, `events` is empty, and the view is to be read anew.
    pub missed: u64,
}

type NextChange =
    Pin<Box<dyn Future<Output = (Option<Change>, broadcast::Receiver<Change>)> + Send>>;

/// A document's changes as they happen. Ends when the document or the client is closed.
pub struct Changes(Option<NextChange>);

fn wait_for_change(mut changes: broadcast::Receiver<Change>) -> NextChange {
    Box::pin(async move {
        let change = match changes.recv().await {
            Ok(change) => Some(change),
            Err(RecvError::Lagged(missed)) => Some(Change { missed, ..Change::default() }),
            Err(RecvError::Closed) => None,
        };
        (change, changes)
    })
}

impl Changes {
    /// The next change; `None` at the end. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Change> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        let Some(waiting) = self.0.as_mut() else {
            return Poll::Ready(None);
        };
        match waiting.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready((change, changes)) => {
                self.0 = change.is_some().then(|| wait_for_change(changes));
                Poll::Ready(change)
            }
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

/// A command on its way. As a future it tells how the command ended; it may be dropped, which does
/// not stop the command.
#[derive(Debug)]
pub struct Pending {
    id: CommandId,
    resolution: oneshot::Receiver<Resolution>,
    stored_at: u64,
    stored: watch::Receiver<u64>,
    ended: watch::Receiver<bool>,
}

impl Pending {
    fn new(taken: Taken) -> Self {
        let Taken { id, resolution, stored_at, stored, ended } = taken;
        Self { id, resolution, stored_at, stored, ended }
    }

    /// The command's name, which it keeps across restarts.
    #[must_use]
    pub const fn id(&self) -> CommandId {
        self.id
    }

    /// Waits until the command is on this device's disk: from then on it survives a power cut.
    ///
    /// # Errors
    /// [`ClientClosed`] if the store failed before.
    pub async fn stored(&self) -> Result<(), ClientClosed> {
        let (mut stored, mut ended) = (self.stored.clone(), self.ended.clone());
        tokio::select! {
            biased;
            on_disk = stored.wait_for(|stored| *stored >= self.stored_at) => {
                on_disk.map(drop).map_err(|_| ClientClosed)
            }
            _ = ended.wait_for(|ended| *ended) => Err(ClientClosed),
        }
    }
}

impl Future for Pending {
    type Output = Result<Resolution, ClientClosed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.resolution).poll(cx).map_err(|_| ClientClosed)
    }
}
