//! The real programs as children of a test: `syncline-server` and `syncline`, started, killed, asked
//! how much memory they take. Knows nothing of what they say to each other.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// Fails a test that waits for what does not come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that must come.
///
/// # Panics
/// If it does not within [`PATIENCE`].
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("what is waited for comes")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository")
}

/// When a file of the programs' sources changed last.
fn newest_source(folder: &Path) -> SystemTime {
    let entries = std::fs::read_dir(folder).expect("the sources are there").flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => newest_source(&entry.path()),
            Ok(meta) => meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            Err(_) => SystemTime::UNIX_EPOCH,
        })
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The folder of the programs, beside which the test executables lie.
fn folder() -> PathBuf {
    let own = std::env::current_exe().expect("the test's own path");
    let inner = own.parent().expect("it lies in a folder");
    // `cargo test` runs what lies in `deps`.
    if inner.ends_with("deps") { inner.parent().unwrap_or(inner) } else { inner }.to_owned()
}

/// Builds the programs if they are missing or older than their sources: `cargo test -p
/// syncline-tests` builds only the libraries of other packages.
fn build() -> PathBuf {
    let folder = folder();
    let built = |name: &str| {
        let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        std::fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let sources = ["engine/src", "sync-server/src", "client/src"];
    let changed = sources.iter().map(|source| newest_source(&root().join(source))).max();
    let oldest = built("syncline-server").min(built("syncline"));
    if changed.is_none_or(|changed| changed < oldest) {
        return folder;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = std::process::Command::new(cargo);
    cargo.current_dir(root()).args(["build", "--bins", "-p", "syncline-server"]);
    cargo.args(["-p", "syncline-client", "--target-dir"]);
    cargo.arg(folder.parent().expect("a profile's folder lies in the target folder"));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    eprintln!("the programs are missing or old; running {cargo:?}");
    let done = cargo.status().expect("cargo runs");
    assert!(done.success(), "the programs can't be built: run {cargo:?} to see why");
    folder
}

/// The path of one of the programs, built if need be.
///
/// # Panics
/// If it can't be built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

fn command(name: &str) -> Command {
    let mut command = Command::new(program(name));
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|name| name.starts_with("SYNCLINE_")) {
            command.env_remove(variable);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A `syncline` that is about to run, its output kept.
#[must_use]
pub fn syncline(arguments: &[&str]) -> Command {
    let mut command = command("syncline");
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A `syncline-server` that is about to do something to a data directory, its output kept.
#[must_use]
pub fn data_command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = command("syncline-server");
    command.args(arguments).arg("--data").arg(data).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
///
/// # Panics
/// If it does not end.
pub async fn run(mut command: Command) -> Output {
    within(command.output()).await.expect("it runs")
}

/// Runs a command with `--json` to its end and reads its last line.
///
/// # Panics
/// If it fails or says nothing that is JSON.
pub async fn run_json(command: Command) -> serde_json::Value {
    let Output { status, stdout, stderr } = run(command).await;
    let (said, complaint) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{said}\n{complaint}");
    let last = said.lines().last().expect("it says something");
    serde_json::from_str(last).expect("a line of JSON")
}

/// How a `syncline-server` that did not become ready ended.
#[derive(Debug)]
pub struct Refused {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it said on standard error.
    pub said: String,
}

/// A `syncline-server` that has said that it is ready. Killed when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    port: u16,
    data: PathBuf,
    log: PathBuf,
    settings: Vec<String>,
}

impl ServerProcess {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If it does not become ready.
    pub async fn start(data: &Path, settings: &[&str]) -> Self {
        match Self::try_start(data, 0, settings).await {
            Ok(server) => server,
            Err(refused) => panic!("the server does not start: {refused:?}"),
        }
    }

    /// Starts one on a port; 0 picks a free one. Its log is appended to a file beside `data`.
    ///
    /// # Errors
    /// [`Refused`] if it ended instead of becoming ready.
    ///
    /// # Panics
    /// If it does neither.
    pub async fn try_start(data: &Path, port: u16, settings: &[&str]) -> Result<Self, Refused> {
        let log = data.with_extension("log");
        let file = std::fs::File::options().create(true).append(true).open(&log);
        let file = file.expect("the log can be written");
        let before = file.metadata().expect("it is a file").len();
        let mut child = command("syncline-server")
            .args(["--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(data)
            .args(settings)
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        let line = within(BufReader::new(stdout).lines().next_line()).await.expect("text");
        let Some(line) = line else {
            let status = within(child.wait()).await.expect("it ends");
            let all = std::fs::read(&log).expect("the log is there");
            let from = usize::try_from(before).unwrap_or(0);
            let said = String::from_utf8_lossy(all.get(from..).unwrap_or_default()).into_owned();
            return Err(Refused { code: status.code(), said });
        };
        let port = port_in(&line).unwrap_or_else(|| panic!("no port in {line:?}"));
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Ok(Self { child, port, data: data.to_owned(), log, settings })
    }

    /// What clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/v1/sync", self.port)
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// All that it and those before it on the same directory have logged.
    ///
    /// # Panics
    /// If the log is gone.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("the log is there")).into_owned()
    }

    /// Its resident memory in bytes; `None` where the system does not tell.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        self.memory("VmRSS:")
    }

    /// The most that its resident memory ever was, in bytes; `None` where the system does not tell.
    #[must_use]
    pub fn peak_bytes(&self) -> Option<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(what))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
    }

    /// The processor time that it has taken so far; zero where the system does not tell.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let Some(id) = self.child.id() else { return Duration::ZERO };
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name, which may have blanks: utime and stime are the 12th and 13th, in hundredths.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 =
            fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// If the system does not know.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the system knows").is_none()
    }

    /// Kills it without warning (SIGKILL).
    ///
    /// # Panics
    /// If it can't be killed.
    pub async fn kill(&mut self) {
        within(self.child.kill()).await.expect("it can be killed");
    }

    /// Starts it again on the same data and port.
    ///
    /// # Panics
    /// If it does not become ready.
    pub async fn restart(self) -> Self {
        let data = self.data.clone();
        self.restart_on(&data).await
    }

    /// Kills it if it runs and starts one on the same port and on other data.
    ///
    /// # Panics
    /// If it does not become ready.
    pub async fn restart_on(mut self, data: &Path) -> Self {
        const NO_ADDRESS: i32 = 5;
        if self.is_alive() {
            self.kill().await;
        }
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::try_start(data, self.port, &settings).await {
                Ok(server) => return server,
                // Another test's connection may have been given the port for a moment.
                Err(refused) if refused.code == Some(NO_ADDRESS) && Instant::now() < deadline => {}
                Err(refused) => panic!("the server does not start again: {refused:?}"),
            }
        }
    }

    /// Sends SIGTERM and waits for the end; answers the exit code.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(sent.expect("kill is there").success());
        within(self.child.wait()).await.expect("it ends").code()
    }
}

/// The port in a line such as `syncline-server listening on ws://127.0.0.1:4400/v1/sync data=x`.
fn port_in(line: &str) -> Option<u16> {
    let authority = line.split_once("ws://")?.1.split('/').next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

/// Copies a folder with all files that are in it.
///
/// # Panics
/// If it can't be.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
