//! Whether all that is stored is as it was written and holds together.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use syncline_engine::hub;
use syncline_engine::ids::Address;
use syncline_engine::storage::{LogStore, StoreError};

use super::{Listen, TaskError, each_document, tell};
use crate::store::{RenewError, SledStore};

/// Problems that are named; there may be more.
const PROBLEMS_MAX: usize = 1_000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Problem {
    /// The document that it concerns, if it is one's.
    pub address: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl Problem {
    pub(super) fn of(address: &Address, error: &StoreError) -> Self {
        let what = if let StoreError::Damaged { what, .. } = error {
            what.clone()
        } else {
            error.to_string()
        };
        Self { address: Some(address.to_string()), what }
    }
}

/// What was checked, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verification {
    /// Values whose checksums were checked.
    pub values: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Documents that were checked.
    pub documents: u64,
    /// Values that were damaged once and are kept aside.
    pub set_aside: u64,
    /// How many problems there are.
    pub problems_total: u64,
    /// The first thousand of them.
    pub problems: Vec<Problem>,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.problems_total == 0
    }

    fn note(&mut self, problem: Problem) {
        self.problems_total += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

pub(super) fn verify(
    store: &SledStore,
    listen: &mut Listen<'_>,
) -> Result<Verification, TaskError> {
    let mut found = Verification::default();
    match store.check_values(&mut |so_far| tell(listen, "checking values", so_far)) {
        Ok(checked) => {
            (found.values, found.bytes) = (checked.values, checked.bytes);
            found.set_aside = checked.set_aside;
            for address in &checked.damaged_in {
                let address = address.as_ref().map(ToString::to_string);
                found.note(Problem { address, what: "a value fails its checksum".to_owned() });
            }
            let named = checked.damaged_in.len() as u64;
            found.problems_total += checked.damaged.saturating_sub(named);
        }
        Err(RenewError::Damaged(what)) => found.note(Problem { address: None, what }),
        Err(error) => return Err(error.into()),
    }
    let documents = each_document(store, "verifying", listen, &mut |address, _| {
        match verified(store, address) {
            Ok(()) => {}
            Err(StoreError::Failed(why)) => return Err(StoreError::Failed(why).into()),
            Err(error) => found.note(Problem::of(address, &error)),
        }
        Ok(())
    })?;
    found.documents = documents;
    Ok(found)
}

/// Verifies one document. A panic of automerge on what is stored is damage too.
fn verified(store: &SledStore, address: &Address) -> Result<(), StoreError> {
    let verified = catch_unwind(AssertUnwindSafe(|| {
        hub::verify(store as &dyn LogStore, address, store.digest_key())
    }));
    let panicked = || {
        let what = "working with it panicked".to_owned();
        Err(StoreError::Damaged { address: address.clone(), what })
    };
    verified.unwrap_or_else(|_| panicked()).map(|_| ())
}
