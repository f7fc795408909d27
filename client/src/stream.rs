//! Streams as an app sees them: a writer that waits when it is too far ahead of the server's disk, a
//! reader that goes on from where it is whatever happens to the connection. Must never know how they
//! are sent.

use std::fmt;
use std::sync::Arc;

use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::ids::{NameError, StreamAddress, Ulid, UserId};
/// Text that a reader gets.
pub use syncline_engine::session::Taken as Chunk;
use syncline_engine::session::{
    self, ConnectionStatus, InterruptId, ReaderId, ReaderState, Resolution, Session, WriterState,
};
use syncline_engine::stream::{Committed, Origin, Outcome, Status, comment_id};

use crate::comments::Comments;
use crate::document::CommandError;
use crate::driver::Driver;
use crate::status::{ClientClosed, Problem};

/// Something can't be done with a stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Its name is not acceptable.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The server refused it, or the stream is not what it was.
    #[error(transparent)]
    Stream(#[from] session::StreamError),
    /// The connection failed for a reason that trying again would not mend.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The result can't be committed as a comment.
    #[error("the result can't be committed: {0}")]
    Commit(String),
    /// The client is closed.
    #[error(transparent)]
    Closed(#[from] ClientClosed),
}

impl StreamError {
    /// The stable code, where there is one.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Name(_) => Some(Code::BadAddress),
            Self::Stream(error) => Some(error.code()),
            Self::Problem(problem) => Some(problem.code),
            Self::Commit(_) => Some(Code::BadCommand),
            Self::Closed(_) => None,
        }
    }
}

impl From<CommandError> for StreamError {
    fn from(error: CommandError) -> Self {
        Self::Commit(error.to_string())
    }
}

/// Waits until the session has something to say.
async fn wait_for<T>(
    driver: &Driver,
    mut look: impl FnMut(&mut Session, Timestamp) -> Option<T>,
) -> Result<T, StreamError> {
    let (mut news, mut ended) = (driver.stream_news(), driver.ended());
    let mut connection = driver.connection();
    loop {
        news.borrow_and_update();
        if let Some(found) = driver.on_session(&mut look)? {
            return Ok(found);
        }
        let failed = connection.wait_for(|is| matches!(is, ConnectionStatus::Failed { .. }));
        tokio::select! {
            _ = news.changed() => {}
            _ = ended.wait_for(|ended| *ended) => return Err(ClientClosed.into()),
            failed = failed => {
                if let Ok(ConnectionStatus::Failed { code, message }) = failed.as_deref() {
                    let (code, message) = (*code, message.clone());
                    return Err(Problem { address: None, code, message }.into());
                }
                return Err(ClientClosed.into());
            }
        }
    }
}

/// A stream that this client writes. Only the user who made it can.
///
/// Dropping it leaves the stream open with what the server has of it: readers see that it has stalled,
/// and [`Client::resume_stream`](crate::Client::resume_stream) goes on with it.
pub struct StreamWriter {
    driver: Arc<Driver>,
    address: StreamAddress,
    origin: Origin,
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        // A client that is closed has left already.
        let _ = self.driver.on_session(|session, _| session.leave_writing(&self.address));
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter").field("address", &self.address).finish_non_exhaustive()
    }
}

impl StreamWriter {
    pub(crate) async fn open(
        driver: &Arc<Driver>,
        address: &StreamAddress,
        create: bool,
        asked_by: Option<UserId>,
    ) -> Result<Self, StreamError> {
        driver
            .on_session(|session, now| session.write_stream(now, address, create, asked_by))??;
        let created = Timestamp(0);
        let origin = Origin { producer: driver.user().clone(), asked_by: None, created };
        // From here on it is left if this is given up.
        let mut writer = Self { driver: Arc::clone(driver), address: address.clone(), origin };
        let opened = writer.wait_until(|state| state.origin.is_some()).await?;
        if let Some(origin) = opened.origin {
            writer.origin = origin;
        }
        Ok(writer)
    }

    /// Waits until the stream is in some way, or nothing more can be written.
    async fn wait_until(
        &self,
        mut is: impl FnMut(&WriterState) -> bool,
    ) -> Result<WriterState, StreamError> {
        let found = wait_for(&self.driver, |session, _| {
            let Some(state) = session.stream_writer(&self.address) else {
                return Some(Err(session::StreamError::NotOpen));
            };
            if let Some(error) = &state.failed {
                return Some(Err(error.clone()));
            }
            is(&state).then_some(Ok(state))
        });
        Ok(found.await??)
    }

    fn state(&self) -> Option<WriterState> {
        self.driver.on_session(|session, _| session.stream_writer(&self.address)).ok().flatten()
    }

    /// Which stream it is.
    #[must_use]
    pub const fn address(&self) -> &StreamAddress {
        &self.address
    }

    /// Who made it, for whom and when.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How long it is with everything that was appended, in bytes.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.state().map_or(0, |state| state.written)
    }

    /// How much of it is on the server's disk, in bytes. Only that is shown to anybody.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.state().map_or(0, |state| state.durable)
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.state().map(|state| state.status).unwrap_or_default()
    }

    /// Appends text, and waits as long as more is under way than may be: offline, as long as the
    /// client is offline. Given up in between, part of the text may have been appended;
    /// [`written`](Self::written) tells how much.
    ///
    /// # Errors
    /// [`StreamError`] if nothing more can be written: the stream has ended or is as long as it may be.
    pub async fn append(&mut self, text: &str) -> Result<(), StreamError> {
        let mut rest = text;
        while !rest.is_empty() {
            let taken = wait_for(&self.driver, |session, now| {
                match session.append_stream(now, &self.address, rest) {
                    Ok(0) => None,
                    taken => Some(taken),
                }
            });
            let taken = taken.await??;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits until everything that was appended is on the server's disk.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub async fn flush(&self) -> Result<(), StreamError> {
        self.wait_until(|state| state.durable == state.written).await.map(drop)
    }

    /// Waits until somebody asks that the stream stop, and tells who; `None` if it has ended. After a
    /// last word or two, [`stop`](Self::stop) ends it; the server does after a while.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub async fn interrupted(&self) -> Result<Option<UserId>, StreamError> {
        let stopped = |state: &WriterState| {
            state.status.interrupted_by.is_some() || state.status.outcome.is_some()
        };
        Ok(self.wait_until(stopped).await?.status.interrupted_by)
    }

    async fn end(self, outcome: Outcome) -> Result<Outcome, StreamError> {
        let asked = self
            .driver
            .on_session(|session, now| session.end_stream(now, &self.address, outcome))?;
        match asked {
            // The server has ended it already.
            Ok(()) | Err(session::StreamError::Ended) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = self.wait_until(|state| state.status.outcome.is_some()).await?;
        ended.status.outcome.ok_or_else(|| session::StreamError::NotOpen.into())
    }

    /// Ends the stream: all is said. Waits until that is on the server's disk and answers how the
    /// stream ended, which is otherwise if the server was first.
    ///
    /// # Errors
    /// [`StreamError`] if the server does not have all of it.
    pub async fn finish(self) -> Result<Outcome, StreamError> {
        self.end(Outcome::Finished { result: None }).await
    }

    /// Ends the stream: it can't go on.
    ///
    /// # Errors
    /// As for [`finish`](Self::finish).
    pub async fn fail(self, reason: impl Into<String>) -> Result<Outcome, StreamError> {
        self.end(Outcome::Failed { reason: reason.into() }).await
    }

    /// Ends a stream that was [interrupted](Self::interrupted).
    ///
    /// # Errors
    /// As for [`finish`](Self::finish).
    pub async fn stop(self) -> Result<Outcome, StreamError> {
        self.end(Outcome::Interrupted).await
    }

    /// Commits the stream's result as a comment by this user, and ends the stream naming it. The
    /// comment's id follows from the stream's, so that whoever does this again, also in another run of
    /// the app, does not comment twice.
    ///
    /// # Errors
    /// [`StreamError::Commit`] if the comment is refused; the stream stays open. Else as for
    /// [`finish`](Self::finish).
    pub async fn commit(
        self,
        comments: &Comments,
        parent: Option<Ulid>,
        body: &str,
    ) -> Result<(Ulid, Outcome), StreamError> {
        let id = comment_id(&self.address, self.origin.created);
        let document = comments.document();
        document.live().await?;
        // What was said in an earlier try may still be refused.
        document.settled().await?;
        if comments.with(|view| view.comment(id).is_none()) {
            let resolution = comments.add_as(id, parent, body)?.await?;
            match resolution {
                Resolution::Confirmed | Resolution::NoEffect | Resolution::Superseded => {}
                Resolution::Refused { message, .. } => return Err(StreamError::Commit(message)),
            }
        }
        let result = Committed { address: document.address().clone(), comment: id };
        let outcome = self.end(Outcome::Finished { result: Some(result) }).await?;
        Ok((id, outcome))
    }
}

/// A stream that this client reads. Dropping it ends the reading.
pub struct StreamReader {
    driver: Arc<Driver>,
    id: ReaderId,
    address: StreamAddress,
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        // A client that is closed has left already.
        let _ = self.driver.on_session(|session, now| session.leave_reading(now, self.id));
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader").field("address", &self.address).finish_non_exhaustive()
    }
}

impl StreamReader {
    pub(crate) async fn open(
        driver: &Arc<Driver>,
        address: &StreamAddress,
        from: u64,
    ) -> Result<Self, StreamError> {
        let id = driver.on_session(|session, now| session.read_stream(now, address, from))?;
        // From here on it is left if this is given up.
        let reader = Self { driver: Arc::clone(driver), id, address: address.clone() };
        let opened = wait_for(driver, |session, _| {
            let state = session.stream_reader(id)?;
            match state.failed {
                Some(error) => Some(Err(error)),
                None => state.origin.is_some().then_some(Ok(())),
            }
        });
        opened.await??;
        Ok(reader)
    }

    fn state(&self) -> Option<ReaderState> {
        self.driver.on_session(|session, _| session.stream_reader(self.id)).ok().flatten()
    }

    /// Which stream it is.
    #[must_use]
    pub const fn address(&self) -> &StreamAddress {
        &self.address
    }

    /// Who made it, for whom and when.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.state()?.origin
    }

    /// Up to where it was read, in bytes: what to go on from later.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.state().map_or(0, |state| state.offset)
    }

    /// How the stream stood at this reader's offset; `None` as long as there is text before that.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.state()?.status
    }

    /// The text that follows, as much as is there; `None` when the stream has ended, of which
    /// [`status`](Self::status) says how. Reconnects and restarts of the server don't show.
    ///
    /// What is not taken is bounded: the server waits with the rest.
    ///
    /// # Errors
    /// [`StreamError`] if the stream can't be read any more.
    pub async fn next(&mut self) -> Result<Option<Chunk>, StreamError> {
        let id = self.id;
        let next = wait_for(&self.driver, |session, now| {
            if let Some(taken) = session.take_text(now, id) {
                return Some(Ok(Some(taken)));
            }
            let Some(state) = session.stream_reader(id) else {
                return Some(Err(session::StreamError::NotOpen));
            };
            if let Some(error) = state.failed {
                return Some(Err(error));
            }
            state.status.and_then(|status| status.outcome).map(|_| Ok(None))
        });
        Ok(next.await??)
    }

    /// Waits until the stream stands in some way that `is` wants: stalled, interrupted, ended.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn status_is(
        &mut self,
        mut is: impl FnMut(&Status) -> bool,
    ) -> Result<Status, StreamError> {
        let id = self.id;
        let found = wait_for(&self.driver, |session, _| {
            let Some(state) = session.stream_reader(id) else {
                return Some(Err(session::StreamError::NotOpen));
            };
            match (state.failed, state.status) {
                (Some(error), _) => Some(Err(error)),
                (None, Some(status)) if is(&status) => Some(Ok(status)),
                (None, _) => None,
            }
        });
        Ok(found.await??)
    }
}

/// Leaves an interrupt when nobody waits for it any more.
struct Asked<'a> {
    driver: &'a Driver,
    id: InterruptId,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        // A client that is closed asks for nothing.
        let _ = self.driver.on_session(|session, _| session.leave_interrupt(self.id));
    }
}

/// Asks that a stream stop, and waits until that is stored.
pub(crate) async fn interrupt(driver: &Driver, address: &StreamAddress) -> Result<(), StreamError> {
    let id = driver.on_session(|session, now| session.interrupt_stream(now, address))?;
    let asked = Asked { driver, id };
    Ok(wait_for(asked.driver, |session, _| session.interrupt_answer(asked.id)).await??)
}
