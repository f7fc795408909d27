//! Change sets: one spelling for the same changes.
