//! The simulator as a command: plays seeds on a few threads, one seed on one thread, and says what
//! was wrong. What it prints on standard output depends on the seeds alone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use syncline_sim::minimise::minimise;
use syncline_sim::{Report, Run, Totals, Violation, play, tell};

const USAGE: &str = "\
Usage: syncline-sim [--seeds A..B] [--events N] [--threads N] [--json] [--until-caught] [--save DIR]
       syncline-sim --replay FILE

  --seeds A..B    which runs to play (default 0..100)
  --events N      what people and the weather do in each, at least (default 200)
  --together      also what is known not to be survived: old copies of clients' stores together
                  with a server that loses something
  --threads N     how many runs at a time (default 2)
  --json          one JSON object on standard output
  --until-caught  stop at the first seed with a violation, and do not make it shorter
  --save DIR      where runs with a violation are saved as steps (default target/sim)
  --replay FILE   play saved steps and tell the story";

/// How often a run with a violation is played to make it shorter.
const ATTEMPTS_MAX: usize = 2_000;
/// Of so many runs with a violation the shortest form is looked for; the others are named.
const MINIMISED_MAX: usize = 3;

struct Options {
    from: u64,
    to: u64,
    events: usize,
    threads: usize,
    json: bool,
    until_caught: bool,
    together: bool,
    save: PathBuf,
    replay: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = match options(&arguments) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // A panic of a machine is a violation, which is told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let sound = match &options.replay {
        Some(path) => replay(path),
        None => Ok(simulate(&options)),
    };
    match sound {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options {
        from: 0,
        to: 100,
        events: 200,
        threads: 2,
        json: false,
        until_caught: false,
        together: false,
        save: PathBuf::from("target/sim"),
        replay: None,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
        let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
        let size = |text: &str| text.parse::<usize>().map_err(|e| format!("{text}: {e}"));
        match argument.as_str() {
            "--seeds" => {
                let range = value()?;
                let (from, to) = range.split_once("..").ok_or("--seeds A..B, such as 0..1000")?;
                (options.from, options.to) = (number(from)?, number(to)?);
            }
            "--events" => options.events = size(value()?)?,
            "--threads" => options.threads = size(value()?)?.max(1),
            "--json" => options.json = true,
            "--until-caught" => options.until_caught = true,
            "--together" => options.together = true,
            "--save" => options.save = PathBuf::from(value()?),
            "--replay" => options.replay = Some(PathBuf::from(value()?)),
            "--help" => return Err("The simulator plays days with faults.".to_owned()),
            unknown => return Err(format!("unknown argument {unknown}")),
        }
    }
    Ok(options)
}

/// Plays saved steps. Answers whether nothing was wrong.
fn replay(path: &Path) -> Result<bool, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    let run: Run = serde_json::from_str(&text).map_err(|error| told(&error))?;
    let (report, story) = tell(&run);
    for line in story {
        println!("{line}");
    }
    for violation in &report.violations {
        println!("{}: {}", violation.rule, violation.what);
    }
    println!("digest {:016x}, {} events", report.digest, report.events);
    Ok(report.violations.is_empty())
}

/// Plays the seeds. Answers whether nothing was wrong with any.
fn simulate(options: &Options) -> bool {
    let begin = Instant::now();
    let reports = play_all(options);
    let totals = Totals::of(options.from, options.from + reports.len() as u64, &reports);
    let took = begin.elapsed().as_secs_f64();
    eprintln!("{:.1} s, {:.0} seeds/s", took, reports.len() as f64 / took);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&totals).unwrap_or_default());
    } else {
        print_totals(&totals);
    }
    let failed: Vec<&Report> = reports.iter().filter(|r| !r.violations.is_empty()).collect();
    if !options.until_caught {
        for (place, report) in failed.iter().enumerate() {
            explain(options, report, place < MINIMISED_MAX);
        }
    }
    failed.is_empty()
}

/// Plays every seed, or until one is caught; in the order of the seeds.
fn play_all(options: &Options) -> Vec<Report> {
    let (next, caught) = (AtomicU64::new(options.from), AtomicU64::new(u64::MAX));
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // Seeds before the first that is caught are played to their end all the same,
                    // so that which one is named does not depend on the threads.
                    if seed >= options.to || seed > caught.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = play(&Run::draw(seed, options.events, options.together));
                    if options.until_caught && !report.violations.is_empty() {
                        caught.fetch_min(seed, Ordering::Relaxed);
                    }
                    if let Ok(mut reports) = reports.lock() {
                        if let Some(Violation { rule, what }) = report.violations.first() {
                            eprintln!("seed {seed}: {rule}: {what}");
                        }
                        reports.push(report);
                        progress(options, &reports);
                    }
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_default();
    reports.sort_by_key(|report| report.seed);
    let caught = caught.into_inner();
    reports.retain(|report| report.seed <= caught);
    reports
}

fn progress(options: &Options, reports: &[Report]) {
    let (done, all) = (reports.len() as u64, options.to.saturating_sub(options.from));
    if done.is_multiple_of(100) || done == all {
        let failed = reports.iter().filter(|report| !report.violations.is_empty()).count();
        eprintln!("{done} of {all} seeds, {failed} with a violation");
    }
}

fn print_totals(totals: &Totals) {
    println!("seeds {}..{}: {} runs", totals.from, totals.to, totals.seeds);
    println!(
        "steps {}, events {} (at least {} in each run)",
        totals.steps, totals.events, totals.events_min
    );
    println!("simulated hours {}, commands {}", totals.simulated_hours, totals.commands);
    for (what, counts) in [
        ("commands ended", &totals.endings),
        ("acts", &totals.acts),
        ("faults", &totals.faults),
        ("incidents", &totals.incidents),
    ] {
        println!("{what}:");
        for (kind, count) in counts {
            println!("  {count:>9}  {kind}");
        }
    }
    println!("violations: {}", totals.violations.len());
    for (seed, violations) in &totals.violations {
        for violation in violations.iter().take(3) {
            println!("  seed {seed}: {}: {}", violation.rule, violation.what);
        }
    }
}

/// Saves a run with a violation and tells its story, on standard error: the shortest form of it if
/// `shorter`.
fn explain(options: &Options, report: &Report, shorter: bool) {
    let run = Run::draw(report.seed, options.events, options.together);
    let path = options.save.join(format!("seed-{}.json", report.seed));
    let Some(violation) = report.violations.first() else { return };
    let run = if shorter { minimise(&run, violation, ATTEMPTS_MAX) } else { run };
    let saved = std::fs::create_dir_all(&options.save).and_then(|()| {
        let text = serde_json::to_string_pretty(&run).unwrap_or_default();
        std::fs::write(&path, text)
    });
    match saved {
        Ok(()) => eprintln!("\nseed {}: saved as {}", report.seed, path.display()),
        Err(error) => eprintln!("\nseed {}: can't be saved: {error}", report.seed),
    }
    if shorter {
        eprintln!("its story, with {} steps:", run.steps.len());
        for line in tell(&run).1 {
            eprintln!("{line}");
        }
    }
}
