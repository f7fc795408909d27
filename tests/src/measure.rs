//! What the benchmarks share: times taken in turns, tables, and a server's hub in one process with
//! devices around it. Knows no sockets and no disks; what it measures is the machines themselves.
//!
//! Every figure stands beside a baseline that was measured in the same run, taking turns with it,
//! because the machines that run this are shared: a ratio survives that, a time alone does not.

mod heap;
mod world;

use std::fmt::Display;
use std::hint::black_box;
use std::time::{Duration, Instant};

pub use heap::Heap;
pub use world::{Device, World};

/// Whether this is a real run. `cargo bench` says so; `cargo test --benches` does not, and gets each
/// benchmark once, small, to see that it works.
#[must_use]
pub fn is_bench() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// `full` in a real run, `small` otherwise.
#[must_use]
pub fn size(full: usize, small: usize) -> usize {
    if is_bench() { full } else { small }
}

/// Times of the same work done in several ways, taken in turns.
#[derive(Debug)]
pub struct Lanes {
    times: Vec<Vec<Duration>>,
}

impl Lanes {
    /// As many empty lanes.
    #[must_use]
    pub fn new(lanes: usize) -> Self {
        Self { times: vec![Vec::new(); lanes] }
    }

    /// Times one turn of one lane.
    pub fn time<R>(&mut self, lane: usize, work: impl FnOnce() -> R) -> R {
        let begin = Instant::now();
        let result = black_box(work());
        self.times[lane].push(begin.elapsed());
        result
    }

    /// Takes a time that was measured elsewhere.
    pub fn push(&mut self, lane: usize, time: Duration) {
        self.times[lane].push(time);
    }

    /// A lane's mean, in microseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a few thousand times")]
    pub fn mean_us(&self, lane: usize) -> f64 {
        let all: Duration = self.times[lane].iter().sum();
        all.as_secs_f64() * 1e6 / self.times[lane].len().max(1) as f64
    }

    /// A lane's median, in microseconds.
    #[must_use]
    pub fn median_us(&self, lane: usize) -> f64 {
        median(&self.times[lane]).as_secs_f64() * 1e6
    }

    /// A quantile of a lane (0.99, say), in microseconds.
    #[must_use]
    pub fn quantile_us(&self, lane: usize, part: f64) -> f64 {
        quantile(&self.times[lane], part).as_secs_f64() * 1e6
    }

    /// How many times the median of `lane` is that of `of`.
    #[must_use]
    pub fn ratio(&self, lane: usize, of: usize) -> f64 {
        self.median_us(lane) / self.median_us(of)
    }
}

/// The middle one of some times; zero if there are none.
#[must_use]
pub fn median(times: &[Duration]) -> Duration {
    quantile(times, 0.5)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a short list"
)]
fn quantile(times: &[Duration], part: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len().saturating_sub(1) as f64 * part).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

/// Prints a heading and the head of a table.
pub fn table(title: &str, columns: &[&str]) {
    println!("\n## {title}\n\n| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()));
}

/// Prints a row of a table.
pub fn row(cells: &[&dyn Display]) {
    let cells: Vec<String> = cells.iter().map(ToString::to_string).collect();
    println!("| {} |", cells.join(" | "));
}

/// A time in microseconds with as many digits as it deserves.
#[must_use]
pub fn us(micros: f64) -> String {
    if micros < 10.0 { format!("{micros:.2} us") } else { format!("{micros:.0} us") }
}

/// A ratio.
#[must_use]
pub fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}

/// A number of bytes in units of 1,000.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn kb(bytes: usize) -> String {
    format!("{:.0} KB", bytes as f64 / 1e3)
}
