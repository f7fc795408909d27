//! A deterministic simulation of whole days: the real session and hub machines, a store that loses
//! what was not synced, and a network that delays, cuts and stalls. One run is one list of steps and
//! one seed for all delays; the same run ends the same, byte for byte.
//!
//! The parts: [`run`] draws what happens as [`step`]s; `world` moves events through virtual time;
//! `network`, `server` and `client` carry out the machines' effects; `people`, `rooms`, `streaming`,
//! `feeds`, `faults`, `disaster` and `hostile` carry out the steps; `oracle`, `texts` and `judge` know what must be true; [`minimise`] leaves out what a
//! violation does not need.

mod app;
pub mod choices;
mod client;
mod device;
mod disaster;
pub mod disk;
mod faults;
mod feeds;
mod forged;
mod hostile;
mod judge;
mod law;
pub mod minimise;
mod network;
mod oracle;
mod peace;
mod people;
pub mod report;
mod rooms;
pub mod run;
mod server;
pub mod social;
pub mod step;
mod story;
mod streaming;
mod texts;
mod tokens;
pub mod weather;
mod world;

pub use self::report::{Report, Totals, Violation};
pub use self::run::Run;
pub use self::world::{play, tell};
