//! How far a long command is, on standard error: a bar in a terminal, a line every few seconds
//! anywhere else. Must never write to standard output, which holds the result.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at};

/// How often a line is written where a bar can't be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What shows how far it is, until it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    lines: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows that nothing of `length` is done.
    pub(crate) fn new(length: u64, what: &'static str) -> Self {
        let style =
            ProgressStyle::with_template("{msg:9} [{bar:32}] {human_pos}/{human_len} {per_sec}")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> ");
        let bar = ProgressBar::new(length).with_style(style).with_message(what);
        let lines =
            (!std::io::stderr().is_terminal()).then(|| tokio::spawn(write_lines(bar.clone())));
        Self { bar, lines }
    }

    /// What counts; clones of it count the same.
    pub(crate) const fn bar(&self) -> &ProgressBar {
        &self.bar
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if let Some(lines) = &self.lines {
            lines.abort();
        }
    }
}

async fn write_lines(bar: ProgressBar) {
    let mut tick = interval_at(Instant::now() + LINE_EVERY, LINE_EVERY);
    loop {
        tick.tick().await;
        eprintln!("{}", line(&bar));
    }
}

fn line(bar: &ProgressBar) -> String {
    let (done, all) = (bar.position(), bar.length().unwrap_or(0));
    let percent = (done * 100).checked_div(all).unwrap_or(100);
    format!(
        "{} {} of {} ({percent} %), {} s",
        bar.message(),
        HumanCount(done),
        HumanCount(all),
        bar.elapsed().as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_done_of_how_much() {
        let bar = ProgressBar::hidden().with_message("playing");
        bar.set_length(143_927);
        bar.set_position(14_392);
        assert!(line(&bar).starts_with("playing 14,392 of 143,927 (9 %), "), "{}", line(&bar));
        bar.set_length(0);
        assert!(line(&bar).contains("(100 %)"));
    }
}
