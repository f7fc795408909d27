//! Changes as hostile clients make them: honest ones to be bent, empty ones, and bytes with their
//! checksum put right. Knows no connection.

use automerge::{Automerge, Change};
use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, JsonCommand, LikesCommand, PathSegment, Target,
};
use syncline_engine::ids::{self, ActorId, Address, ChangeHash, Facet};

use crate::choices::Choices;

/// What an honest client would write.
pub(crate) fn written(
    address: &Address,
    document: &Automerge,
    actor: ActorId,
    name: &str,
    now: Timestamp,
    choices: &mut Choices,
) -> Option<Change> {
    let user = ids::UserId::new(name).ok()?;
    let id = ids::Ulid::new(now, u128::from(choices.number()));
    let command: Command = match address.facet() {
        Facet::Likes => {
            let (target, reaction) = (Target::Comment(id), "like".to_owned());
            LikesCommand::Like { target, reaction, user, at: id }.into()
        }
        Facet::Comments => {
            let (parent, body) = (None, "hostile".to_owned());
            CommentsCommand::Add { id, author: user, parent, created: now, body }.into()
        }
        Facet::Json => {
            let path = vec![PathSegment::from("hostile")];
            JsonCommand::Put { path, value: id.to_string().into() }.into()
        }
        Facet::Post | Facet::Stream => return None,
    };
    let mut document = document.clone();
    document.set_actor(automerge::ActorId::from(&actor.0[..]));
    let mut tx = document.transaction();
    command.apply(&mut tx).ok()?;
    tx.commit();
    document.get_last_local_change()
}

/// A change without operations.
pub(crate) fn empty_change(
    actor: ActorId,
    seq: u64,
    start_op: u64,
    dep: ChangeHash,
) -> Option<Bytes> {
    let change = Change::from(automerge::ExpandedChange {
        operations: vec![],
        actor_id: automerge::ActorId::from(&actor.0[..]),
        author: None,
        hash: None,
        time: 0,
        deps: vec![automerge::ChangeHash(dep.0)],
        seq,
        start_op: std::num::NonZeroU64::new(start_op)?,
        extra_bytes: vec![],
        message: None,
    });
    Some(change.raw_bytes().to_vec().into())
}

/// Puts the right checksum on a chunk: the first four bytes of what follows it, hashed.
pub(crate) fn reseal(bytes: &mut [u8]) {
    use sha2::Digest as _;
    let sum = sha2::Sha256::digest(&bytes[8..]);
    bytes[4..8].copy_from_slice(&sum[..4]);
}
