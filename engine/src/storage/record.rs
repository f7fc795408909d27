//! The bytes of a stored record, and the digest that runs through a log.
