//! What the integration tests, the simulation and the benchmarks of Syncline share.

pub mod measure;
pub mod sim;
