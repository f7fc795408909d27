//! Where a user is in a text, in names that others understand: of what is accepted, never of what waits
//! to be. Knows nothing of presence.

use super::Replica;
use crate::document::{TextPlace, caret, caret_index};

impl Replica {
    /// What others may call the place at an index of a text, counted as the replica's text encoding
    /// does: by the last character before it that the server has accepted, so that it stays there
    /// while others write. `None` if there is no such text.
    #[must_use]
    pub fn caret(&self, place: &TextPlace, index: usize) -> Option<String> {
        let open: Vec<(String, u64, u64)> = self
            .pending
            .iter()
            .filter(|pending| !pending.announced)
            .map(|pending| {
                let change = &pending.change;
                let actor = change.actor_id().to_hex_string();
                (actor, change.start_op().get(), change.max_op())
            })
            .collect();
        caret(&self.doc, place, index, |counter, actor| {
            !open
                .iter()
                .any(|(writer, first, last)| (*first..=*last).contains(&counter) && writer == actor)
        })
    }

    /// Where a place that somebody named is in a text. If its character was deleted, it is where that
    /// was. `None` if this replica does not have the character, or not yet. Takes time in proportion
    /// to the text.
    #[must_use]
    pub fn caret_index(&self, place: &TextPlace, caret: &str) -> Option<usize> {
        caret_index(&self.doc, place, caret)
    }
}
