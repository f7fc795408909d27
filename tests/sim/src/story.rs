//! What people read of a run. Knows nothing of the world but its time.

/// What people read of a run: one line for each thing that happened.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) on: bool,
    pub(crate) begin: u64,
    pub(crate) lines: Vec<String>,
}

impl Story {
    pub(crate) fn note(&mut self, now: u64, who: &str, what: &str) {
        if self.on {
            let at = now - self.begin;
            self.lines.push(format!("{:>6}.{:03} s  {who:<8} {what}", at / 1_000, at % 1_000));
        }
    }
}
