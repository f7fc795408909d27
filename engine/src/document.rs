//! x

/// x
#[derive(Debug, Clone, PartialEq)]
pub enum Command {}
/// x
#[derive(Debug, Clone, PartialEq)]
pub enum Event {}
