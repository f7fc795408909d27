//! The command line of Syncline.

mod random;
mod replay;
mod statistics;
