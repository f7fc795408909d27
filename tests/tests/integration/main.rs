//! Clients and servers as they are run: real sockets, real processes, real files. Each module takes
//! one promise and tries to break it.

mod apart;
mod crowd;
mod damage;
mod hostile;
mod large;
mod manners;
mod processes;
mod returning;
mod support;
