//! What changes do to what a document shows, as patches that leave nothing out.

use std::collections::BTreeSet;

use automerge::{
    Automerge, AutomergeError, Change, ObjId, Patch, PatchAction, PatchLog, Prop, ROOT, ReadDoc,
};

use super::place::map_put;
use crate::change::{Action, Key, OpId, operations};

/// Applies changes in one call; answers what that did to what is shown.
///
/// automerge 0.12 says nothing of a key whose shown value is removed if the same call also puts a value
/// there that stands below two others. Such a key is added as a conflict, which says that it has to be
/// read again. One change alone can't do that: what it puts stands above all that it removes.
///
/// # Errors
/// What automerge refused.
pub(crate) fn take_in(
    doc: &mut Automerge,
    changes: Vec<Change>,
) -> Result<Vec<Patch>, AutomergeError> {
    let removals = if changes.len() > 1 { removals(&changes) } else { BTreeSet::new() };
    let mut log = PatchLog::active();
    doc.apply_changes_log_patches(changes, &mut log)?;
    let mut patches = doc.make_patches(&mut log);
    if removals.is_empty() {
        return Ok(patches);
    }
    let said: BTreeSet<(ObjId, String)> = patches
        .iter()
        .filter_map(|patch| Some((patch.obj.clone(), map_put(patch).key()?.to_owned())))
        .collect();
    for (obj, key) in removals {
        let obj = match obj {
            Some(name) => doc.import_obj(&name),
            None => Ok(ROOT),
        };
        let Ok(obj) = obj else { continue };
        if !matches!(doc.get(&obj, key.as_str()), Ok(Some(_))) {
            continue;
        }
        let path = doc.parents(&obj)?.path();
        let place = (obj, key);
        if !said.contains(&place) {
            let (obj, key) = place;
            let action = PatchAction::Conflict { prop: Prop::Map(key) };
            patches.push(Patch { obj, path, action });
        }
    }
    Ok(patches)
}

/// The keys of maps from which changes remove something, each with the name of its map (`None`: the
/// root).
fn removals(changes: &[Change]) -> BTreeSet<(Option<String>, String)> {
    let mut found = BTreeSet::new();
    for change in changes {
        // What a log holds has passed this reader.
        let Ok((header, ops)) = operations(change.raw_bytes()) else { continue };
        for op in ops.iter() {
            // To add to what does not count removes it.
            let removes = matches!(op.action, Action::Delete | Action::Increment(_));
            let (Key::Map(key), true) = (op.key, removes) else { continue };
            let name = |id: OpId| {
                let actor = header.actor_at(id.actor)?;
                Some(format!("{}@{}", id.counter, hex::encode(actor.0)))
            };
            found.insert((op.obj.and_then(name), key.to_owned()));
        }
    }
    found
}
