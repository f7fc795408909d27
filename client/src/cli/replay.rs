//! `syncline replay`: a recorded discussion played through several clients over a real server, and the
//! outcome compared with what the recording implies.

pub(crate) mod events;
pub(crate) mod names;
pub(crate) mod oracle;
pub(crate) mod schedule;
