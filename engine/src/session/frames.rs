//! What the server says, frame by frame.

use std::time::Duration;

use automerge::Change;

use super::layout;
use super::open::{Body, OpenDocument, Sync};
use super::{Notice, Session};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{ActorId, Address, Cursor, Epoch, Lease, Tip};
use crate::limits::NUMBER_MAX;
use crate::policy::Capabilities;
use crate::replica::{Outcome, Replica, ReplicaError};
use crate::session::ConnectionId;
use crate::wire::frame::{
    Changes, Error, Goodbye, Reject, Resume, SettledAs, SnapshotPart, Subscribed, Unsubscribe,
    Welcome, WireCursor, WireLease,
};
use crate::wire::{ServerFrame, pack};

/// What a frame says of numbers that are kept and counted on from.
fn numbers(frame: &ServerFrame) -> Vec<u64> {
    let of_lease = |lease: &WireLease| vec![lease.next_seq, lease.after];
    match frame {
        ServerFrame::Subscribed(frame) => {
            let mut numbers = frame.lease.as_ref().map(of_lease).unwrap_or_default();
            numbers.extend([frame.end_seq, frame.settled]);
            numbers.extend(frame.next.map(|next| next.start.seq));
            if let Resume::Snapshot { cursor, bytes } = &frame.resume {
                numbers.extend([cursor.seq, *bytes]);
            }
            numbers
        }
        ServerFrame::Changes(frame) => vec![frame.first_seq],
        ServerFrame::Ack(frame) => vec![frame.number],
        ServerFrame::Reject(frame) => vec![frame.number],
        ServerFrame::Leased(frame) => of_lease(&frame.lease),
        ServerFrame::SettledAs(frame) => vec![frame.number],
        ServerFrame::StreamOpened(frame) => vec![frame.at],
        ServerFrame::StreamText(frame) => vec![frame.offset],
        ServerFrame::StreamAck(frame) => vec![frame.end],
        ServerFrame::StreamStatus(frame) => vec![frame.end],
        // The changes in it are looked at when it is unpacked; the others are compared with what is
        // here, or tell of time.
        ServerFrame::PackedChanges(_)
        | ServerFrame::SnapshotPart(_)
        | ServerFrame::Compared(_)
        | ServerFrame::Welcome(_)
        | ServerFrame::LeaseEnded(_)
        | ServerFrame::Restored(_)
        | ServerFrame::Pong(_)
        | ServerFrame::Error(_)
        | ServerFrame::Goodbye(_)
        | ServerFrame::TokenExpires(_)
        | ServerFrame::May(_)
        // Whose numbers are times and names, which are taken as they are.
        | ServerFrame::Entered(_)
        | ServerFrame::Presence(_)
        | ServerFrame::Crowd(_)
        | ServerFrame::Standing(_)
        | ServerFrame::SentAway(_)
        | ServerFrame::NotAnnounced(_)
        | ServerFrame::Kicked(_)
        | ServerFrame::StreamInterrupted(_)
        | ServerFrame::StreamRefused(_)
        | ServerFrame::Feed(_)
        | ServerFrame::FeedChanged(_)
        | ServerFrame::Posts(_)
        | ServerFrame::FeedEnded(_)
        | ServerFrame::PostsRefused(_) => Vec::new(),
    }
}

impl Session {
    pub(super) fn received(&mut self, now: Timestamp, connection: ConnectionId, message: &[u8]) {
        if self.link.current() != Some(connection) {
            return;
        }
        self.link.heard(now);
        self.stats.bytes_received += message.len() as u64;
        match ServerFrame::decode(message) {
            Ok(frame) if numbers(&frame).iter().all(|number| *number <= NUMBER_MAX) => {
                self.frame(now, frame);
            }
            Ok(_) => self.out_of_step(now, "a number is larger than any can be"),
            Err(error) => {
                self.problem(None, Code::BadFrame, error.to_string());
                self.hang_up(now);
            }
        }
    }

    fn frame(&mut self, now: Timestamp, frame: ServerFrame) {
        self.note_answer(now, &frame);
        match frame {
            ServerFrame::Welcome(welcome) => self.welcomed(now, welcome),
            ServerFrame::Entered(frame) => self.entered(now, frame),
            ServerFrame::Presence(frame) => self.presence(now, frame),
            ServerFrame::Crowd(frame) => self.crowd(now, frame),
            ServerFrame::Standing(frame) => self.stands(now, &frame),
            ServerFrame::SentAway(frame) => self.sent_out(now, frame),
            ServerFrame::NotAnnounced(frame) => self.not_announced(now, frame),
            ServerFrame::Kicked(frame) => self.kicked(frame),
            ServerFrame::SettledAs(settled_as) => self.settled_as(settled_as),
            ServerFrame::Subscribed(subscribed) => self.subscribed(now, &subscribed),
            ServerFrame::SnapshotPart(part) => self.snapshot_part(now, &part),
            ServerFrame::Changes(changes) => self.changes(now, changes),
            ServerFrame::PackedChanges(packed) => match pack::unpack(&packed) {
                Ok(changes) => self.changes(now, changes),
                Err(error) => {
                    self.problem(None, Code::BadFrame, error.to_string());
                    self.hang_up(now);
                }
            },
            ServerFrame::Ack(ack) => {
                self.on_replica(now, ack.handle, |replica| Ok(replica.acknowledge(ack.number)));
            }
            ServerFrame::Reject(reject) => self.rejected(now, &reject),
            ServerFrame::Leased(leased) => {
                if let Some(address) = self.handles.get(&leased.handle).cloned() {
                    self.granted(&address, leased.lease);
                    self.advance(now, &address);
                }
            }
            ServerFrame::LeaseEnded(ended) => self.lease_ended(now, ended.handle),
            ServerFrame::Restored(restored) => {
                self.flush_typing_of(restored.handle);
                self.restored(now, restored.handle, restored.refused);
            }
            ServerFrame::TokenExpires(expires) => self.token_expires(now, expires.in_ms),
            ServerFrame::May(frame) => {
                if let Some(address) = self.handles.get(&frame.handle).cloned() {
                    self.allowed(&address, frame.may);
                }
            }
            ServerFrame::Compared(answer) => self.compared(now, answer),
            ServerFrame::StreamOpened(frame) => self.stream_opened(now, &frame),
            ServerFrame::StreamText(frame) => self.stream_text(now, &frame),
            ServerFrame::StreamAck(frame) => self.stream_ack(now, frame),
            ServerFrame::StreamStatus(frame) => self.stream_status(now, &frame),
            ServerFrame::StreamInterrupted(frame) => self.stream_interrupted(&frame.address),
            ServerFrame::StreamRefused(frame) => self.stream_refused(now, &frame),
            ServerFrame::Feed(frame) => self.feed_told(frame),
            ServerFrame::FeedChanged(frame) => self.feed_changed(frame),
            ServerFrame::FeedEnded(frame) => self.feed_ended(now, frame),
            // A session asks for no lists.
            ServerFrame::Pong(_) | ServerFrame::Posts(_) | ServerFrame::PostsRefused(_) => {}
            ServerFrame::Error(error) => self.error(now, error),
            ServerFrame::Goodbye(Goodbye { code: _, retry_after_ms }) => {
                if let Some(wait) = retry_after_ms {
                    self.link.hold_off(Duration::from_millis(wait.into()));
                }
            }
        }
    }

    fn settled_as(&mut self, settled_as: SettledAs) {
        let address = settled_as.address.parse::<Address>();
        if let Some(document) = address.ok().and_then(|address| self.documents.get_mut(&address)) {
            document.settled_as = Some(settled_as);
        }
    }

    fn lease_ended(&mut self, now: Timestamp, handle: u32) {
        self.flush_typing_of(handle);
        self.revoke_grant(handle);
        self.on_replica(now, handle, |replica| {
            if replica.is_lapsed() { Ok(Outcome::default()) } else { replica.fall_back() }
        });
        if let Some(address) = self.handles.get(&handle).cloned() {
            self.lease_gone(&address);
        }
    }

    /// The server has said who it is: everything that is to be open is asked for.
    fn welcomed(&mut self, now: Timestamp, welcome: Welcome) {
        let heartbeat = Duration::from_millis(welcome.heartbeat_ms.into());
        if !self.link.welcomed(now, heartbeat) {
            return self.out_of_step(now, "Welcome came when it was not awaited");
        }
        self.term = welcome.term;
        self.next_round = now + self.config.answer_timeout / 4;
        let all: Vec<Address> = self.documents.keys().cloned().collect();
        for address in all {
            self.subscribe(now, &address);
        }
        self.enter_spaces(now);
        self.go_on_with_streams(now);
        self.ask_feeds();
    }

    /// Notes when the server answered something about a document.
    fn note_answer(&mut self, now: Timestamp, frame: &ServerFrame) {
        let handle = match frame {
            ServerFrame::SnapshotPart(frame) => frame.handle,
            ServerFrame::Ack(frame) => frame.handle,
            ServerFrame::Leased(frame) => frame.handle,
            ServerFrame::Restored(frame) => frame.handle,
            // What others write is no answer, except to one who is catching up. The others bring the document into another state, which begins with a question.
            ServerFrame::Welcome(_)
            | ServerFrame::SettledAs(_)
            | ServerFrame::Subscribed(_)
            | ServerFrame::Changes(_)
            | ServerFrame::PackedChanges(_)
            | ServerFrame::Reject(_)
            | ServerFrame::LeaseEnded(_)
            | ServerFrame::Pong(_)
            | ServerFrame::Error(_)
            | ServerFrame::Goodbye(_)
            | ServerFrame::Compared(_)
            | ServerFrame::StreamOpened(_)
            | ServerFrame::StreamText(_)
            | ServerFrame::StreamAck(_)
            | ServerFrame::StreamStatus(_)
            | ServerFrame::StreamInterrupted(_)
            | ServerFrame::StreamRefused(_)
            | ServerFrame::May(_)
            | ServerFrame::Entered(_)
            | ServerFrame::Presence(_)
            | ServerFrame::Crowd(_)
            | ServerFrame::Standing(_)
            | ServerFrame::SentAway(_)
            | ServerFrame::NotAnnounced(_)
            | ServerFrame::Kicked(_)
            | ServerFrame::Feed(_)
            | ServerFrame::FeedChanged(_)
            | ServerFrame::Posts(_)
            | ServerFrame::FeedEnded(_)
            | ServerFrame::PostsRefused(_)
            | ServerFrame::TokenExpires(_) => return,
        };
        let Some(address) = self.handles.get(&handle) else { return };
        let Some(document) = self.documents.get_mut(address) else { return };
        document.heard = now;
    }

    fn subscribed(&mut self, now: Timestamp, subscribed: &Subscribed) {
        let Ok(address) = subscribed.address.parse::<Address>() else {
            return;
        };
        self.flush_typing(&address);
        let handle = subscribed.handle;
        let limit = self.config.snapshot_bytes_max;
        let Some(document) = self.documents.get_mut(&address) else {
            self.send(Unsubscribe { handle }.into());
            return;
        };
        if document.has_left_epoch_of(subscribed) {
            return;
        }
        let last = document.settled_as.take();
        let elsewhere = document.was_settled_elsewhere(subscribed.settled, last.as_ref());
        let moves = document.begun.is_some();
        if elsewhere && !moves {
            return self.become_another(now);
        }
        let Some((mut outcome, mut step)) = document.take_up(subscribed, elsewhere, self.term)
        else {
            return;
        };
        if let Some(old) = document.sync.handle() {
            self.handles.remove(&old);
        }
        document.heard = now;
        self.handles.insert(handle, address.clone());
        document.lease_asked = false;
        document.seal = subscribed.seal.map(|seal| (subscribed.end_seq, seal));
        let end_seq = subscribed.end_seq;
        match subscribed.resume {
            Resume::Cursor => document.sync = Sync::CatchingUp { handle, end_seq },
            Resume::Beginning => {
                let begin = Cursor { epoch: Epoch(subscribed.epoch), seq: 0, tip: Tip::EMPTY };
                if let Some(replica) = document.replica_mut() {
                    let restart = replica.start_over(None, begin);
                    step = step.and(restart.map(|more| outcome.join(more)));
                }
                document.sync = Sync::CatchingUp { handle, end_seq };
            }
            Resume::Snapshot { cursor, bytes } if bytes <= limit => {
                let cursor = cursor_from(cursor);
                let buffer = Vec::new();
                document.sync = Sync::Snapshot { handle, cursor, bytes, buffer, end_seq };
            }
            Resume::Snapshot { .. } => {
                document.body = Body::Broken(Code::DocumentFull);
                self.touch(&address);
                let message = "the document is larger than this client accepts".to_owned();
                self.problem(Some(address), Code::DocumentFull, message);
                return;
            }
        }
        self.allowed(&address, subscribed.may);
        self.absorb(&address, outcome, false);
        match step {
            Ok(()) => self.advance(now, &address),
            Err(error) => self.broken(&address, &error),
        }
    }

    fn snapshot_part(&mut self, now: Timestamp, part: &SnapshotPart) {
        self.flush_typing_of(part.handle);
        let Some(address) = self.handles.get(&part.handle).cloned() else {
            return;
        };
        let Some(document) = self.documents.get_mut(&address) else {
            return;
        };
        let Sync::Snapshot { handle, cursor, bytes, buffer, end_seq } = &mut document.sync else {
            return;
        };
        let fits = buffer.len() as u64 == part.offset
            && buffer.len() as u64 + part.bytes.0.len() as u64 <= *bytes;
        if !fits {
            self.out_of_step(now, "the snapshot's parts are not in order");
            return;
        }
        buffer.extend_from_slice(&part.bytes.0);
        if (buffer.len() as u64) < *bytes {
            return;
        }
        let (handle, cursor, end_seq) = (*handle, *cursor, *end_seq);
        let snapshot = std::mem::take(buffer);
        document.sync = Sync::CatchingUp { handle, end_seq };
        self.on_replica(now, handle, |replica| replica.start_over(Some(&snapshot), cursor));
    }

    /// What somebody types counts in the text as it is before others change it.
    fn flush_typing_of(&mut self, handle: u32) {
        if let Some(address) = self.handles.get(&handle).cloned() {
            self.flush_typing(&address);
        }
    }

    fn changes(&mut self, now: Timestamp, frame: Changes) {
        self.flush_typing_of(frame.handle);
        let Some(address) = self.handles.get(&frame.handle).cloned() else {
            return;
        };
        let Some(replica) = self.documents.get(&address).and_then(|d| d.replica()) else {
            return;
        };
        let Some(cursor) = replica.cursor() else {
            self.out_of_step(now, "changes came before the document was opened");
            return;
        };
        let Some(after) = (frame.entries.len() as u64).checked_sub(1) else { return };
        let last_seq = frame.first_seq.checked_add(after);
        let last_seq = last_seq.filter(|last| frame.first_seq > 0 && *last <= NUMBER_MAX);
        let Some(last_seq) = last_seq else {
            self.out_of_step(now, "the log has no such place");
            return;
        };
        if last_seq <= cursor.seq {
            return;
        }
        if frame.first_seq - 1 > cursor.seq {
            self.out_of_step(now, "the log has a gap");
            return;
        }
        let known = usize::try_from(cursor.seq + 1 - frame.first_seq).unwrap_or(usize::MAX);
        let fresh: Option<Vec<Change>> = frame
            .entries
            .iter()
            .skip(known)
            .map(|entry| layout::parse_change(&entry.change.0))
            .collect();
        let Some(fresh) = fresh else {
            self.out_of_step(now, "a change in the log does not read");
            return;
        };
        let cursor = Cursor { epoch: cursor.epoch, seq: last_seq, tip: Tip(frame.tip) };
        self.stats.changes_received += fresh.len() as u64;
        if !self.step(&address, |replica| replica.accept(fresh, cursor)) {
            return;
        }
        if let Some(document) = self.documents.get_mut(&address) {
            document.note_seal(frame.seal.map(|seal| (last_seq, seal)));
        }
        // Before anything else: a document that nobody wants is gone after the next step. A log
        // that is being read anew is stored when it is whole.
        if let Some(document) = self.documents.get_mut(&address)
            && !document.sync.is_live()
        {
            document.heard = now;
        }
        if let Some(document) = self.documents.get_mut(&address)
            && document.replica().is_some_and(|replica| !replica.is_starting_over())
            && document.tails.last().is_none_or(|last| *last < cursor.seq)
        {
            document.tails.push(cursor.seq);
            let proof = document.replica().and_then(Replica::proof);
            let fresh = frame.entries.iter().skip(known).map(|entry| &entry.change.0[..]);
            self.writes.push(layout::put_tail(&address, cursor, proof, fresh));
        }
        self.compact(&address);
        self.advance(now, &address);
    }

    /// Runs a step on a replica, tells and stores what it did, and goes on from there.
    fn on_replica(
        &mut self,
        now: Timestamp,
        handle: u32,
        step: impl FnOnce(&mut Replica) -> Result<Outcome, ReplicaError>,
    ) {
        let Some(address) = self.handles.get(&handle).cloned() else {
            return;
        };
        if self.step(&address, step) {
            self.advance(now, &address);
        }
    }

    /// Runs a step on a replica, tells and stores what it did. Answers whether that went well.
    pub(super) fn step(
        &mut self,
        address: &Address,
        step: impl FnOnce(&mut Replica) -> Result<Outcome, ReplicaError>,
    ) -> bool {
        let Some(replica) = self.documents.get_mut(address).and_then(|d| d.replica_mut()) else {
            return false;
        };
        match step(replica) {
            Ok(outcome) => {
                self.absorb(address, outcome, false);
                true
            }
            Err(error) => {
                self.broken(address, &error);
                false
            }
        }
    }

    /// Goes from catching up to live, hands back what the server lacks, and takes a lease into use
    /// as soon as that is possible.
    fn advance(&mut self, now: Timestamp, address: &Address) {
        let Some(document) = self.documents.get_mut(address) else {
            return;
        };
        document.note_seal(None);
        let Some(seq) = document.replica().and_then(Replica::cursor).map(|cursor| cursor.seq)
        else {
            return;
        };
        if let Sync::CatchingUp { handle, end_seq } = document.sync
            && seq >= end_seq
        {
            if document.next.is_some() {
                return self.enter_next_epoch(now, address);
            }
            let frames = document.restore_frames(handle);
            if frames.is_empty() {
                document.sync = Sync::Live { handle };
                self.read_anew(address);
            } else {
                document.sync = Sync::Restoring { handle };
                for frame in frames {
                    self.send(frame.into());
                }
            }
        }
        if !self.finish_move(now, address) {
            self.take_lease(now, address);
            self.want_lease(address);
        }
        self.touch(address);
        self.release(address);
    }

    /// The server has all of what is accepted here: what was read anew can be stored.
    fn read_anew(&mut self, address: &Address) {
        let Some(document) = self.documents.get_mut(address) else {
            return;
        };
        let Body::Ready(replica) = &mut document.body else {
            return;
        };
        if replica.is_starting_over() {
            replica.finish_starting_over();
            document.note_seal(None);
            self.store_base(address);
        }
    }

    fn compact(&mut self, address: &Address) {
        let due = self
            .documents
            .get(address)
            .is_some_and(|document| document.tails.len() >= self.config.compact_after);
        if due {
            self.store_base(address);
        }
    }

    pub(super) fn store_base(&mut self, address: &Address) {
        let Some(document) = self.documents.get_mut(address) else {
            return;
        };
        let Some(replica) = document.replica() else {
            return;
        };
        let Some((body, cursor)) = replica.save_accepted() else {
            return;
        };
        self.writes.push(layout::put_base(address, cursor, replica.proof(), body));
        for seq in document.tails.drain(..) {
            self.writes.push(layout::delete_tail(address, seq));
        }
    }

    fn take_lease(&mut self, now: Timestamp, address: &Address) {
        let Some(document) = self.documents.get_mut(address) else {
            return;
        };
        let (Some(lease), true, Body::Ready(replica)) =
            (document.granted, document.sync.is_live(), &mut document.body)
        else {
            return;
        };
        let cursor = replica.cursor();
        if replica.is_lapsed() || cursor.is_none_or(|cursor| cursor.seq < lease.after) {
            return;
        }
        document.granted = None;
        if cursor.is_some_and(|cursor| cursor.seq == 0) {
            // Of an empty log nothing else is stored, and who has written there must be able to say in
            // which epoch, should that end before the log brings anything.
            self.store_base(address);
        }
        let document = self.documents.get_mut(address);
        let Some(replica) = document.and_then(OpenDocument::replica_mut) else { return };
        match replica.adopt(lease) {
            Ok(outcome) => self.absorb(address, outcome, false),
            Err(ReplicaError::Lease) => self.out_of_step(now, "the lease does not fit the log"),
            Err(error) => self.broken(address, &error),
        }
    }

    fn granted(&mut self, address: &Address, lease: WireLease) {
        if let Some(document) = self.documents.get_mut(address) {
            document.lease_asked = false;
            document.owes = false;
            document.granted = Some(lease_from(lease));
        }
    }

    /// A lease has ended: where it is not in use yet, it must not come into use any more.
    fn revoke_grant(&mut self, handle: u32) {
        let document = self.handles.get(&handle).and_then(|a| self.documents.get_mut(a));
        if let Some(document) = document {
            document.granted = None;
            // What came after its end was passed over, and goes out again under the next.
            document.pushed = document.replica().map_or(0, Replica::settled);
        }
    }

    fn lease_gone(&mut self, address: &Address) {
        let token = if self.writes.is_empty() { self.last_write } else { self.write_token() };
        if let Some(document) = self.documents.get_mut(address) {
            document.granted = None;
            document.lease_asked = false;
            document.owes = true;
            document.release_after = token;
        }
        self.releasing.insert(address.clone());
        self.want_lease(address);
    }

    fn rejected(&mut self, now: Timestamp, reject: &Reject) {
        self.flush_typing_of(reject.handle);
        let code = Code::from_number(reject.code).unwrap_or(Code::BadChange);
        if code == Code::OutboxReused {
            return self.become_another(now);
        }
        if code == Code::NumberGap {
            // The two sides count differently: the server's word at the next subscription counts.
            self.out_of_step(now, "the outbox is not where the server has it");
            return;
        }
        self.revoke_grant(reject.handle);
        self.on_replica(now, reject.handle, |replica| {
            // Not the command's fault: the same work goes out again under a new lease.
            let again = matches!(code, Code::LeaseLost | Code::Stale | Code::DroppedAfterRefusal);
            if again || (replica.is_lapsed() && code.is_about_place()) {
                let mut outcome = replica.acknowledge(reject.number.saturating_sub(1));
                outcome.join(replica.fall_back()?);
                return Ok(outcome);
            }
            replica.refuse(reject.number, code, &reject.message)
        });
        if let Some(address) = self.handles.get(&reject.handle).cloned() {
            self.lease_gone(&address);
        }
    }

    fn restored(&mut self, now: Timestamp, handle: u32, refused: Option<u16>) {
        let Some(address) = self.handles.get(&handle).cloned() else {
            return;
        };
        let Some(document) = self.documents.get_mut(&address) else {
            return;
        };
        if matches!(document.sync, Sync::Restoring { .. }) {
            document.sync = Sync::Live { handle };
        }
        if let Some(code) = refused {
            let code = Code::from_number(code).unwrap_or(Code::BadChange);
            let message =
                "the server lacks changes that this device had, and does not take them back";
            self.problem(Some(address.clone()), code, message.to_owned());
            if !self.step(&address, Replica::drop_missing) {
                return;
            }
            self.store_base(&address);
        }
        self.read_anew(&address);
        self.advance(now, &address);
    }

    fn error(&mut self, now: Timestamp, error: Error) {
        let code = Code::from_number(error.code).unwrap_or(Code::OutOfProtocol);
        let address = error.address.as_deref().and_then(|address| address.parse().ok());
        if let Some(wait) = error.retry_after_ms {
            self.link.hold_off(Duration::from_millis(wait.into()));
        }
        if let Some(address) = &address
            && code == Code::RolledOver
        {
            self.sent_away(address);
            return self.ask_again(now, address);
        }
        if let Some(address) = &address {
            if matches!(code, Code::Forbidden | Code::SpaceDeleted) {
                self.allowed(address, Capabilities::NONE.bits());
            }
            if code == Code::SpaceDeleted {
                self.lose(address, &error.message);
            }
            if matches!(code, Code::Forbidden | Code::SpaceDeleted | Code::DocumentUnavailable) {
                self.sent_away(address);
            }
            self.try_again_later(now, address);
        }
        if matches!(code, Code::OutboxReused | Code::Replaced) {
            return self.become_another(now);
        }
        self.notify(Notice::Problem { address, code, message: error.message.clone() });
        if error.fatal {
            self.hang_up(now);
            self.give_up(code, error.message);
        }
    }

    /// The document is gone for everybody: lets go of what is here of it, and hands back what was not sent.
    fn lose(&mut self, address: &Address, message: &str) {
        let code = Code::SpaceDeleted;
        if self.step(address, |replica| Ok(replica.lose(code, message)))
            && let Some(document) = self.documents.get_mut(address)
        {
            document.seal = None;
            self.writes.push(layout::delete_base(address));
            for seq in document.tails.drain(..) {
                self.writes.push(layout::delete_tail(address, seq));
            }
        }
    }

    /// Notes what the user may do in a document, as the server said last.
    fn allowed(&mut self, address: &Address, may: u16) {
        let may = Capabilities::from_bits(may);
        if let Some(document) = self.documents.get_mut(address)
            && document.may != Some(may)
        {
            document.may = Some(may);
            self.writes.push(layout::put_may(address, may));
        }
    }

    /// The server lets the client follow a document no more. What is here stays; what is pending
    /// waits for better times.
    fn sent_away(&mut self, address: &Address) {
        if let Some(document) = self.documents.get_mut(address) {
            let handle = document.sync.handle();
            document.disconnected();
            document.sync = Sync::Asked;
            if let Some(handle) = handle {
                self.handles.remove(&handle);
            }
        }
        self.touch(address);
    }

    /// The server can't open a document for now.
    fn try_again_later(&mut self, now: Timestamp, address: &Address) {
        if let Some(document) = self.documents.get_mut(address)
            && matches!(document.sync, Sync::Asked)
        {
            document.sync = Sync::Apart;
            self.retries.insert(address.clone(), now + self.config.backoff_max);
            self.touch(address);
            self.release(address);
        }
    }

    /// The two sides lost each other's step: a new connection finds it again.
    pub(super) fn out_of_step(&mut self, now: Timestamp, what: &str) {
        self.problem(None, Code::OutOfProtocol, what.to_owned());
        self.hang_up(now);
    }
}

pub(super) const fn lease_from(lease: WireLease) -> Lease {
    Lease { actor: ActorId(lease.actor), next_seq: lease.next_seq, after: lease.after }
}

pub(super) const fn cursor_from(cursor: WireCursor) -> Cursor {
    Cursor { epoch: Epoch(cursor.epoch), seq: cursor.seq, tip: Tip(cursor.tip) }
}
