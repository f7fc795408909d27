//! The gate against automerge and against a model of the policy: users who keep the rules, at the same
//! time and apart, and forgers who hand in changed changes. Nobody honest is refused for how his
//! change is written; whatever is accepted applies, saves, loads and merges, and does nothing that
//! its author may not do.

#[allow(
    clippy::duplicate_mod,
    reason = "each target is a crate; the test that replays them has all"
)]
#[path = "commands.rs"]
mod commands;
#[path = "forgeries.rs"]
mod forgeries;
#[path = "gatehouse.rs"]
mod gatehouse;
#[path = "trespass.rs"]
mod trespass;

/// One input: its bytes are the choices, in order; see [`commands::Choices`].
#[allow(dead_code, reason = "each target and test has its own of the two")]
pub(crate) fn run(data: &[u8]) {
    gatehouse::run(&mut commands::Choices(data), true);
}

/// Many forgeries on one document; see [`gatehouse::mutations`].
#[allow(dead_code, reason = "each target and test has its own of these")]
pub(crate) fn mutations(count: u64, fill: impl FnMut(&mut [u8])) -> gatehouse::Tally {
    gatehouse::mutations(count, fill)
}

/// The same without forgers, so that all of the input goes into who may do what, and when.
#[allow(dead_code, reason = "each target and test has its own of the two")]
pub(crate) fn policy(data: &[u8]) {
    gatehouse::run(&mut commands::Choices(data), false);
}
