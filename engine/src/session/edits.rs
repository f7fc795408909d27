//! What the user does: commands, undo and redo, and typing, of which many small edits make few
//! changes. Must never know what a command means.

use std::time::Duration;

use super::endings::Ending;
use super::open::Body;
use super::{
    CommandId, ExecuteError, Execution, Notice, Resolution, Session, layout, stored_bytes,
};
use crate::clock::Timestamp;
use crate::document::Command;
use crate::ids::Address;
use crate::machine::Wake;
use crate::policy::{Principal, allows_command};
use crate::replica::{Outcome, Pending, Replica};

/// Typing in one document: after an edit, what follows is gathered until a moment.
#[derive(Debug)]
pub(super) struct Typing {
    until: Timestamp,
    gathered: Option<(CommandId, Command)>,
}

impl Session {
    /// Carries a command out at once, as [`Input::Command`](super::Input::Command) does, and says at
    /// once if it can't be. How it ends is told by [`Notice::Resolved`], unless this answers an error.
    /// One of a name that is known ([`Session::known`]) is not carried out again.
    ///
    /// # Errors
    /// Why nothing was done.
    pub fn execute(
        &mut self,
        now: Timestamp,
        id: CommandId,
        address: &Address,
        command: Command,
    ) -> Result<Execution, ExecuteError> {
        self.now = now;
        self.user_did_something(now);
        self.flush_typing(address);
        let taken = match self.known(id) {
            Some(_) => Ok(Execution::Known),
            None => self.carry_out(id, address, command).map(|()| Execution::Done),
        };
        self.settle(now);
        taken
    }

    /// Undoes the last command that the user executed in a document since it was opened and that was
    /// not undone yet, as a new command: removes what is left of what that one made, and brings back
    /// what it removed, where nobody has put anything since. Does nothing if `id` is known.
    ///
    /// # Errors
    /// Why nothing was done. [`ExecuteError::Undo`] says that the command can't be taken back (any
    /// more): the next call undoes the one before it.
    pub fn undo(
        &mut self,
        now: Timestamp,
        id: CommandId,
        address: &Address,
    ) -> Result<Execution, ExecuteError> {
        self.take_back(now, id, address, true)
    }

    /// Does again what [`Session::undo`] undid last, as a new command under the same rule. A command
    /// of another kind in between leaves nothing to redo.
    ///
    /// # Errors
    /// As for [`Session::undo`].
    pub fn redo(
        &mut self,
        now: Timestamp,
        id: CommandId,
        address: &Address,
    ) -> Result<Execution, ExecuteError> {
        self.take_back(now, id, address, false)
    }

    /// How many commands can be undone in a document, and how many redone.
    #[must_use]
    pub fn undoable(&self, address: &Address) -> (usize, usize) {
        self.replica(address).map_or((0, 0), Replica::undoable)
    }

    /// Carries out an edit of a text as one of many that follow each other, as when somebody types.
    /// The first is carried out at once. What follows within [`Config::typing_window`] and touches it
    /// is gathered into one command, and so on while the typing goes on: one change for each window,
    /// not one for each key. Answers the name of the command that the edit is part of.
    ///
    /// What is gathered is not shown by [`Session::view`] yet: this is for an editor that holds its
    /// text itself. Positions count in the text with everything that was typed before. It is carried
    /// out before anything else changes the document, and at the latest when the window is over, the
    /// document is closed, or [`Session::flush`] is called, as when the editor loses the focus.
    ///
    /// # Errors
    /// As for [`Session::execute`]. An edit that was gathered and can't be carried out later is
    /// rolled back as if it had been refused, and kept with its content.
    ///
    /// [`Config::typing_window`]: super::Config::typing_window
    pub fn execute_typed(
        &mut self,
        now: Timestamp,
        id: CommandId,
        address: &Address,
        command: Command,
    ) -> Result<CommandId, ExecuteError> {
        self.now = now;
        self.user_did_something(now);
        if let Some(known) = self.known(id) {
            self.settle(now);
            return Ok(known);
        }
        let encoding = self.config.text_encoding;
        let (window, known_max) = (self.config.typing_window, self.config.known_max);
        if let Some(typing) = self.typing.get_mut(address).filter(|typing| now < typing.until) {
            self.documents.get(address).ok_or(ExecuteError::NotOpen)?;
            if let Some((gathered, so_far)) = &mut typing.gathered {
                if so_far.join(&command, encoding) {
                    self.known.joined(id, *gathered, known_max);
                    return Ok(*gathered);
                }
            } else if command.is_text_edit() {
                typing.gathered = Some((id, command));
                self.known.begun(id);
                return Ok(id);
            }
        }
        self.execute(now, id, address, command)?;
        if window > Duration::ZERO {
            let typing = Typing { until: now + window, gathered: None };
            self.typing.insert(address.clone(), typing);
        }
        Ok(id)
    }

    /// Carries out what was gathered of typing in a document.
    pub fn flush(&mut self, now: Timestamp, address: &Address) {
        self.now = now;
        self.flush_typing(address);
        self.settle(now);
    }

    /// The same within an input.
    pub(super) fn flush_typing(&mut self, address: &Address) {
        let Some(typing) = self.typing.remove(address) else { return };
        let Some((id, command)) = typing.gathered else { return };
        let Err(error) = self.carry_out(id, address, command.clone()) else { return };
        let (code, message) = (error.code(), error.to_string());
        self.record(Ending {
            id,
            address: address.clone(),
            command,
            resolution: Resolution::Refused { code, message },
            at: self.now,
            taken: false,
        });
    }

    /// Carries out the typing whose window is over. What was gathered opens another.
    pub(super) fn flush_due(&mut self, now: Timestamp) {
        let due = self.typing.iter().filter(|(_, typing)| typing.until <= now);
        let due: Vec<(Address, bool)> =
            due.map(|(a, typing)| (a.clone(), typing.gathered.is_some())).collect();
        for (address, goes_on) in due {
            self.flush_typing(&address);
            if goes_on {
                let typing = Typing { until: now + self.config.typing_window, gathered: None };
                self.typing.insert(address, typing);
            }
        }
    }

    pub(super) fn flush_all(&mut self) {
        let all: Vec<Address> = self.typing.keys().cloned().collect();
        all.iter().for_each(|address| self.flush_typing(address));
    }

    pub(super) fn typing_wake(&self) -> Option<Wake> {
        let until = self.typing.values().map(|typing| typing.until).min();
        until.map(|at| Wake { at, why: "carry out what was typed" })
    }

    fn carry_out(
        &mut self,
        id: CommandId,
        address: &Address,
        command: Command,
    ) -> Result<(), ExecuteError> {
        let now = self.now;
        let replica = self.writable(address, std::slice::from_ref(&command))?;
        let before = replica.pending().len();
        let outcome = replica.execute(now, id, command.clone())?;
        let nothing = replica.pending().len() == before;
        self.notify(Notice::Applied { id, address: address.clone() });
        if nothing {
            self.note_ended(id);
            let resolution = Resolution::NoEffect;
            self.notify(Notice::Resolved { id, address: address.clone(), command, resolution });
        } else {
            self.applied(address, before, outcome);
        }
        Ok(())
    }

    fn take_back(
        &mut self,
        now: Timestamp,
        id: CommandId,
        address: &Address,
        undo: bool,
    ) -> Result<Execution, ExecuteError> {
        self.now = now;
        self.flush_typing(address);
        let taken = match self.known(id) {
            Some(_) => Ok(Execution::Known),
            None => self.try_take_back(id, address, undo).map(|()| Execution::Done),
        };
        self.settle(now);
        taken
    }

    fn try_take_back(
        &mut self,
        id: CommandId,
        address: &Address,
        undo: bool,
    ) -> Result<(), ExecuteError> {
        let now = self.now;
        let replica = self.writable(address, &[])?;
        let commands = if undo { replica.next_undo(now) } else { replica.next_redo(now) };
        // What it can't say, the attempt will.
        let replica = self.writable(address, &commands.unwrap_or_default())?;
        let before = replica.pending().len();
        let outcome = if undo { replica.undo(now, id)? } else { replica.redo(now, id)? };
        self.notify(Notice::Applied { id, address: address.clone() });
        self.applied(address, before, outcome);
        Ok(())
    }

    /// The replica of a document in which these commands may be carried out.
    fn writable(
        &mut self,
        address: &Address,
        commands: &[Command],
    ) -> Result<&mut Replica, ExecuteError> {
        let document = self.documents.get_mut(address).ok_or(ExecuteError::NotOpen)?;
        if self.outbox_bytes >= self.config.outbox_bytes_max {
            return Err(ExecuteError::OutboxFull(self.config.outbox_bytes_max));
        }
        let replica = match &mut document.body {
            Body::Ready(replica) => replica,
            Body::Loading => return Err(ExecuteError::NotOpen),
            Body::Broken(code) => return Err(ExecuteError::Broken(*code)),
        };
        if let Some(may) = document.may {
            let principal = Principal { user: self.identity.user.clone(), may };
            for command in commands {
                allows_command(&principal, address, replica.view(), command)?;
            }
        }
        Ok(replica)
    }

    /// Commands were carried out; before, so many were pending.
    fn applied(&mut self, address: &Address, before: usize, outcome: Outcome) {
        let token = self.write_token();
        let Some(document) = self.documents.get_mut(address) else { return };
        let made: Vec<Pending> = document
            .replica()
            .into_iter()
            .flat_map(|r| r.pending().skip(before))
            .cloned()
            .collect();
        if document.stored_numbers.is_empty() {
            self.writes.push(layout::mark_pending(address, true));
        }
        for pending in &made {
            self.known.begun(pending.id);
            self.writes.push(layout::put_command(address, pending));
            let bytes = stored_bytes(pending);
            self.outbox_bytes += bytes;
            document.stored_numbers.insert(pending.number, bytes);
            document.unstored.push_back((pending.number, token));
        }
        self.unstored.insert(address.clone());
        self.touch(address);
        self.tell_changed(address, outcome.events, true);
        self.want_lease(address);
    }
}
