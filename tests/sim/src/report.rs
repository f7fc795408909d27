//! What a run did and what was wrong with it, and the sum over many runs. Decides nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that must never be, and was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which rule was broken: one word, to tell whether a shorter run breaks the same.
    pub rule: String,
    /// What was seen.
    pub what: String,
}

/// What one run did.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Which run.
    pub seed: u64,
    /// Steps that were taken.
    pub steps: u64,
    /// Everything that a machine was told.
    pub events: u64,
    /// Virtual milliseconds that passed.
    pub simulated_ms: u64,
    /// Commands that were applied.
    pub commands: u64,
    /// How many ended in which way.
    pub endings: BTreeMap<String, u64>,
    /// What people did in spaces, with streams and with feeds, by kind.
    pub acts: BTreeMap<String, u64>,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// What happened besides and is worth knowing to have happened, by kind.
    pub incidents: BTreeMap<String, u64>,
    /// A digest of every message and when it was sent.
    pub digest: u64,
    /// What was wrong; empty if nothing was.
    pub violations: Vec<Violation>,
}

impl Report {
    pub(crate) fn count_act(&mut self, kind: &str) {
        *self.acts.entry(kind.to_owned()).or_default() += 1;
    }

    pub(crate) fn count_fault(&mut self, kind: &str) {
        *self.faults.entry(kind.to_owned()).or_default() += 1;
    }

    pub(crate) fn count_incident(&mut self, kind: &str) {
        *self.incidents.entry(kind.to_owned()).or_default() += 1;
    }

    /// Mixes something that happened into the digest (FNV-1a).
    pub(crate) fn digest(&mut self, at: u64, bytes: &[u8]) {
        for byte in at.to_le_bytes().iter().chain(bytes) {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// What many runs did together.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// The first seed.
    pub from: u64,
    /// The seed after the last.
    pub to: u64,
    /// Runs.
    pub seeds: u64,
    /// Steps over all runs.
    pub steps: u64,
    /// The fewest events of one run.
    pub events_min: u64,
    /// Events over all runs.
    pub events: u64,
    /// Virtual hours.
    pub simulated_hours: u64,
    /// Commands that were applied.
    pub commands: u64,
    /// How many ended in which way.
    pub endings: BTreeMap<String, u64>,
    /// What people did in spaces, with streams and with feeds, by kind.
    pub acts: BTreeMap<String, u64>,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// What happened besides, by kind.
    pub incidents: BTreeMap<String, u64>,
    /// Runs with a violation, by seed.
    pub violations: BTreeMap<u64, Vec<Violation>>,
}

impl Totals {
    /// Sums reports up.
    #[must_use]
    pub fn of(from: u64, to: u64, reports: &[Report]) -> Self {
        let mut totals = Self { from, to, ..Self::default() };
        totals.events_min = reports.iter().map(|report| report.events).min().unwrap_or(0);
        let mut simulated_ms = 0;
        for report in reports {
            totals.seeds += 1;
            totals.steps += report.steps;
            totals.events += report.events;
            totals.commands += report.commands;
            simulated_ms += report.simulated_ms;
            for (sums, counts) in [
                (&mut totals.endings, &report.endings),
                (&mut totals.acts, &report.acts),
                (&mut totals.faults, &report.faults),
                (&mut totals.incidents, &report.incidents),
            ] {
                for (kind, count) in counts {
                    *sums.entry(kind.clone()).or_default() += count;
                }
            }
            if !report.violations.is_empty() {
                totals.violations.insert(report.seed, report.violations.clone());
            }
        }
        totals.simulated_hours = simulated_ms / 3_600_000;
        totals
    }
}
