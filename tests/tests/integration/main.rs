//! Clients and servers as they are run: real sockets, real processes, real files. Each module takes
//! one promise and tries to break it.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "what is not waited for is passed over, whatever it is"
)]

mod apart;
mod crowd;
mod damage;
mod deleting;
mod epochs;
mod feeds;
mod forgery;
mod hostile;
mod http;
mod large;
mod manners;
mod memory;
mod presence;
mod processes;
mod races;
mod returning;
mod rollback;
mod streams;
mod support;
mod tokens;
mod webhooks;
