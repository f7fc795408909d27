//! Opening streams to read, write or interrupt them: who may, what the answer is, and when it can be
//! given. What is sent afterwards is the concern of [`super::follow`].

use std::mem;

use super::{Asks, Follower, Live, ReadAsk, State, StreamHandle, WriteAsk};
use super::{Hub, What};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::hub::connection::Slot;
use crate::hub::{Effect, Phase};
use crate::ids::{StreamAddress, UserId};
use crate::policy::{Capabilities, Principal};
use crate::wire::frame::{
    InterruptStream, LeaveStream, ReadStream, StreamAsk, StreamInterrupted, StreamOpened,
    StreamRefused, WriteStream,
};

/// An address that does not parse is not worth echoing beyond this.
const ECHO_BYTES_MAX: usize = 256;

/// Why something can't be had of a stream.
#[derive(Debug)]
pub(super) struct No(pub(super) Code, pub(super) &'static str);

/// What became of a question.
enum Answer {
    Given,
    /// What it is about is not on disk yet.
    Waits,
    Refused(No),
}

impl Hub {
    pub(in crate::hub) fn write_stream(&mut self, now: Timestamp, slot: Slot, frame: &WriteStream) {
        let asked_by = frame.asked_by.as_deref().map(UserId::new).transpose();
        let Ok(asked_by) = asked_by else {
            let no = No(Code::BadCommand, "who asked for it is not a user");
            return self.refuse_stream(slot, &frame.address, StreamAsk::Write, &no);
        };
        let write = Some(WriteAsk { create: frame.create, asked_by, since: frame.since });
        let asks = Asks { write, ..Asks::default() };
        self.ask_stream(now, slot, &frame.address, StreamAsk::Write, asks);
    }

    pub(in crate::hub) fn read_stream(&mut self, now: Timestamp, slot: Slot, frame: &ReadStream) {
        let read = Some(ReadAsk { from: frame.from, since: frame.since });
        let asks = Asks { read, ..Asks::default() };
        self.ask_stream(now, slot, &frame.address, StreamAsk::Read, asks);
    }

    pub(in crate::hub) fn interrupt_stream(
        &mut self,
        now: Timestamp,
        slot: Slot,
        frame: &InterruptStream,
    ) {
        let asks = Asks { interrupt: true, ..Asks::default() };
        self.ask_stream(now, slot, &frame.address, StreamAsk::Interrupt, asks);
    }

    fn ask_stream(&mut self, now: Timestamp, slot: Slot, name: &str, asked: StreamAsk, asks: Asks) {
        let handle = match self.find_stream(now, slot, name) {
            Ok(handle) => handle,
            Err(no) => return self.refuse_stream(slot, name, asked, &no),
        };
        if let Some(open) = self.connections.open_mut(slot) {
            open.streams.open.insert(handle);
        }
        let Some(stream) = self.streams.by_handle.get_mut(&handle) else { return };
        let (waiting, live) = match &mut stream.state {
            State::Loading(waiting) => (waiting, false),
            State::Live(live) => (&mut live.asks, true),
        };
        // A second question of a connection stands for the first.
        let all = waiting.entry(slot).or_default();
        all.read = asks.read.or(all.read);
        all.write = asks.write.or(all.write.take());
        all.interrupt |= asks.interrupt;
        if live {
            self.answer_stream_asks(now, handle);
        }
    }

    /// The stream with this name, which is loaded if it is not in memory.
    fn find_stream(&mut self, now: Timestamp, slot: Slot, name: &str) -> Result<StreamHandle, No> {
        let Ok(address) = name.parse::<StreamAddress>() else {
            return Err(No(Code::BadAddress, "a stream's address is space/id/stream"));
        };
        if !matches!(self.phase, Phase::Running) {
            return Err(No(Code::ShuttingDown, "the server is going away for a moment"));
        }
        if self.may_read(slot, address.space()) == Some(false) {
            return Err(No(Code::Forbidden, "you may not read here"));
        }
        let known = self.streams.by_address.get(&address).copied();
        let joined = self.connections.open(slot).map(|open| &open.streams);
        let has = joined.is_some_and(|all| known.is_some_and(|known| all.open.contains(&known)));
        let full = usize::try_from(self.config.streams_max).unwrap_or(usize::MAX);
        if !has && joined.is_some_and(|all| all.open.len() >= full) {
            return Err(No(Code::TooManyStreams, "leave a stream before opening another"));
        }
        if let Some(known) = known {
            return Ok(known);
        }
        if !self.make_room_for_streams(now) {
            return Err(No(Code::Overloaded, "the server has as much of streams open as it may"));
        }
        let handle = self.streams.insert(&address);
        if self.hold_space_for(handle, address.space()) {
            self.out.push(Effect::Load { address: address.log().clone() });
        }
        Ok(handle)
    }

    /// Has a stream loaded if anybody who asked for it may read it.
    pub(in crate::hub) fn load_stream_for_readers(&mut self, handle: StreamHandle) {
        let Some(stream) = self.streams.by_handle.get_mut(&handle) else { return };
        let address = stream.address.clone();
        let State::Loading(waiting) = &mut stream.state else { return };
        let (mut readers, mut others) = (Vec::new(), Vec::new());
        for (slot, asks) in mem::take(waiting) {
            let reads = self.may_read(slot, address.space()) == Some(true);
            if reads { readers.push((slot, asks)) } else { others.push((slot, asks)) }
        }
        for (slot, asks) in others {
            let no = No(Code::Forbidden, "you may not read here");
            self.refuse_asks(slot, handle, &asks, &no);
        }
        if readers.is_empty() {
            return self.forget_stream(handle);
        }
        if let Some(stream) = self.streams.by_handle.get_mut(&handle) {
            stream.state = State::Loading(readers.into_iter().collect());
            self.out.push(Effect::Load { address: address.log().clone() });
        }
    }

    /// A stream can't be loaded: tells everyone who wanted it.
    pub(in crate::hub) fn give_up_stream(&mut self, handle: StreamHandle) {
        let Some(stream) = self.streams.by_handle.get_mut(&handle) else { return };
        let State::Loading(waiting) = &mut stream.state else { return };
        for (slot, asks) in mem::take(waiting) {
            let no = No(Code::DocumentUnavailable, "what is stored of it can't be read");
            self.refuse_asks(slot, handle, &asks, &no);
        }
        self.forget_stream(handle);
    }

    /// Lets go of a stream, and of its space with the last that is in memory of that.
    pub(super) fn forget_stream(&mut self, handle: StreamHandle) {
        if let Some(stream) = self.streams.remove(handle) {
            if let State::Live(live) = &stream.state
                && let Some(at) = live.armed
            {
                self.timers.disarm(at, crate::hub::timers::Timer::Stream(handle));
            }
            self.release_space_for(handle, stream.address.space());
        }
    }

    /// Answers every question whose answer is on disk.
    pub(super) fn answer_stream_asks(&mut self, now: Timestamp, handle: StreamHandle) {
        let Some(live) = self.live_stream_mut(handle) else { return };
        for (slot, asks) in mem::take(&mut live.asks) {
            let left = self.answer_asks(now, handle, slot, asks);
            let waits = left.read.is_some() || left.write.is_some() || left.interrupt;
            if waits && let Some(live) = self.live_stream_mut(handle) {
                live.asks.insert(slot, left);
            } else {
                self.unjoin_if_done(slot, handle);
            }
        }
        self.watch_stream(now, handle);
    }

    /// Answers what a connection asked. Gives back what has to wait.
    fn answer_asks(
        &mut self,
        now: Timestamp,
        handle: StreamHandle,
        slot: Slot,
        asks: Asks,
    ) -> Asks {
        let mut left = Asks::default();
        let Some(address) = self.streams.address(handle) else { return left };
        let Some(principal) = self.principal(slot, address.space()) else { return left };
        if !principal.may.has(Capabilities::READ) {
            self.refuse_asks(slot, handle, &asks, &No(Code::Forbidden, "you may not read here"));
            return left;
        }
        let name = address.to_string();
        if let Some(ask) = asks.write {
            match self.answer_write(now, handle, slot, &principal, &ask) {
                Answer::Given => {}
                Answer::Waits => left.write = Some(ask),
                Answer::Refused(no) => self.refuse_stream(slot, &name, StreamAsk::Write, &no),
            }
        }
        if let Some(ask) = asks.read {
            match self.answer_read(handle, slot, ask) {
                Answer::Given => {}
                Answer::Waits => left.read = Some(ask),
                Answer::Refused(no) => self.refuse_stream(slot, &name, StreamAsk::Read, &no),
            }
        }
        if asks.interrupt {
            match self.answer_interrupt(now, handle, slot, &principal, name.clone()) {
                Answer::Given => {}
                Answer::Waits => left.interrupt = true,
                Answer::Refused(no) => self.refuse_stream(slot, &name, StreamAsk::Interrupt, &no),
            }
        }
        left
    }

    fn answer_write(
        &mut self,
        now: Timestamp,
        handle: StreamHandle,
        slot: Slot,
        principal: &Principal,
        ask: &WriteAsk,
    ) -> Answer {
        let Some(live) = self.live_stream_mut(handle) else { return Answer::Given };
        let producer = live.assigned.origin.as_ref().map(|origin| &origin.producer);
        if producer.is_none() && !ask.create {
            return Answer::Refused(No(Code::NoStream, "nobody has made this stream"));
        }
        if producer.is_some_and(|producer| *producer != principal.user) {
            return Answer::Refused(No(Code::NotProducer, "this stream is somebody else's"));
        }
        if !principal.may.has(Capabilities::COMMENT) {
            return Answer::Refused(No(Code::Forbidden, "you may not write here"));
        }
        if producer.is_none() {
            let made = What::Made { asked_by: ask.asked_by.clone() };
            live.accept(principal.user.clone(), now, made);
            self.streams.dirty.insert(handle);
            return Answer::Waits;
        }
        // What is on its way to the disk may be the asker's, said before it left: to go on it must
        // hear of that as well.
        if live.durable.origin.is_none() || live.durable.length < live.assigned.length {
            return Answer::Waits;
        }
        let follower = live.followers.entry(slot).or_default();
        (follower.writes, follower.told) = (true, 0);
        if live.stalled_since.take().is_some() {
            live.version += 1;
        }
        let at = live.durable.length;
        self.say_stream_opened(handle, slot, true, at, ask.since);
        self.tell_stream(handle);
        Answer::Given
    }

    fn answer_read(&mut self, handle: StreamHandle, slot: Slot, ask: ReadAsk) -> Answer {
        let Some(live) = self.live_stream_mut(handle) else { return Answer::Given };
        if live.assigned.origin.is_none() {
            return Answer::Refused(No(Code::NoStream, "nobody has made this stream"));
        }
        if live.durable.origin.is_none() {
            return Answer::Waits;
        }
        let from = usize::try_from(ask.from).ok();
        let known = |at: &usize| *at <= live.durable.length && live.text.is_boundary(*at);
        let at = from.filter(known).unwrap_or(0);
        let follower = live.followers.entry(slot).or_default();
        *follower = Follower { reads: Some(at), writes: follower.writes, told: 0 };
        self.say_stream_opened(handle, slot, false, at, ask.since);
        self.have_stream_news(handle, slot);
        Answer::Given
    }

    fn answer_interrupt(
        &mut self,
        now: Timestamp,
        handle: StreamHandle,
        slot: Slot,
        principal: &Principal,
        address: String,
    ) -> Answer {
        let Some(live) = self.live_stream_mut(handle) else { return Answer::Given };
        let Some(origin) = &live.assigned.origin else {
            return Answer::Refused(No(Code::NoStream, "nobody has made this stream"));
        };
        let user = &principal.user;
        let concerned = *user == origin.producer || origin.asked_by.as_ref() == Some(user);
        if !concerned && !principal.may.has(Capabilities::MODERATE) {
            let why = "only who writes it, who asked for it or who moderates may interrupt it";
            return Answer::Refused(No(Code::Forbidden, why));
        }
        if live.durable.interrupted.is_some() || live.durable.outcome.is_some() {
            self.send(slot, StreamInterrupted { address });
            return Answer::Given;
        }
        if live.assigned.interrupted.is_none() && live.assigned.outcome.is_none() {
            live.accept(user.clone(), now, What::Interrupted);
            self.streams.dirty.insert(handle);
        }
        Answer::Waits
    }

    fn say_stream_opened(
        &mut self,
        handle: StreamHandle,
        slot: Slot,
        writes: bool,
        at: usize,
        since: u64,
    ) {
        let Some(address) = self.streams.address(handle).map(|a| a.to_string()) else { return };
        let window = self.config.stream_window_bytes;
        let Some(live) = self.live_stream_mut(handle) else { return };
        let Some(origin) = &live.durable.origin else { return };
        // A digest of more than anybody can have unanswered would only cost time.
        let since =
            usize::try_from(since).unwrap_or(usize::MAX).clamp(at.saturating_sub(window), at);
        let frame = StreamOpened {
            address,
            stream: handle.0,
            writes,
            at: at as u64,
            since: since as u64,
            digest: live.text.digest(since, at),
            producer: origin.producer.to_string(),
            asked_by: origin.asked_by.as_ref().map(ToString::to_string),
            created_ms: origin.created.0,
            window_bytes: u32::try_from(window).unwrap_or(u32::MAX),
        };
        self.send(slot, frame);
    }

    /// Tells a connection that something can't be had of a stream.
    pub(super) fn refuse_stream(&mut self, slot: Slot, name: &str, asked: StreamAsk, no: &No) {
        let No(code, why) = no;
        let later =
            matches!(code, Code::ShuttingDown | Code::DocumentUnavailable | Code::Overloaded);
        let retry_after_ms =
            self.connections.peer(slot).filter(|_| later).map(|peer| self.return_after(peer.id));
        let echo = if name.len() <= ECHO_BYTES_MAX { name } else { "" };
        let (address, message) = (echo.to_owned(), (*why).to_owned());
        let code = code.number();
        self.send(slot, StreamRefused { address, asked, code, message, retry_after_ms });
    }

    fn refuse_asks(&mut self, slot: Slot, handle: StreamHandle, asks: &Asks, no: &No) {
        let Some(name) = self.streams.address(handle).map(|address| address.to_string()) else {
            return;
        };
        for (asked, is) in [
            (StreamAsk::Read, asks.read.is_some()),
            (StreamAsk::Write, asks.write.is_some()),
            (StreamAsk::Interrupt, asks.interrupt),
        ] {
            if is {
                self.refuse_stream(slot, &name, asked, no);
            }
        }
        self.unjoin_if_done(slot, handle);
    }

    /// Ends the reading or the writing of a connection.
    pub(in crate::hub) fn leave_stream(&mut self, now: Timestamp, slot: Slot, frame: LeaveStream) {
        let handle = StreamHandle(frame.stream);
        let Some(live) = self.live_stream_mut(handle) else { return };
        if let Some(follower) = live.followers.get_mut(&slot) {
            if frame.writes {
                follower.writes = false;
            } else {
                follower.reads = None;
            }
        }
        self.unjoin_if_done(slot, handle);
        self.watch_stream(now, handle);
    }

    /// Takes a connection off a stream of which it wants nothing more.
    pub(super) fn unjoin_if_done(&mut self, slot: Slot, handle: StreamHandle) {
        if let Some(live) = self.live_stream_mut(handle) {
            if live.asks.contains_key(&slot) {
                return;
            }
            match live.followers.get(&slot) {
                Some(follower) if follower.writes || follower.reads.is_some() => return,
                Some(_) => drop(live.followers.remove(&slot)),
                None => {}
            }
        }
        if let Some(open) = self.connections.open_mut(slot) {
            open.streams.open.remove(&handle);
            open.streams.news.remove(&handle);
        }
    }

    /// A connection is gone.
    pub(in crate::hub) fn part_from_stream(
        &mut self,
        now: Timestamp,
        handle: StreamHandle,
        slot: Slot,
    ) {
        let Some(stream) = self.streams.by_handle.get_mut(&handle) else { return };
        match &mut stream.state {
            State::Loading(waiting) => {
                waiting.remove(&slot);
            }
            State::Live(live) => {
                live.followers.remove(&slot);
                live.asks.remove(&slot);
                self.watch_stream(now, handle);
            }
        }
    }

    /// Has changed rules take effect on all who have streams of a space open.
    pub(in crate::hub) fn judge_streams(&mut self, now: Timestamp, space: &str) {
        for handle in self.streams.in_space(space) {
            let live = self.live_stream_mut(handle);
            let slots: Vec<Slot> =
                live.into_iter().flat_map(|live| live.followers.keys().copied()).collect();
            for slot in slots {
                self.judge_stream_follower(now, handle, slot);
            }
        }
    }

    /// Ends what a connection may not do any more.
    pub(in crate::hub) fn judge_stream_follower(
        &mut self,
        now: Timestamp,
        handle: StreamHandle,
        slot: Slot,
    ) {
        let Some(address) = self.streams.address(handle) else { return };
        let principal = self.principal(slot, address.space());
        let Some(may) = principal.map(|principal| principal.may) else { return };
        let Some(live) = self.live_stream_mut(handle) else { return };
        let Some(follower) = live.followers.get_mut(&slot) else { return };
        let reads = may.has(Capabilities::READ);
        let no_reading = !reads && follower.reads.take().is_some();
        let may_write = reads && may.has(Capabilities::COMMENT);
        let no_writing = !may_write && mem::take(&mut follower.writes);
        let name = address.to_string();
        if no_reading {
            let no = No(Code::Forbidden, "you may not read here any more");
            self.refuse_stream(slot, &name, StreamAsk::Read, &no);
        }
        if no_writing {
            let no = No(Code::Forbidden, "you may not write here any more");
            self.refuse_stream(slot, &name, StreamAsk::Write, &no);
        }
        self.unjoin_if_done(slot, handle);
        self.watch_stream(now, handle);
    }
}

impl Live {
    /// Whether a connection writes it.
    pub(super) fn is_written_by(&self, slot: Slot) -> bool {
        self.followers.get(&slot).is_some_and(|follower| follower.writes)
    }
}
