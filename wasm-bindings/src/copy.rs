//! One copy of a document with its view, in terms of text and bytes. Must never know JavaScript: that
//! is `lib.rs`, so that this runs under `cargo test` as well.

use automerge::{
    ActorId as Actor, Automerge, Change, ChangeHash, LoadOptions, PatchLog, ReadDoc as _,
    TextEncoding,
};
use bytes::Bytes;
use syncline_engine::change::{ChangeSet, SetError};
use syncline_engine::codes::Code;
use syncline_engine::document::{
    Command, CommandError, CommentsView, LikesView, PostView, View, genesis,
};
use syncline_engine::ids::{Address, NameError};

/// JavaScript counts text in UTF-16 code units.
const ENCODING: TextEncoding = TextEncoding::Utf16CodeUnit;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A name or id is not acceptable.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The actor is not 16 bytes in hexadecimal.
    #[error("an actor is 32 hexadecimal digits")]
    Actor,
    /// A command in JSON does not parse.
    #[error("the command does not parse: {0}")]
    Json(#[from] serde_json::Error),
    /// The command is refused.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The command belongs to a document of another facet.
    #[error("this document is no {0}")]
    Facet(&'static str),
    /// The bytes are not a change set.
    #[error(transparent)]
    Set(#[from] SetError),
    /// automerge refuses the changes or the saved document.
    #[error("the changes do not fit this document: {0}")]
    Document(#[from] automerge::AutomergeError),
}

impl CopyError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Name(_) => Code::BadAddress,
            Self::Actor => Code::WrongActor,
            Self::Json(_) | Self::Facet(_) => Code::BadCommand,
            Self::Command(error) => error.code(),
            Self::Set(_) | Self::Document(_) => Code::BadChange,
        }
    }
}

/// A document, and how it is shown.
#[derive(Debug)]
pub struct Copy {
    doc: Automerge,
    view: View,
}

impl Copy {
    /// A new copy of the document at `address`: genesis and nothing else.
    ///
    /// # Errors
    /// [`CopyError::Name`] or [`CopyError::Actor`].
    pub fn open(address: &str, actor: &str) -> Result<Self, CopyError> {
        let address: Address = address.parse()?;
        Self::around(genesis::document(&address, ENCODING), &address, actor)
    }

    /// A copy of what [`Copy::save`] wrote.
    ///
    /// # Errors
    /// As [`Copy::open`], and [`CopyError::Document`] if the bytes are not a saved document.
    pub fn load(address: &str, actor: &str, saved: &[u8]) -> Result<Self, CopyError> {
        let address: Address = address.parse()?;
        let options = LoadOptions::new().text_encoding(ENCODING);
        Self::around(Automerge::load_with_options(saved, options)?, &address, actor)
    }

    fn around(mut doc: Automerge, address: &Address, actor: &str) -> Result<Self, CopyError> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(actor, &mut bytes).map_err(|_| CopyError::Actor)?;
        doc.set_actor(Actor::from(bytes));
        let view = View::read(address.facet(), &doc);
        Ok(Self { doc, view })
    }

    /// Carries a command out; the change set that others need to follow, empty if there was nothing
    /// to do.
    ///
    /// # Errors
    /// [`CopyError::Facet`] or [`CopyError::Command`]. What a command that is too long for one change
    /// had done before it failed stays.
    pub fn command(&mut self, command: Command) -> Result<Bytes, CopyError> {
        if command.facet() != self.view.facet() {
            return Err(CopyError::Facet(command.facet().as_str()));
        }
        command.check()?;
        let mut changes = Vec::new();
        for piece in command.split(&self.doc) {
            let mut tx = self
                .doc
                .transaction_log_patches(PatchLog::active())
                .map_err(automerge::AutomergeError::from)?;
            if let Err(error) = piece.apply(&mut tx) {
                tx.rollback();
                return Err(error.into());
            }
            let (hash, mut patches) = tx.commit();
            self.follow(&mut patches);
            let change = hash.and_then(|hash| self.doc.get_change_by_hash(&hash));
            changes.extend(change.map(|change| Bytes::copy_from_slice(change.raw_bytes())));
        }
        Ok(ChangeSet::from_changes(changes)?.encode())
    }

    /// Takes a change set in; how many things changed in the view.
    ///
    /// # Errors
    /// [`CopyError::Set`] if the bytes are not a change set; [`CopyError::Document`] if a change
    /// contradicts one that is here. Nothing was applied then.
    pub fn apply(&mut self, set: &[u8]) -> Result<usize, CopyError> {
        let set = ChangeSet::decode(set)?;
        let mut changes = Vec::with_capacity(set.iter().len());
        for (_, bytes) in set.iter() {
            let change =
                Change::try_from(bytes.as_ref()).map_err(automerge::AutomergeError::from)?;
            changes.push(change);
        }
        let mut patches = PatchLog::active();
        self.doc.apply_changes_log_patches(changes, &mut patches)?;
        Ok(self.follow(&mut patches))
    }

    /// Everything that came after the given heads, as a change set. Heads that are not known here
    /// are passed over.
    ///
    /// # Errors
    /// [`CopyError::Set`] if it is more than one set may hold: save and load instead.
    pub fn changes_since(&self, heads: &[ChangeHash]) -> Result<Bytes, CopyError> {
        let known: Vec<ChangeHash> = heads
            .iter()
            .filter(|hash| self.doc.get_change_by_hash(hash).is_some())
            .copied()
            .collect();
        let changes = self.doc.get_changes(&known);
        let raw = changes.iter().map(|change| Bytes::copy_from_slice(change.raw_bytes()));
        Ok(ChangeSet::from_changes(raw)?.encode())
    }

    fn follow(&mut self, patches: &mut PatchLog) -> usize {
        let patches = self.doc.make_patches(patches);
        self.view.patch(&self.doc, &patches).len()
    }

    /// The whole document as bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        self.doc.save()
    }

    /// The hashes of the changes that nothing follows.
    #[must_use]
    pub fn heads(&self) -> Vec<ChangeHash> {
        self.doc.get_heads()
    }

    /// The likes.
    ///
    /// # Errors
    /// [`CopyError::Facet`] if this is something else.
    pub fn likes(&self) -> Result<&LikesView, CopyError> {
        match &self.view {
            View::Likes(view) => Ok(view),
            View::Post(_) | View::Comments(_) | View::Json(_) => Err(CopyError::Facet("likes")),
        }
    }

    /// The post.
    ///
    /// # Errors
    /// [`CopyError::Facet`] if this is something else.
    pub fn post(&self) -> Result<&PostView, CopyError> {
        match &self.view {
            View::Post(view) => Ok(view),
            View::Likes(_) | View::Comments(_) | View::Json(_) => Err(CopyError::Facet("post")),
        }
    }

    /// The comments.
    ///
    /// # Errors
    /// [`CopyError::Facet`] if this is something else.
    pub fn comments(&self) -> Result<&CommentsView, CopyError> {
        match &self.view {
            View::Comments(view) => Ok(view),
            View::Post(_) | View::Likes(_) | View::Json(_) => Err(CopyError::Facet("comments")),
        }
    }
}
