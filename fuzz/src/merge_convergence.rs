//! Convergence, in two worlds: copies that exchange changes in any order (`copies`), and replicas that
//! talk to a server's log, with leases, lost answers, refusals and rebases (`rebases`). The first
//! byte chooses.

#[path = "commands.rs"]
mod commands;
#[path = "copies.rs"]
mod copies;
#[path = "rebases.rs"]
mod rebases;

/// One input: its bytes are the choices, in order; see [`commands::Choices`].
pub(crate) fn run(data: &[u8]) {
    let mut choices = commands::Choices(data);
    match choices.pick(2, "world") {
        0 => copies::run(&mut choices),
        _ => rebases::run(&mut choices),
    }
}
