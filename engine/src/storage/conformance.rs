//! The suite that every [`LogStore`](super::LogStore) must pass.
