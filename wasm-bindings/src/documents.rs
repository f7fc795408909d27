//! What there is to see of documents: views, texts, places in them, history. Must never know JavaScript.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::{CommentsView, TextField, TextPlace, View, shown};
use syncline_engine::ids::{Address, Ulid};
use syncline_engine::replica::{Pending, Replica};
use syncline_engine::session::CommandId;

use crate::fault::Fault;
use crate::notices;
use crate::session::Driven;

/// Places in a text of others that are looked up at once: each takes time in proportion to the text.
const SELECTIONS_MAX: usize = 64;

impl Driven {
    /// What a document shows; `None` if it is not read.
    ///
    /// # Errors
    /// If the address is none.
    pub fn view(&self, address: &str) -> Result<Option<Value>, Fault> {
        let viewer = shown::Viewer::User(self.session.user());
        Ok(self.session.view(&address.parse()?).map(|view| shown::content(view, viewer)))
    }

    fn comments(&self, address: &str) -> Result<Option<&CommentsView>, Fault> {
        match self.session.view(&address.parse()?) {
            Some(View::Comments(comments)) => Ok(Some(comments)),
            None => Ok(None),
            Some(View::Post(_) | View::Likes(_) | View::Json(_)) => {
                Err(Fault::new(Code::BadCommand, "this document has no comments"))
            }
        }
    }

    /// The order of comments, `[id, depth]` each; `None` if the document is not read.
    ///
    /// # Errors
    /// If the address is none, or of no comments.
    pub fn thread(&self, address: &str) -> Result<Option<Value>, Fault> {
        let order = |comments: &CommentsView| {
            comments.thread().map(|(depth, id, _)| json!([id.to_string(), depth])).collect()
        };
        Ok(self.comments(address)?.map(order))
    }

    /// One comment, but for where it lies in the thread; `None` if there is none.
    ///
    /// # Errors
    /// If the address or the id is none.
    pub fn comment(&self, address: &str, id: &str) -> Result<Option<Value>, Fault> {
        let id: Ulid = id.parse()?;
        let comment = self.comments(address)?.and_then(|comments| comments.comment(id));
        Ok(comment.map(|comment| shown::comment(id, comment)))
    }

    /// The commands without an end, in their order.
    ///
    /// # Errors
    /// If the address is none.
    pub fn pending(&self, address: &str) -> Result<Value, Fault> {
        let address: Address = address.parse()?;
        let mut commands: Vec<(CommandId, _)> = Vec::new();
        for pending in self.open(&address) {
            match commands.last_mut() {
                // A long command is several changes.
                Some((id, command)) if *id == pending.id => {
                    let whole: &mut syncline_engine::document::Command = command;
                    if !whole.join(&pending.command, automerge::TextEncoding::Utf16CodeUnit) {
                        commands.push((pending.id, pending.command.clone()));
                    }
                }
                _ => commands.push((pending.id, pending.command.clone())),
            }
        }
        Ok(commands.iter().map(|(id, command)| notices::pending(*id, command)).collect())
    }

    fn open(&self, address: &Address) -> impl Iterator<Item = &Pending> {
        let replica = self.session.replica(address);
        replica.into_iter().flat_map(Replica::pending).filter(|pending| !pending.announced)
    }

    /// One text of a document; `None` if there is no such text.
    ///
    /// # Errors
    /// If the address or the place is none.
    pub fn text(&self, address: &str, place: &str) -> Result<Option<String>, Fault> {
        let place: TextPlace = place.parse()?;
        let text = match (self.session.view(&address.parse()?), place) {
            (Some(View::Post(post)), TextPlace::Post(TextField::Title)) => Some(post.title()),
            (Some(View::Post(post)), TextPlace::Post(TextField::Body)) => Some(post.body()),
            (Some(View::Json(json)), TextPlace::Json(path)) => json.text(&path),
            _ => None,
        };
        Ok(text.map(str::to_owned))
    }

    /// What others may call the place at an index of a text; `None` if there is no such text.
    ///
    /// # Errors
    /// If the address or the place is none.
    pub fn caret(&self, address: &str, place: &str, index: u64) -> Result<Option<String>, Fault> {
        let (replica, place) = (self.session.replica(&address.parse()?), place.parse()?);
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        Ok(replica.and_then(|replica| replica.caret(&place, index)))
    }

    /// Where a place is that somebody named; `None` if it is not to be found.
    ///
    /// # Errors
    /// If the address or the place is none.
    pub fn caret_index(
        &self,
        address: &str,
        place: &str,
        caret: &str,
    ) -> Result<Option<usize>, Fault> {
        let (replica, place) = (self.session.replica(&address.parse()?), place.parse()?);
        Ok(replica.and_then(|replica| replica.caret_index(&place, caret)))
    }

    /// Where others are in a text, as far as they can be placed.
    ///
    /// # Errors
    /// If the address or the place is none.
    pub fn selections(&self, address: &str, place: &str) -> Result<Value, Fault> {
        let (address, place): (Address, TextPlace) = (address.parse()?, place.parse()?);
        let Some(replica) = self.session.replica(&address) else { return Ok(json!([])) };
        let here = self.session.selections(&address).into_iter().filter(|(_, _, selection)| {
            selection.text.parse::<TextPlace>().is_ok_and(|there| there == place)
        });
        let placed = here.take(SELECTIONS_MAX).filter_map(|(device, user, selection)| {
            let anchor = replica.caret_index(&place, &selection.anchor)?;
            let head = match selection.head == selection.anchor {
                true => anchor,
                false => replica.caret_index(&place, &selection.head)?,
            };
            Some(json!({ "device": device, "user": user.as_str(), "anchor": anchor, "head": head }))
        });
        Ok(placed.collect())
    }

    /// The changes of a document, oldest first.
    ///
    /// # Errors
    /// If the address is none.
    pub fn history(&self, address: &str) -> Result<Value, Fault> {
        let address: Address = address.parse()?;
        let Some(replica) = self.session.replica(&address) else { return Ok(json!([])) };
        let open: BTreeSet<_> = self.open(&address).map(|p| p.change.hash().0).collect();
        let changes = replica.document().get_changes(&[]);
        let changes = changes.iter().map(|change| {
            json!({
                "hash": hex::encode(change.hash().0),
                "deps": change.deps().iter().map(|dep| hex::encode(dep.0)).collect::<Vec<_>>(),
                "actor": change.actor_id().to_hex_string(),
                "seq": change.seq(),
                "at": u64::try_from(change.timestamp()).map_or(Timestamp(0), Timestamp).0,
                "ops": change.len(),
                "pending": open.contains(&change.hash().0),
            })
        });
        Ok(changes.collect())
    }

    /// The hashes of the newest changes in hexadecimal, sorted.
    ///
    /// # Errors
    /// If the address is none.
    pub fn heads(&self, address: &str) -> Result<Vec<String>, Fault> {
        let replica = self.session.replica(&address.parse()?);
        let heads = replica.map(Replica::heads).unwrap_or_default();
        Ok(heads.iter().map(ToString::to_string).collect())
    }

    /// How commands ended of which the app was told nothing, or which it did not take.
    #[must_use]
    pub fn endings(&self) -> Value {
        self.session.endings().map(notices::ending).collect()
    }

    /// Those of them that were rolled back and not dismissed.
    #[must_use]
    pub fn refused(&self) -> Value {
        self.session.refused(None).map(notices::ending).collect()
    }

    /// How many commands can be undone, and how many done again.
    ///
    /// # Errors
    /// If the address is none.
    pub fn undoable(&self, address: &str) -> Result<[u32; 2], Fault> {
        let (undo, redo) = self.session.undoable(&address.parse()?);
        Ok([undo, redo].map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
    }

    /// What the session holds and has done.
    #[must_use]
    pub fn stats(&self) -> Value {
        let stats = self.session.stats();
        json!({
            "documents": stats.documents,
            "live": stats.live,
            "pending": stats.pending,
            "outbox_bytes": stats.outbox_bytes,
            "oldest_pending": stats.oldest_pending.map(|at| at.0),
            "bytes_sent": stats.bytes_sent,
            "bytes_received": stats.bytes_received,
            "next_attempt": stats.next_attempt.map(|at| self.told_at(at)),
            "refused": stats.refused,
        })
    }
}
