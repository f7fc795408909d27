//! What several replicas do to one document: genesis apart, merges in any order, views kept by
//! patches against views read anew.

use automerge::{ActorId as Actor, Automerge, Change, Patch, PatchLog, TextEncoding};

use super::*;
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{ActorId, Address, Facet, Ulid, UserId};

mod epochs;
mod golden;
mod random;
mod together;

const POINTS: TextEncoding = TextEncoding::UnicodeCodePoint;
const UTF16: TextEncoding = TextEncoding::Utf16CodeUnit;

/// One copy of a document, with a view that only ever follows patches.
#[derive(Clone)]
struct Copy {
    doc: Automerge,
    view: View,
    facet: Facet,
}

impl Copy {
    fn new(facet: Facet, slot: u32, encoding: TextEncoding) -> Self {
        let address = Address::new("town", "square", facet).unwrap();
        let mut doc = genesis::document(&address, encoding);
        doc.set_actor(Actor::from(ActorId::leased(1, slot).0));
        let view = View::read(facet, &doc);
        Self { doc, view, facet }
    }

    /// Carries a command out, piece by piece; answers what a reader is told.
    fn run(&mut self, command: &Command) -> Result<Vec<Event>, CommandError> {
        let mut events = Vec::new();
        for piece in command.clone().split(&self.doc) {
            let mut tx = self.doc.transaction_log_patches(PatchLog::active()).unwrap();
            match piece.apply(&mut tx) {
                Ok(()) => {
                    let (_, mut log) = tx.commit();
                    events.extend(self.follow(&mut log));
                }
                Err(error) => {
                    tx.rollback();
                    return Err(error);
                }
            }
        }
        Ok(events)
    }

    /// Takes in what another copy has and this one does not, in one call.
    fn pull(&mut self, other: &Self) -> Vec<Event> {
        let changes = self.doc.get_changes_added(&other.doc);
        let patches = take_in(&mut self.doc, changes).unwrap();
        self.show(&patches)
    }

    fn follow(&mut self, log: &mut PatchLog) -> Vec<Event> {
        let patches = self.doc.make_patches(log);
        self.show(&patches)
    }

    fn show(&mut self, patches: &[Patch]) -> Vec<Event> {
        let before = self.view.clone();
        let events = self.view.patch(&self.doc, patches);
        let fresh = View::read(self.facet, &self.doc);
        assert_eq!(self.view, fresh, "after {patches:#?}");
        if events.is_empty() {
            assert_eq!(telling(&before), telling(&fresh), "nobody was told of {patches:#?}");
        }
        events
    }

    fn likes(&self) -> &LikesView {
        let View::Likes(view) = &self.view else { unreachable!("{:?}", self.view) };
        view
    }

    fn comments(&self) -> &CommentsView {
        let View::Comments(view) = &self.view else { unreachable!("{:?}", self.view) };
        view
    }

    fn post(&self) -> &PostView {
        let View::Post(view) = &self.view else { unreachable!("{:?}", self.view) };
        view
    }

    fn json(&self) -> &JsonView {
        let View::Json(view) = &self.view else { unreachable!("{:?}", self.view) };
        view
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn id(n: u64) -> Ulid {
    Ulid::new(Timestamp(n), u128::from(n))
}

/// What a reader has to be told of: everything but which of several ids a like has, and what was
/// written into a comment that is deleted.
fn telling(view: &View) -> String {
    match view {
        View::Likes(likes) => {
            let all: Vec<_> =
                likes.iter().map(|(target, how, who, _)| (target, how, who)).collect();
            format!("{all:?} {:?}", Counter::ALL.map(|counter| likes.counter(counter)))
        }
        View::Comments(comments) => format!("{:?}", comments.iter().collect::<Vec<_>>()),
        View::Post(_) | View::Json(_) => format!("{view:?}"),
    }
}
