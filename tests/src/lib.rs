//! What the integration tests, the simulation and the benchmarks of Syncline share.

pub mod many;
pub mod measure;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod sim;
