//! A deterministic simulation of whole days: the real session and hub machines, a store that loses
//! what was not synced, and a network that delays, cuts and reorders connections. One seed is one
//! run, byte for byte.
//!
//! The parts: [`world`] moves events through virtual time, `client` and `server` carry out the
//! machines' effects, [`oracle`] knows what must be true. A failing run prints its seed.

pub mod choices;
mod client;
pub mod oracle;
mod server;
pub mod world;

pub use self::choices::Choices;
pub use self::world::{Faults, Report, run};
