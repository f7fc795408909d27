//! The `syncline` command: everything of it is in [`cli`].

mod cli;

fn main() {}
