//! Changes as bytes: what automerge writes is read and means the same, what it would not write is
//! refused, and sets of changes have one spelling.

mod agreement;
mod attacks;
mod chunk;
mod editing;
mod mutations;
mod sets;
