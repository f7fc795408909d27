//! The subcommands of `syncline-server`: what an operator types, what is printed, and the exit code. The
//! work is done in [`syncline_server::admin`], here on a data directory that nobody uses, or by the
//! server that runs on it.

use std::io::{self, BufReader, BufWriter, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use syncline_server::admin::socket::{self, AskError};
use syncline_server::admin::{self, Listen, Progress, Report, Said, Task};
use syncline_server::store::{CopyError, Merging, OpenError, SledOptions, SledStore};

mod print;

/// Found to be damaged.
pub(crate) const DAMAGED: u8 = 7;

/// Something to do with a data directory, or with the server that runs on it.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Say what is in a data directory: documents, sizes, seqs, epochs, writers
    Inspect {
        #[command(flatten)]
        common: Common,
    },
    /// Check every value, record, digest and snapshot; exit code 7 if anything is wrong
    Verify {
        #[command(flatten)]
        common: Common,
    },
    /// Make a snapshot of every document and give back what was overwritten and deleted
    Compact {
        #[command(flatten)]
        common: Common,
        /// Changes that stay readable below a snapshot
        #[arg(long, value_name = "N", default_value_t = 500)]
        keep: u64,
    },
    /// Copy the data, as it is at one moment, into an empty directory; a running server goes on
    Backup {
        #[command(flatten)]
        common: Common,
        /// The directory to make
        #[arg(value_name = "TARGET")]
        target: PathBuf,
    },
    /// Copy a backup into an empty data directory, and verify it
    Restore {
        #[command(flatten)]
        common: Common,
        /// The directory that `backup` has made
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
    },
    /// Write all documents as lines of JSON to a file or standard output
    Export {
        #[command(flatten)]
        common: Common,
        /// The file to make [default: standard output]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Put exported documents into a data directory that has none of them
    Import {
        #[command(flatten)]
        common: Common,
        /// The file to read [default: standard input]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Delete all that is in a space, and keep everybody out of it for the offline window
    DeleteSpace {
        #[command(flatten)]
        common: Common,
        /// The space
        #[arg(value_name = "SPACE")]
        space: String,
    },
    /// Take what a user said, and that it was them, out of every document
    ForgetUser {
        #[command(flatten)]
        common: Common,
        /// Their name
        #[arg(value_name = "NAME")]
        user: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The data directory [default: ./syncline-data]
    #[arg(long, value_name = "DIR", env = "SYNCLINE_DATA")]
    data: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs a subcommand. `data` is what was said before it.
pub(crate) fn run(command: Command, data: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let dir = |common: &Common| -> PathBuf {
        let default = || PathBuf::from("./syncline-data");
        common.data.clone().or(data).unwrap_or_else(default)
    };
    let (common, task) = match command {
        Command::Restore { common, backup } => return restore(&backup, &dir(&common), common.json),
        Command::Import { common, file } => return import(file.as_deref(), &dir(&common), &common),
        Command::Export { common, file } => {
            return export(file.as_deref(), &dir(&common), common.json);
        }
        Command::Inspect { common } => (common, Task::Inspect),
        Command::Verify { common } => (common, Task::Verify),
        Command::Compact { common, keep } => (common, Task::Compact { keep }),
        Command::Backup { common, target } => {
            let target = std::path::absolute(target).context("cannot tell where the target is")?;
            (common, Task::Backup { target })
        }
        Command::DeleteSpace { common, space } => (common, Task::DeleteSpace { space }),
        Command::ForgetUser { common, user } => (common, Task::ForgetUser { user }),
    };
    let mut meter = Meter::new();
    let report = perform(&dir(&common), &task, &mut |said| match said {
        Said::Progress(progress) => meter.show(&progress),
        Said::Line(_) => ControlFlow::Continue(()),
    });
    meter.end();
    let report = report?;
    print::report(&report, common.json)?;
    Ok(outcome(&report))
}

fn outcome(report: &Report) -> ExitCode {
    if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) }
}

/// Has a task done: here, or by the server that holds the directory.
fn perform(dir: &Path, task: &Task, listen: &mut Listen<'_>) -> anyhow::Result<Report> {
    match open(dir) {
        Ok(store) => Ok(admin::perform(&store, task, listen)?),
        Err(held @ OpenError::InUse { .. }) => match socket::ask(dir, task, listen) {
            Ok(report) => Ok(report),
            // It is held by something else than a server.
            Err(AskError::Unreachable { .. }) => Err(held.into()),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Opens a store that is there.
fn open(dir: &Path) -> Result<SledStore, OpenError> {
    if !dir.join("format").is_file() {
        return Err(OpenError::NotAStore { dir: dir.to_owned() });
    }
    SledStore::open(dir, &options())
}

/// Nothing is merged but what is asked for.
fn options() -> SledOptions {
    let mut options = SledOptions::default();
    options.slack_bytes = u64::MAX;
    options
}

fn export(file: Option<&Path>, dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let mut out: Box<dyn Write> = match file {
        None => Box::new(BufWriter::new(io::stdout().lock())),
        Some(path) => {
            let made = std::fs::File::create_new(path);
            Box::new(BufWriter::new(
                made.with_context(|| format!("cannot make {}", path.display()))?,
            ))
        }
    };
    let (mut meter, mut failed) = (Meter::new(), None);
    let report = perform(dir, &Task::Export, &mut |said| match said {
        Said::Progress(progress) => meter.show(&progress),
        Said::Line(line) => match writeln!(out, "{line}") {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    });
    meter.end();
    if let Some(error) = failed {
        return Err(error).context("cannot write the export");
    }
    let report = report?;
    out.flush().context("cannot write the export")?;
    if file.is_some() {
        print::report(&report, json)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn import(file: Option<&Path>, dir: &Path, common: &Common) -> anyhow::Result<ExitCode> {
    let store = SledStore::open(dir, &options())?;
    let mut meter = Meter::new();
    let mut listen = |said| match said {
        Said::Progress(progress) => meter.show(&progress),
        Said::Line(_) => ControlFlow::Continue(()),
    };
    let imported = match file {
        None => admin::import(&store, &mut BufReader::new(io::stdin().lock()), &mut listen),
        Some(path) => {
            let file = std::fs::File::open(path);
            let file = file.with_context(|| format!("cannot read {}", path.display()))?;
            admin::import(&store, &mut BufReader::new(file), &mut listen)
        }
    };
    meter.end();
    print::imported(&imported?, common.json)?;
    Ok(ExitCode::SUCCESS)
}

fn restore(backup: &Path, dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let mut meter = Meter::new();
    let mut copying = |so_far: Merging| {
        let (doing, unit) = ("copying".to_owned(), "bytes".to_owned());
        meter.show(&Progress { doing, done: so_far.bytes, unit })
    };
    match SledStore::restore(backup, dir, &mut copying) {
        Err(CopyError::Open(OpenError::InUse { dir })) => {
            bail!("{} is in use by a server: make a backup of it, and restore that", dir.display())
        }
        other => other?,
    };
    let report = perform(dir, &Task::Verify, &mut |said| match said {
        Said::Progress(progress) => meter.show(&progress),
        Said::Line(_) => ControlFlow::Continue(()),
    });
    meter.end();
    let report = report?;
    print::report(&report, json)?;
    Ok(outcome(&report))
}

/// Shows on standard error how far something is: all the time to people, and now and then to a file.
struct Meter {
    to_people: bool,
    shown: Instant,
    is_open: bool,
}

impl Meter {
    fn new() -> Self {
        Self { to_people: io::stderr().is_terminal(), shown: Instant::now(), is_open: false }
    }

    fn show(&mut self, progress: &Progress) -> ControlFlow<()> {
        let every = Duration::from_millis(if self.to_people { 200 } else { 5_000 });
        if self.shown.elapsed() >= every {
            self.shown = Instant::now();
            let Progress { doing, done, unit } = progress;
            let done = if unit == "bytes" { print::bytes(*done) } else { format!("{done} {unit}") };
            if self.to_people {
                eprint!("\r{doing}: {done}\x1b[K");
                self.is_open = true;
            } else {
                eprintln!("{doing}: {done}");
            }
        }
        ControlFlow::Continue(())
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            eprint!("\r\x1b[K");
        }
    }
}
