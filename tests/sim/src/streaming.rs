//! What people do with streams: they write, read, end and interrupt them, and have results committed as
//! comments. Their apps go on with what they were in the middle of after a restart.

#![allow(clippy::wildcard_enum_match_arm, reason = "most codes are not of streams")]

use syncline_engine::codes::Code;
use syncline_engine::document::{Command, CommentsCommand, View};
use syncline_engine::ids::{Address, StreamAddress, Ulid};
use syncline_engine::replica::Resolution;
use syncline_engine::session::{ReaderId, StreamError, WriterState};
use syncline_engine::stream::{Committed, Outcome, comment_id};

use crate::choices::Choices;
use crate::social::STREAMS_MAX;
use crate::world::World;

/// Streams that one app reads.
const READINGS_MAX: usize = 3;
/// How the body of a comment begins that is the result of a stream.
pub(crate) const RESULT_OF: &str = "result of ";

/// How a stream is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Close {
    Finish,
    Fail,
    /// The result becomes a comment first.
    Commit,
    /// On demand.
    Stop,
}

/// A stream that an app writes.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    /// What is to be said and was not taken.
    rest: String,
    close: Option<Close>,
    /// The end was asked for.
    closing: bool,
    /// The command under way that makes the comment.
    command: Option<Ulid>,
}

/// A stream that an app reads.
#[derive(Debug)]
pub(crate) struct Reading {
    address: StreamAddress,
    id: ReaderId,
    /// What it has taken.
    text: String,
    /// It takes only now and then.
    slow: bool,
    /// The stream was there when it was asked for.
    was_there: bool,
}

impl World {
    /// Somebody does something with a stream.
    pub(crate) fn some_stream_act(&mut self, client: usize, pick: u64) -> bool {
        if !self.is_awake(client) {
            return false;
        }
        let mut choices = Choices::new(pick);
        match choices.below(18) {
            0..=2 => self.begin_writing(client, &mut choices),
            3..=8 => self.append_some(client, &mut choices),
            9 => self.close_some(client, &mut choices),
            10..=12 => self.begin_reading(client, &mut choices),
            13 => self.take_all(client),
            14 | 15 => self.interrupt_some(client, &mut choices),
            16 => self.leave_some_writing(client, &mut choices),
            _ => self.read_some_anew(client, &mut choices),
        }
        self.drain_client(client);
        true
    }

    fn did(&mut self, client: usize, kind: &str, what: &str) {
        self.report.count_act(kind);
        if self.story.on {
            self.say(client, &format!("{kind} {what}"));
        }
    }

    /// Some stream that there is, of which mostly the own ones if there are.
    fn some_stream(
        &self,
        client: usize,
        own: bool,
        choices: &mut Choices,
    ) -> Option<StreamAddress> {
        let user = &self.clients[client].user;
        let is_own = |address: &&StreamAddress| {
            let stream = self.oracle.mirror.streams.get(*address);
            stream.is_some_and(|s| s.producer == *user && s.outcome.is_none())
        };
        let all: Vec<&StreamAddress> = self.streams.iter().filter(|a| !own || is_own(a)).collect();
        (!all.is_empty()).then(|| all[choices.index(all.len())].clone())
    }

    fn begin_writing(&mut self, client: usize, choices: &mut Choices) {
        let again = choices.per_mille(500).then(|| self.some_stream(client, true, choices));
        let address = match again.flatten() {
            Some(address) => address,
            None if self.streams.len() < STREAMS_MAX => {
                let id = format!("stream{}", self.streams.len());
                let Ok(address) = StreamAddress::new("sim", &id) else { return };
                self.streams.push(address.clone());
                address
            }
            None => match self.some_stream(client, false, choices) {
                Some(address) => address,
                None => return,
            },
        };
        let asked_by = self.clients[choices.index(self.clients.len())].user.clone();
        let now = self.clients[client].clock(self.now);
        let of = &mut self.clients[client];
        if of.session.write_stream(now, &address, true, Some(asked_by)).is_ok() {
            of.app.writings.insert(address.clone(), Writing::default());
            self.did(client, "stream_write", &address.to_string());
        }
    }

    fn some_writing(&self, client: usize, choices: &mut Choices) -> Option<StreamAddress> {
        let all: Vec<_> = self.clients[client].app.writings.keys().collect();
        (!all.is_empty()).then(|| all[choices.index(all.len())].clone())
    }

    fn append_some(&mut self, client: usize, choices: &mut Choices) {
        let Some(address) = self.some_writing(client, choices) else {
            return self.begin_writing(client, choices);
        };
        self.said += 1;
        let times = match choices.below(100) {
            0 => 2_000 + choices.index(8_000),
            1..=20 => choices.index(200),
            _ => choices.index(5),
        };
        let said = format!("‹{client}.{}{}›", self.said, "·".repeat(times));
        let Some(writing) = self.clients[client].app.writings.get_mut(&address) else { return };
        if writing.close.is_some() {
            return;
        }
        writing.rest.push_str(&said);
        self.did(client, "stream_append", &format!("{address}: {} bytes", said.len()));
        self.go_on_writing(client, &address);
    }

    fn close_some(&mut self, client: usize, choices: &mut Choices) {
        let Some(address) = self.some_writing(client, choices) else { return };
        let close = [Close::Finish, Close::Fail, Close::Commit, Close::Commit][choices.index(4)];
        let Some(writing) = self.clients[client].app.writings.get_mut(&address) else { return };
        writing.close.get_or_insert(close);
        self.did(client, "stream_end", &format!("{address}: {close:?}"));
        self.go_on_writing(client, &address);
    }

    fn leave_some_writing(&mut self, client: usize, choices: &mut Choices) {
        let Some(address) = self.some_writing(client, choices) else { return };
        self.clients[client].app.writings.remove(&address);
        self.clients[client].session.leave_writing(&address);
        self.did(client, "stream_leave", &address.to_string());
    }

    fn begin_reading(&mut self, client: usize, choices: &mut Choices) {
        if self.clients[client].app.readings.len() >= READINGS_MAX {
            return;
        }
        let Some(address) = self.some_stream(client, false, choices) else { return };
        let slow = choices.per_mille(300);
        self.did(client, "stream_read", &address.to_string());
        self.read_from(client, address, String::new(), slow);
    }

    fn read_from(&mut self, client: usize, address: StreamAddress, text: String, slow: bool) {
        let now = self.clients[client].clock(self.now);
        let of = &mut self.clients[client];
        let id = of.session.read_stream(now, &address, text.len() as u64);
        of.app.last_reading += 1;
        let number = of.app.last_reading;
        let was_there = self.oracle.mirror.streams.contains_key(&address);
        of.app.readings.insert(number, Reading { address, id, text, slow, was_there });
    }

    /// A reader goes on from where it is as another, or begins anew where the server may have lost
    /// something: what it knew of the text before that place is gone with the first.
    fn read_some_anew(&mut self, client: usize, choices: &mut Choices) {
        let numbers: Vec<u64> = self.clients[client].app.readings.keys().copied().collect();
        if numbers.is_empty() {
            return;
        }
        let number = numbers[choices.index(numbers.len())];
        let now = self.clients[client].clock(self.now);
        let of = &mut self.clients[client];
        let Some(reading) = of.app.readings.remove(&number) else { return };
        of.session.leave_reading(now, reading.id);
        self.did(client, "stream_read_anew", &reading.address.to_string());
        if choices.per_mille(700) {
            let text = if self.loses { String::new() } else { reading.text };
            self.read_from(client, reading.address, text, reading.slow);
        }
    }

    fn interrupt_some(&mut self, client: usize, choices: &mut Choices) {
        let Some(address) = self.some_stream(client, false, choices) else { return };
        let now = self.clients[client].clock(self.now);
        let of = &mut self.clients[client];
        let id = of.session.interrupt_stream(now, &address);
        of.app.interrupts.insert(id, address.clone());
        self.did(client, "stream_interrupt", &address.to_string());
    }

    /// The app begins again, and goes on with its streams.
    pub(crate) fn return_to_streams(&mut self, client: usize) {
        let now = self.clients[client].clock(self.now);
        let of = &mut self.clients[client];
        of.app.writings.retain(|_, writing| {
            // What was not taken is in the app's hands; what was taken may be lost with the process.
            writing.closing = false;
            writing.command = None;
            true
        });
        for address in of.app.writings.keys().cloned().collect::<Vec<_>>() {
            // An error says that it writes the stream already, which a session that has just begun
            // does not.
            let _ = of.session.write_stream(now, &address, true, None);
        }
        for (_, reading) in std::mem::take(&mut of.app.readings) {
            let text = if self.loses { String::new() } else { reading.text };
            self.read_from(client, reading.address, text, reading.slow);
        }
        self.drain_client(client);
    }

    /// An app hears of a stream.
    pub(crate) fn hear_of_stream(&mut self, client: usize, address: &StreamAddress) {
        let app = &self.clients[client].app;
        if app.writings.contains_key(address) {
            self.go_on_writing(client, address);
        }
        let app = &self.clients[client].app;
        let own = app.readings.iter().filter(|(_, reading)| reading.address == *address);
        let own: Vec<(u64, bool)> =
            own.map(|(number, r)| (*number, r.slow && !self.peace)).collect();
        for (number, slow) in own {
            if !slow {
                self.take(client, number);
            }
            self.look_at_reading(client, number);
        }
        let app = &self.clients[client].app;
        let asked = app.interrupts.iter().filter(|(_, of)| *of == address);
        let asked: Vec<_> = asked.map(|(id, _)| *id).collect();
        for id in asked {
            let Some(answer) = self.clients[client].session.interrupt_answer(id) else { continue };
            self.clients[client].session.leave_interrupt(id);
            self.clients[client].app.interrupts.remove(&id);
            match answer {
                Ok(()) => {
                    self.report.count_incident("stream_interrupted");
                    self.oracle.interrupted.insert(address.clone());
                }
                Err(error) => {
                    let code = error.code();
                    self.report.count_incident(&format!("stream_not_interrupted:{code}"));
                }
            }
        }
    }

    /// Takes what has come for all readers, the slow ones too.
    pub(crate) fn take_all(&mut self, client: usize) {
        let numbers: Vec<u64> = self.clients[client].app.readings.keys().copied().collect();
        for number in numbers {
            self.take(client, number);
        }
    }

    /// What a reader has taken is always the beginning of what the stream was on disk.
    fn take(&mut self, client: usize, number: u64) {
        let now = self.clients[client].clock(self.now);
        let of = &mut self.clients[client];
        let Some(reading) = of.app.readings.get_mut(&number) else { return };
        let Some(taken) = of.session.take_text(now, reading.id) else { return };
        if taken.restarted {
            self.report.count_incident("stream_restarted");
            reading.text.clear();
        }
        let has = reading.text.len();
        let follows = taken.offset == has as u64;
        reading.text.push_str(&taken.text);
        let address = reading.address.clone();
        let began = self.oracle.began_with(&address, &reading.text);
        self.report.count_incident("stream_taken");
        if !follows {
            let what = format!("{address}: client {client} has {has} and gets {}", taken.offset);
            self.complain("stream_gap", what);
        } else if !began {
            let what = format!("{address}: client {client} has text that never was there");
            self.complain("stream_text", what);
        }
    }

    fn look_at_reading(&mut self, client: usize, number: u64) {
        let of = &mut self.clients[client];
        let Some(reading) = of.app.readings.get(&number) else { return };
        let Some(state) = of.session.stream_reader(reading.id) else { return };
        let Some(error) = state.failed else { return };
        let (code, address) = (error.code(), reading.address.clone());
        let was_there = reading.was_there;
        let now = of.clock(self.now);
        of.session.leave_reading(now, reading.id);
        of.app.readings.remove(&number);
        self.report.count_incident(&format!("stream_not_read:{code}"));
        let legal = matches!(code, Code::NoStream | Code::Forbidden);
        if !legal || (code == Code::NoStream && was_there && !self.destroyed) {
            self.complain("stream_refused", format!("{address} can't be read: {error}"));
        }
    }

    fn may_be_missing(&self, address: &StreamAddress) -> bool {
        self.destroyed || !self.oracle.mirror.streams.contains_key(address)
    }

    /// Hands over what is to be said, and ends the stream once all is said.
    pub(crate) fn go_on_writing(&mut self, client: usize, address: &StreamAddress) {
        let Some(state) = self.clients[client].session.stream_writer(address) else { return };
        self.check_durable(client, address, &state);
        if let Some(error) = &state.failed {
            return self.writing_failed(client, address, error);
        }
        if state.status.outcome.is_some() {
            self.report.count_incident("stream_ended");
            self.clients[client].app.writings.remove(address);
            return self.clients[client].session.leave_writing(address);
        }
        let now = self.clients[client].clock(self.now);
        let of = &mut self.clients[client];
        let Some(writing) = of.app.writings.get_mut(address) else { return };
        // Some stop when they are asked to, and the others are stopped.
        if state.status.interrupted_by.is_some() && address.id().ends_with(['0', '2', '4']) {
            writing.close.get_or_insert(Close::Stop);
        }
        if !writing.rest.is_empty()
            && let Ok(taken) = of.session.append_stream(now, address, &writing.rest)
        {
            writing.rest.drain(..taken);
        }
        let (Some(close), true, false) = (writing.close, writing.rest.is_empty(), writing.closing)
        else {
            return;
        };
        let outcome = match close {
            Close::Finish => Some(Outcome::Finished { result: None }),
            Close::Fail => Some(Outcome::Failed { reason: "out of words".to_owned() }),
            Close::Stop => Some(Outcome::Interrupted),
            Close::Commit => self.commit_result(client, address, &state),
        };
        let Some(outcome) = outcome else { return };
        let of = &mut self.clients[client];
        if of.session.end_stream(now, address, outcome).is_ok()
            && let Some(writing) = of.app.writings.get_mut(address)
        {
            writing.closing = true;
        }
    }

    /// Has the result made a comment. Answers how the stream ends then.
    fn commit_result(
        &mut self,
        client: usize,
        address: &StreamAddress,
        state: &WriterState,
    ) -> Option<Outcome> {
        let created = state.origin.as_ref()?.created;
        let comments: Address = "sim/one/comments".parse().ok()?;
        let comment = comment_id(address, created);
        let of = &self.clients[client];
        let writing = of.app.writings.get(address)?;
        let result =
            Outcome::Finished { result: Some(Committed { address: comments.clone(), comment }) };
        if let Some(command) = writing.command {
            let ending = of.endings.get(&command)?.last()?;
            return Some(match &ending.resolution {
                Resolution::Refused { .. } => {
                    Outcome::Failed { reason: "the result was refused".to_owned() }
                }
                Resolution::Confirmed | Resolution::NoEffect | Resolution::Superseded => result,
            });
        }
        let Some(View::Comments(view)) = of.session.view(&comments) else { return None };
        let status = of.session.status(&comments)?;
        if !status.live {
            return None;
        }
        if view.comment(comment).is_some() {
            // What is not accepted yet may still be refused.
            return (status.pending == 0).then_some(result);
        }
        let now = of.clock(self.now);
        self.said += 1;
        let id = Ulid::after(None, now, u128::from(self.said));
        let (author, body) = (of.user.clone(), format!("{RESULT_OF}{address}"));
        let add = CommentsCommand::Add { id: comment, author, parent: None, created: now, body };
        self.report.count_act("stream_commit");
        self.clients[client].app.writings.get_mut(address)?.command = Some(id);
        if !self.execute(client, id, &comments, Command::Comments(add)) {
            return Some(Outcome::Failed { reason: "the result was refused".to_owned() });
        }
        None
    }

    /// What is acknowledged is on disk, unless the disk was replaced since.
    fn check_durable(&mut self, client: usize, address: &StreamAddress, state: &WriterState) {
        let texts = self.oracle.texts.get(address);
        let longest = texts.into_iter().flatten().map(String::len).max().unwrap_or(0) as u64;
        if state.durable > longest {
            let what =
                format!("{address}: client {client} was told {} of {longest}", state.durable);
            self.complain("stream_ack", what);
        }
    }

    fn writing_failed(&mut self, client: usize, address: &StreamAddress, error: &StreamError) {
        let code = error.code();
        self.say(client, &format!("can't write {address}: {error}"));
        self.report.count_incident(&format!("stream_not_written:{code}"));
        self.clients[client].app.writings.remove(address);
        self.clients[client].session.leave_writing(address);
        let stream = self.oracle.mirror.streams.get(address);
        let user = &self.clients[client].user;
        // Two devices of one user may say different things at the same place.
        let alone = self.clients.iter().filter(|other| other.user == *user).count() == 1;
        let legal = match code {
            Code::NotProducer => stream.is_none_or(|s| s.producer != *user),
            Code::Forbidden | Code::StreamFull | Code::StreamEnded | Code::BadCommand => true,
            Code::StreamConflict | Code::StreamGap => self.destroyed || !alone,
            Code::NoStream => self.may_be_missing(address),
            _ => false,
        };
        if !legal {
            self.complain("stream_refused", format!("{address} can't be written: {error}"));
        }
    }

    /// What apps look at by themselves from time to time once nothing goes wrong any more.
    pub(crate) fn go_on_with_streams(&mut self, client: usize) {
        let app = &self.clients[client].app;
        let mut streams: Vec<StreamAddress> = app.writings.keys().cloned().collect();
        streams.extend(app.readings.values().map(|reading| reading.address.clone()));
        for address in streams {
            self.hear_of_stream(client, &address);
        }
        self.drain_client(client);
    }

    /// Whether all that was to be written is written, and all that was written is read.
    pub(crate) fn streams_are_quiet(&self) -> bool {
        (0..self.clients.len()).all(|client| self.unrest_of_streams(client).is_empty())
    }

    /// Why streams do not come to rest, for people.
    pub(crate) fn unrest_of_streams(&self, client: usize) -> Vec<String> {
        let of = &self.clients[client];
        let mut why = Vec::new();
        for (address, writing) in &of.app.writings {
            let state = of.session.stream_writer(address);
            let settled = state.as_ref().is_some_and(|state| {
                let all = state.durable == state.written && writing.rest.is_empty();
                state.origin.is_some() && all && writing.close.is_none() && state.failed.is_none()
            });
            if !settled {
                why.push(format!("{address} is written: {state:?}, {writing:?}"));
            }
        }
        for reading in of.app.readings.values() {
            let stream = self.oracle.mirror.streams.get(&reading.address);
            let state = of.session.stream_reader(reading.id);
            let (length, outcome) = stream.map_or((0, None), |s| (s.text.len(), s.outcome.clone()));
            let told = state.as_ref().and_then(|state| state.status.as_ref());
            let told = told.and_then(|status| status.outcome.clone());
            // Who was told the end asks no more, also where the server has lost it since.
            let is_over = told.is_some() && self.destroyed;
            if !is_over && (reading.text.len() != length || told != outcome) {
                let at = reading.text.len();
                why.push(format!("{} is read to {at} of {length}: {state:?}", reading.address));
            }
        }
        why.extend(of.app.interrupts.values().map(|at| format!("{at} is not interrupted yet")));
        why
    }

    /// What was read is what there is, what was interrupted is known to be, and every result is there
    /// once.
    pub(crate) fn judge_streams(&mut self) {
        let mut found = Vec::new();
        for client in &self.clients {
            for reading in client.app.readings.values() {
                let stream = self.oracle.mirror.streams.get(&reading.address);
                let state = client.session.stream_reader(reading.id);
                let told = state.and_then(|state| state.status?.outcome);
                let is_over = told.is_some() && self.destroyed;
                if !is_over && stream.is_some_and(|stream| stream.text != reading.text) {
                    let what = format!("{}: client {}", reading.address, client.number);
                    found.push(("stream_text", what));
                }
            }
            for address in client.app.writings.keys() {
                let stream = self.oracle.mirror.streams.get(address);
                let state = client.session.stream_writer(address);
                let (Some(stream), Some(state)) = (stream, state) else { continue };
                if state.status.interrupted_by != stream.interrupted_by {
                    let what = format!("{address}: client {} does not know", client.number);
                    found.push(("stream_interrupt", what));
                }
            }
        }
        for address in self.oracle.interrupted.iter().filter(|_| !self.destroyed) {
            let stream = self.oracle.mirror.streams.get(address);
            if stream.is_none_or(|s| s.interrupted_by.is_none() && s.outcome.is_none()) {
                found.push(("stream_interrupt", format!("{address} was interrupted and goes on")));
            }
        }
        for (address, stream) in &self.oracle.mirror.streams {
            self.judge_result(address, stream.outcome.as_ref(), &mut found);
        }
        for (rule, what) in found {
            self.complain(rule, what);
        }
        self.judge_stored_streams();
    }

    fn judge_result(
        &self,
        address: &StreamAddress,
        outcome: Option<&Outcome>,
        found: &mut Vec<(&'static str, String)>,
    ) {
        let Some(Outcome::Finished { result: Some(result) }) = outcome else { return };
        let Some(View::Comments(view)) = self.views.get(&result.address) else { return };
        let body = format!("{RESULT_OF}{address}");
        let said = |comment: &str| comment == body;
        let times = view.thread().filter(|(_, _, comment)| said(&comment.body)).count();
        if times != 1 && !self.destroyed {
            found.push(("stream_result", format!("{address}: its result is there {times} times")));
        }
    }

    /// What the hub would read from the disk is what became durable.
    fn judge_stored_streams(&mut self) {
        let mut found = Vec::new();
        for (address, stream) in &self.oracle.mirror.streams {
            match self.server.read_stream(address) {
                Ok(stored)
                    if stored.text == stream.text
                        && stored.origin.producer == stream.producer
                        && stored.status.outcome == stream.outcome
                        && stored.status.interrupted_by == stream.interrupted_by => {}
                other => found.push(format!("{address}: {other:?} is stored, not {stream:?}")),
            }
        }
        for what in found {
            self.complain("stream_lost", what);
        }
    }
}

/// Whether a comment is what somebody said, and not the result of a stream.
pub(crate) fn is_result(body: &str) -> bool {
    body.starts_with(RESULT_OF)
}
