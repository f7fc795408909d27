//! What the user does to a copy: commands, undo and redo. Must never know whether a server is there.

use automerge::transaction::CommitOptions;
use automerge::{PatchLog, ReadDoc};

use super::undo::{Back, Way};
use super::{Outcome, Pending, Replica, UndoError, Writer};
use crate::clock::Timestamp;
use crate::document::{Command, CommandError, Event, JsonCommand};
use crate::ids::Ulid;
use crate::limits::{CHANGE_BYTES_MAX, CHANGE_OPS_MAX};

impl Replica {
    /// Carries a command out: the view changes at once. The returned ids of new pending entries are
    /// the last ones of [`Replica::pending`]; none were added if the command changes nothing.
    ///
    /// # Errors
    /// Why the command can't be carried out; the replica is as before.
    pub fn execute(
        &mut self,
        now: Timestamp,
        id: Ulid,
        command: Command,
    ) -> Result<Outcome, CommandError> {
        command.check()?;
        if command.facet() != self.address.facet() {
            return Err(CommandError::NotSuchADocument(command.facet().as_str()));
        }
        self.carry_out(now, id, vec![Back::Do { command, fills: None }], Way::Forth)
    }

    /// How many commands can be undone, and how many redone.
    #[must_use]
    pub fn undoable(&self) -> (usize, usize) {
        self.history.lengths()
    }

    /// Says how many commands can be undone at most; [`UNDO_MAX`](super::UNDO_MAX) unless this was called. What can be
    /// undone does not outlive the replica.
    pub fn set_undo_max(&mut self, max: usize) {
        self.history.set_max(max);
    }

    /// Undoes the last of the commands executed here that was not undone yet, as a new command that
    /// removes what is left of what it made, and brings back what it removed where nobody has put
    /// anything since.
    ///
    /// # Errors
    /// [`UndoError`]. The command is passed over then: the next call undoes the one before it.
    pub fn undo(&mut self, now: Timestamp, id: Ulid) -> Result<Outcome, UndoError> {
        self.take_back(now, id, Way::Undo)
    }

    /// Does again what [`Replica::undo`] undid last, as a new command under the same rule. What the
    /// user does anew ends what can be redone.
    ///
    /// # Errors
    /// As for [`Replica::undo`].
    pub fn redo(&mut self, now: Timestamp, id: Ulid) -> Result<Outcome, UndoError> {
        self.take_back(now, id, Way::Redo)
    }

    /// The commands that [`Replica::undo`] would carry out.
    ///
    /// # Errors
    /// As for [`Replica::undo`].
    pub fn next_undo(&self, now: Timestamp) -> Result<Vec<Command>, UndoError> {
        self.next_back(now, Way::Undo)
    }

    /// The commands that [`Replica::redo`] would carry out.
    ///
    /// # Errors
    /// As for [`Replica::undo`].
    pub fn next_redo(&self, now: Timestamp) -> Result<Vec<Command>, UndoError> {
        self.next_back(now, Way::Redo)
    }

    fn next_back(&self, now: Timestamp, way: Way) -> Result<Vec<Command>, UndoError> {
        let backs = self.history.clone().take(way, now, &self.doc)?;
        let commands = backs.into_iter().flat_map(|back| back.commands(&self.view));
        Ok(commands.map(|(command, _)| command).collect())
    }

    fn take_back(&mut self, now: Timestamp, id: Ulid, way: Way) -> Result<Outcome, UndoError> {
        let backs = self.history.take(way, now, &self.doc)?;
        let before = self.pending.len();
        let outcome = self.carry_out(now, id, backs, way)?;
        if self.pending.len() == before { Err(UndoError::Superseded) } else { Ok(outcome) }
    }

    /// Carries all of the steps out, or none.
    fn carry_out(
        &mut self,
        now: Timestamp,
        id: Ulid,
        mut backs: Vec<Back>,
        way: Way,
    ) -> Result<Outcome, CommandError> {
        if self.writer == Writer::Provisional && self.unsettled() == 0 {
            self.apart = Some(self.doc.clone());
        }
        let mut only = match backs.as_mut_slice() {
            [Back::Do { command, .. }] => Some(command.clone().split(&self.doc)),
            _ => None,
        };
        let simple =
            only.take_if(|p| p.len() == 1 && !p.iter().any(may_outgrow_a_change)).is_some();
        // Only others can fail after a change was made.
        let backup = (!simple).then(|| {
            let (doc, view, history) = (self.doc.clone(), self.view.clone(), self.history.clone());
            (doc, view, self.pending.len(), history, self.writer)
        });
        self.history.begin(id, way);
        let mut outcome = Outcome::default();
        for back in backs {
            if let Err(error) = self.step_back(now, id, back, way, &mut outcome) {
                if let Some((doc, view, pending, history, writer)) = backup {
                    self.writer = writer;
                    self.doc = doc;
                    self.view = view;
                    self.pending.truncate(pending);
                    self.history = history;
                } else {
                    self.history.end(way);
                }
                self.drop_apart_if_same();
                return Err(error);
            }
        }
        self.history.end(way);
        self.drop_apart_if_same();
        Ok(outcome)
    }

    fn step_back(
        &mut self,
        now: Timestamp,
        id: Ulid,
        back: Back,
        way: Way,
        outcome: &mut Outcome,
    ) -> Result<(), CommandError> {
        for (command, fills) in back.commands(&self.view) {
            let mut fills = fills;
            for part in command.split(&self.doc) {
                let plan = self.history.plan(id, &part, &self.view, way);
                let before = self.pending.len();
                outcome.events.extend(self.execute_part(now, id, part)?);
                if self.pending.len() > before {
                    self.history.done(id, plan, fills.take(), way);
                }
            }
        }
        Ok(())
    }

    fn execute_part(
        &mut self,
        now: Timestamp,
        id: Ulid,
        command: Command,
    ) -> Result<Vec<Event>, CommandError> {
        let time = i64::try_from(now.0).unwrap_or(i64::MAX);
        let log = PatchLog::active();
        let Ok(mut tx) = self.doc.transaction_log_patches(log) else {
            return Err(CommandError::Argument("the view lost track of the document"));
        };
        if let Err(error) = command.apply(&mut tx) {
            tx.rollback();
            return Err(error);
        }
        let (hash, mut log) = tx.commit_with(CommitOptions::default().with_time(time));
        let Some(change) = hash.and_then(|hash| self.doc.get_change_by_hash(&hash)) else {
            return Ok(Vec::new());
        };
        let patches = self.doc.make_patches(&mut log);
        let events = self.view.patch(&self.doc, &patches);
        let number = self.pending.back().map_or(self.settled, |last| last.number) + 1;
        let oversize = change.raw_bytes().len() > CHANGE_BYTES_MAX || change.len() > CHANGE_OPS_MAX;
        self.advance_lease(&change);
        self.pending.push_back(Pending { id, number, command, change, announced: false });
        if oversize {
            return Err(CommandError::TooLarge {
                what: "a change",
                max: CHANGE_BYTES_MAX,
                unit: "bytes",
            });
        }
        Ok(events)
    }
}

/// Whether only the finished change tells if the command fits into one.
fn may_outgrow_a_change(command: &Command) -> bool {
    match command {
        Command::Json(JsonCommand::Put { value, .. } | JsonCommand::Insert { value, .. }) => {
            value.is_object() || value.is_array()
        }
        Command::Json(_) | Command::Post(_) | Command::Likes(_) | Command::Comments(_) => false,
    }
}
