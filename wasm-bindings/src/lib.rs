//! The engine for JavaScript: the class `Engine`, which is the session machine of a client. Only
//! translates between JavaScript's values and [`session::Driven`]; decides nothing. The contract is
//! written down in `ts/host/engine.ts`.
//!
//! Errors are JavaScript `Error`s whose message begins with the stable code's name, as in
//! `bad_command: …`. Positions count UTF-16 code units, as JavaScript does. Nothing that is handed in
//! makes it panic; what does is a defect, and leaves an instance that is dead.

use std::time::Duration;

use js_sys::Array;
use serde_json::Value;
use syncline_engine::codes::Code;
use syncline_engine::ids::Address;
use syncline_engine::session::{ConnectionId, Input, SpaceAct, StoreToken};
use syncline_engine::wire::CloseCode;
use wasm_bindgen::prelude::*;

mod documents;
pub mod fault;
mod feeds;
pub mod notices;
mod presence;
pub mod session;
pub mod streams;
pub mod time;
mod values;

use fault::Fault;
use session::Driven;
use time::{number_of, whole};
use values::{error, json};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn complain(message: &str);
}

/// The session machine of a client. Every method that takes `now` (milliseconds since 1970) may leave
/// effects: take them with `effects` and carry all of them out, in order, before anything else is
/// handed in.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Engine(Driven);

fn id_of(id: &str) -> Result<syncline_engine::ids::Ulid, JsError> {
    id.parse().map_err(|wrong| error(Fault::from(wrong)))
}

fn address_of(address: &str) -> Result<Address, JsError> {
    address.parse().map_err(|wrong| error(Fault::from(wrong)))
}

fn shown(value: Result<Option<Value>, Fault>) -> Result<Option<String>, JsError> {
    Ok(value.map_err(error)?.as_ref().map(json))
}

#[wasm_bindgen]
impl Engine {
    /// Begins a session of who `config` says, JSON `{user, token?, agent}`, from everything that is
    /// stored under `metaPrefix()`.
    ///
    /// # Errors
    /// `bad_command`, `unauthenticated` or `local_store`.
    pub fn start(
        config: &str,
        #[wasm_bindgen(unchecked_param_type = "Uint8Array[]")] keys: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "Uint8Array[]")] values: &JsValue,
    ) -> Result<Self, JsError> {
        std::panic::set_hook(Box::new(|panic| complain(&panic.to_string())));
        let stored = values::entries(keys, values).map_err(error)?;
        let mut random = [0; 64];
        getrandom::fill(&mut random)
            .map_err(|_| error(Fault::new(Code::Overloaded, "no random numbers are to be had")))?;
        Driven::start(config, &stored, &random).map(Self).map_err(error)
    }

    /// Under which prefix of the store a session keeps what it is.
    #[wasm_bindgen(js_name = metaPrefix)]
    #[must_use]
    pub fn meta_prefix() -> Vec<u8> {
        Driven::meta_prefix().to_vec()
    }

    /// The app wants to be connected (or not).
    #[wasm_bindgen(js_name = setOnline)]
    pub fn set_online(&mut self, now: f64, online: bool) {
        self.0.input(now, Input::SetOnline(online));
    }

    /// The platform says whether there is a network.
    #[wasm_bindgen(js_name = setNetwork)]
    pub fn set_network(&mut self, now: f64, network: bool) {
        self.0.input(now, Input::SetNetwork(network));
    }

    /// Whether somebody can see the app.
    #[wasm_bindgen(js_name = setVisible)]
    pub fn set_visible(&mut self, now: f64, visible: bool) {
        self.0.input(now, Input::SetVisible(visible));
    }

    /// The user did something in the app.
    pub fn active(&mut self, now: f64) {
        self.0.input(now, Input::Active);
    }

    /// Tries to connect now instead of at the next attempt.
    pub fn reconnect(&mut self, now: f64) {
        self.0.input(now, Input::Reconnect);
    }

    /// The app has a new token.
    #[wasm_bindgen(js_name = setToken)]
    pub fn set_token(&mut self, now: f64, token: String) {
        self.0.input(now, Input::SetToken(token));
    }

    /// The app ends: says goodbye, then leaves the effect `stop`.
    pub fn shutdown(&mut self, now: f64) {
        self.0.input(now, Input::Shutdown);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: f64) {
        self.0.input(now, Input::Tick);
    }

    /// When `tick` wants to be called, if nothing else happens before.
    #[must_use]
    pub fn timeout(&self) -> Option<f64> {
        self.0.timeout().map(values::float)
    }

    /// What is to be carried out, in order.
    pub fn effects(&mut self) -> Array {
        std::iter::from_fn(|| self.0.effect()).map(values::effect).collect()
    }

    /// The socket is open that `connect` asked for.
    pub fn connected(&mut self, now: f64, connection: f64) {
        let connection = ConnectionId(number_of(connection));
        self.0.input(now, Input::Connected { connection });
    }

    /// A binary message arrived.
    pub fn received(&mut self, now: f64, connection: f64, message: Vec<u8>) {
        let connection = ConnectionId(number_of(connection));
        self.0.input(now, Input::Received { connection, message: message.into() });
    }

    /// The connection is gone, or could not be made.
    pub fn disconnected(&mut self, now: f64, connection: f64, code: Option<f64>, reason: String) {
        let connection = ConnectionId(number_of(connection));
        let code = code.and_then(|code| u16::try_from(number_of(code)).ok()).map(CloseCode);
        self.0.input(now, Input::Disconnected { connection, code, reason });
    }

    /// Answers `write`: it is durable, or why it is not.
    pub fn written(&mut self, now: f64, token: f64, error: Option<String>) {
        let (token, result) = (StoreToken(number_of(token)), error.map_or(Ok(()), Err));
        self.0.input(now, Input::Written { token, result });
    }

    /// Answers `read`: what there is, or why that can't be said.
    ///
    /// # Errors
    /// `local_store` if they are no keys and values.
    pub fn read(
        &mut self,
        now: f64,
        token: f64,
        #[wasm_bindgen(unchecked_param_type = "Uint8Array[]")] keys: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "Uint8Array[]")] values: &JsValue,
        error: Option<String>,
    ) -> Result<(), JsError> {
        let token = StoreToken(number_of(token));
        let result = match error {
            Some(error) => Err(error),
            None => Ok(values::entries(keys, values).map_err(values::error)?),
        };
        self.0.input(now, Input::Read { token, result });
        Ok(())
    }
}

#[wasm_bindgen]
impl Engine {
    /// Opens a document, `space/id/facet`; `write` asks for leave to write along with it.
    ///
    /// # Errors
    /// `bad_address`.
    pub fn open(&mut self, now: f64, address: &str, write: bool) -> Result<(), JsError> {
        let address = address_of(address)?;
        self.0.input(now, Input::Open { address, write });
        Ok(())
    }

    /// Closes a document. What is pending in it is still sent.
    ///
    /// # Errors
    /// `bad_address`.
    pub fn close(&mut self, now: f64, address: &str) -> Result<(), JsError> {
        let address = address_of(address)?;
        self.0.input(now, Input::Close { address });
        Ok(())
    }

    /// Carries a command out, JSON of which who, when and new ids may be left out; answers its id. One of
    /// an id that is known already is not carried out again.
    ///
    /// # Errors
    /// The code says why nothing was done.
    pub fn execute(
        &mut self,
        now: f64,
        address: &str,
        command: &str,
        id: Option<String>,
    ) -> Result<String, JsError> {
        let id = self.0.execute(now, address, command, id.as_deref()).map_err(error)?;
        Ok(id.to_string())
    }

    /// Carries out one text edit of many; answers the id of the command that it is part of.
    ///
    /// # Errors
    /// The code says why nothing was done.
    #[wasm_bindgen(js_name = executeTyped)]
    pub fn execute_typed(
        &mut self,
        now: f64,
        address: &str,
        command: &str,
        id: Option<String>,
    ) -> Result<String, JsError> {
        let id = self.0.execute_typed(now, address, command, id.as_deref()).map_err(error)?;
        Ok(id.to_string())
    }

    /// Carries out what was gathered of typing.
    ///
    /// # Errors
    /// `bad_address`.
    pub fn flush(&mut self, now: f64, address: &str) -> Result<(), JsError> {
        self.0.flush(now, &address_of(address)?);
        Ok(())
    }

    /// Undoes the last command of a document as a new one; answers its id.
    ///
    /// # Errors
    /// The code says why nothing was done.
    pub fn undo(&mut self, now: f64, address: &str, id: Option<String>) -> Result<String, JsError> {
        let id = self.0.take_back(now, address, id.as_deref(), true).map_err(error)?;
        Ok(id.to_string())
    }

    /// Does again what was undone last; answers the new command's id.
    ///
    /// # Errors
    /// The code says why nothing was done.
    pub fn redo(&mut self, now: f64, address: &str, id: Option<String>) -> Result<String, JsError> {
        let id = self.0.take_back(now, address, id.as_deref(), false).map_err(error)?;
        Ok(id.to_string())
    }

    /// `[undo, redo]`.
    ///
    /// # Errors
    /// `bad_address`.
    pub fn undoable(&self, address: &str) -> Result<Vec<u32>, JsError> {
        Ok(self.0.undoable(address).map_err(error)?.to_vec())
    }

    /// A new id, larger than any drawn before.
    #[wasm_bindgen(js_name = newId)]
    pub fn new_id(&mut self, now: f64) -> String {
        self.0.new_id(now).to_string()
    }

    /// The app has heard how a command ended.
    ///
    /// # Errors
    /// `bad_command` if it is no id.
    pub fn taken(&mut self, now: f64, id: &str) -> Result<(), JsError> {
        let id = id_of(id)?;
        self.0.input(now, Input::Taken { id });
        Ok(())
    }

    /// The app has no more use for a command that was rolled back.
    ///
    /// # Errors
    /// `bad_command` if it is no id.
    pub fn dismissed(&mut self, now: f64, id: &str) -> Result<(), JsError> {
        let id = id_of(id)?;
        self.0.input(now, Input::Dismissed { id });
        Ok(())
    }

    /// JSON: the endings that were not taken.
    #[must_use]
    pub fn endings(&self) -> String {
        json(&self.0.endings())
    }

    /// JSON: what was rolled back and not dismissed.
    #[must_use]
    pub fn refused(&self) -> String {
        json(&self.0.refused())
    }
}

#[wasm_bindgen]
impl Engine {
    /// JSON of what a document shows; `undefined` if it is not read.
    ///
    /// # Errors
    /// `bad_address`.
    pub fn view(&self, address: &str) -> Result<Option<String>, JsError> {
        shown(self.0.view(address))
    }

    /// JSON `[id, depth][]`, the order of comments.
    ///
    /// # Errors
    /// `bad_address` or `bad_command`.
    pub fn thread(&self, address: &str) -> Result<Option<String>, JsError> {
        shown(self.0.thread(address))
    }

    /// JSON of one comment, but for where it lies in the thread.
    ///
    /// # Errors
    /// `bad_address` or `bad_command`.
    pub fn comment(&self, address: &str, id: &str) -> Result<Option<String>, JsError> {
        shown(self.0.comment(address, id))
    }

    /// JSON `{id, command}[]`: the commands without an end.
    ///
    /// # Errors
    /// `bad_address`.
    pub fn pending(&self, address: &str) -> Result<String, JsError> {
        Ok(json(&self.0.pending(address).map_err(error)?))
    }

    /// One text of a document: `title`, `body`, or a JSON path such as `["notes"]`.
    ///
    /// # Errors
    /// `bad_address` or `bad_command`.
    pub fn text(&self, address: &str, place: &str) -> Result<Option<String>, JsError> {
        self.0.text(address, place).map_err(error)
    }

    /// What others may call the place at an index of a text.
    ///
    /// # Errors
    /// `bad_address` or `bad_command`.
    pub fn caret(&self, address: &str, place: &str, index: f64) -> Result<Option<String>, JsError> {
        self.0.caret(address, place, whole(index)).map_err(error)
    }

    /// Where a place is that somebody named.
    ///
    /// # Errors
    /// `bad_address` or `bad_command`.
    #[wasm_bindgen(js_name = caretIndex)]
    pub fn caret_index(
        &self,
        address: &str,
        place: &str,
        caret: &str,
    ) -> Result<Option<usize>, JsError> {
        self.0.caret_index(address, place, caret).map_err(error)
    }

    /// JSON: the changes of a document, oldest first.
    ///
    /// # Errors
    /// `bad_address`.
    pub fn history(&self, address: &str) -> Result<String, JsError> {
        Ok(json(&self.0.history(address).map_err(error)?))
    }

    /// The hashes of the newest changes in hexadecimal, sorted.
    ///
    /// # Errors
    /// `bad_address`.
    pub fn heads(&self, address: &str) -> Result<Vec<String>, JsError> {
        self.0.heads(address).map_err(error)
    }

    /// JSON: where others are in a text, as far as they can be placed.
    ///
    /// # Errors
    /// `bad_address` or `bad_command`.
    pub fn selections(&self, address: &str, place: &str) -> Result<String, JsError> {
        Ok(json(&self.0.selections(address, place).map_err(error)?))
    }

    /// JSON of what the session holds and has done.
    #[must_use]
    pub fn stats(&self) -> String {
        json(&self.0.stats())
    }
}

#[wasm_bindgen]
impl Engine {
    /// Enters a space, or tries again.
    ///
    /// # Errors
    /// `bad_address`.
    pub fn enter(&mut self, now: f64, space: &str, visible: bool) -> Result<(), JsError> {
        self.0.act(now, space, SpaceAct::Enter { visible }).map_err(error)
    }

    /// Leaves a space.
    ///
    /// # Errors
    /// `bad_address`.
    pub fn leave(&mut self, now: f64, space: &str) -> Result<(), JsError> {
        self.0.act(now, space, SpaceAct::Leave).map_err(error)
    }

    /// Announces something in a space under a key, or takes it back.
    ///
    /// # Errors
    /// `bad_address` or `bad_presence`.
    pub fn announce(
        &mut self,
        now: f64,
        space: &str,
        key: String,
        value: Option<String>,
        ttl_ms: Option<f64>,
    ) -> Result<(), JsError> {
        let ttl = ttl_ms.map(|millis| Duration::from_millis(whole(millis)));
        self.0.act(now, space, SpaceAct::Announce { key, value, ttl }).map_err(error)
    }

    /// Sends a user out of a space and keeps the user out for a while.
    ///
    /// # Errors
    /// `bad_address` if one of the names is none.
    pub fn kick(&mut self, now: f64, space: &str, user: &str, for_ms: f64) -> Result<(), JsError> {
        self.0.kick(now, space, user, whole(for_ms)).map_err(error)
    }

    /// JSON of who is in a space; `undefined` if the app is not.
    #[must_use]
    pub fn space(&self, name: &str) -> Option<String> {
        self.0.space(name).as_ref().map(json)
    }

    /// JSON: the users who type in a document.
    ///
    /// # Errors
    /// `bad_address`.
    pub fn typing(&self, address: &str) -> Result<String, JsError> {
        Ok(json(&self.0.typing(address).map_err(error)?))
    }

    /// Follows the newest posts of a space.
    ///
    /// # Errors
    /// `bad_address`.
    #[wasm_bindgen(js_name = followFeed)]
    pub fn follow_feed(&mut self, now: f64, space: &str, newest: f64) -> Result<(), JsError> {
        self.0.follow_feed(now, space, whole(newest)).map_err(error)
    }

    /// Follows them no more.
    #[wasm_bindgen(js_name = leaveFeed)]
    pub fn leave_feed(&mut self, now: f64, space: String) {
        self.0.input(now, Input::LeaveFeed { space });
    }

    /// JSON of a feed; `undefined` if it is not followed.
    #[must_use]
    pub fn feed(&self, space: &str) -> Option<String> {
        self.0.feed(space).as_ref().map(json)
    }
}

#[wasm_bindgen]
impl Engine {
    /// Begins to read a stream from an offset on; answers the reader's number.
    ///
    /// # Errors
    /// `bad_address`.
    #[wasm_bindgen(js_name = readStream)]
    pub fn read_stream(&mut self, now: f64, address: &str, from: f64) -> Result<f64, JsError> {
        self.0.read_stream(now, address, whole(from)).map(values::float).map_err(error)
    }

    /// JSON of the text that has come for a reader since.
    #[wasm_bindgen(js_name = takeText)]
    pub fn take_text(&mut self, now: f64, reader: f64) -> Option<String> {
        self.0.take_text(now, number_of(reader)).as_ref().map(json)
    }

    /// JSON of how a stream stands for a reader.
    #[wasm_bindgen(js_name = streamReader)]
    #[must_use]
    pub fn stream_reader(&self, reader: f64) -> Option<String> {
        self.0.stream_reader(number_of(reader)).as_ref().map(json)
    }

    /// Ends a reader.
    #[wasm_bindgen(js_name = leaveReading)]
    pub fn leave_reading(&mut self, now: f64, reader: f64) {
        self.0.leave_reading(now, number_of(reader));
    }

    /// Begins to write a stream, which is made if `create` says so and nobody has.
    ///
    /// # Errors
    /// `bad_address`, or `bad_command` if it is written here already.
    #[wasm_bindgen(js_name = writeStream)]
    pub fn write_stream(
        &mut self,
        now: f64,
        address: &str,
        create: bool,
        asked_by: Option<String>,
    ) -> Result<(), JsError> {
        self.0.write_stream(now, address, create, asked_by.as_deref()).map_err(error)
    }

    /// Appends text; answers how many bytes (UTF-8) of it were taken.
    ///
    /// # Errors
    /// The code says why nothing more can be written.
    #[wasm_bindgen(js_name = appendStream)]
    pub fn append_stream(&mut self, now: f64, address: &str, text: &str) -> Result<usize, JsError> {
        self.0.append_stream(now, address, text).map_err(error)
    }

    /// Ends a stream, with an outcome as JSON.
    ///
    /// # Errors
    /// `bad_command` if the outcome does not read, or why the stream can't be ended.
    #[wasm_bindgen(js_name = endStream)]
    pub fn end_stream(&mut self, now: f64, address: &str, outcome: &str) -> Result<(), JsError> {
        self.0.end_stream(now, address, outcome).map_err(error)
    }

    /// JSON of how a stream stands that is written here.
    ///
    /// # Errors
    /// `bad_address`.
    #[wasm_bindgen(js_name = streamWriter)]
    pub fn stream_writer(&self, address: &str) -> Result<Option<String>, JsError> {
        shown(self.0.stream_writer(address))
    }

    /// Writes a stream no more.
    ///
    /// # Errors
    /// `bad_address`.
    #[wasm_bindgen(js_name = leaveWriting)]
    pub fn leave_writing(&mut self, address: &str) -> Result<(), JsError> {
        self.0.leave_writing(address).map_err(error)
    }

    /// Asks that whoever writes a stream stop; answers the question's number.
    ///
    /// # Errors
    /// `bad_address`.
    #[wasm_bindgen(js_name = interruptStream)]
    pub fn interrupt_stream(&mut self, now: f64, address: &str) -> Result<f64, JsError> {
        self.0.interrupt_stream(now, address).map(values::float).map_err(error)
    }

    /// JSON of the answer to that, once there is one.
    #[wasm_bindgen(js_name = interruptAnswer)]
    #[must_use]
    pub fn interrupt_answer(&self, interrupt: f64) -> Option<String> {
        self.0.interrupt_answer(number_of(interrupt)).as_ref().map(json)
    }

    /// Waits for that answer no more.
    #[wasm_bindgen(js_name = leaveInterrupt)]
    pub fn leave_interrupt(&mut self, interrupt: f64) {
        self.0.leave_interrupt(number_of(interrupt));
    }

    /// The id of the comment that a stream's result is committed as.
    ///
    /// # Errors
    /// `bad_address`.
    #[wasm_bindgen(js_name = streamComment)]
    pub fn stream_comment(&self, address: &str, created_ms: f64) -> Result<String, JsError> {
        streams::stream_comment(address, whole(created_ms)).map_err(error)
    }
}
