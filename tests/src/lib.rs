//! What the integration tests and the benchmarks of Syncline share.

pub mod authority;
pub mod forge;
pub mod many;
pub mod measure;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod receiver;
pub mod web;
