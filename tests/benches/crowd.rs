//! What a space full of people costs the sync server: everybody announces where they are once a
//! second, over real sockets, at the server's own settings. The baseline is a space of a tenth of the
//! people in the same run: were presence quadratic, one who is there would cost ten times as much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{Announce, Enter, WireSaying};
use syncline_tests::measure::{row, size, table, times};
use syncline_tests::process::ServerProcess;
use syncline_tests::raw::RawClient;
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

const SPACE: &str = "crowd";
/// Sockets that are opened at the same time.
const AT_ONCE: usize = 64;
/// Each announces something so often.
const EVERY: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() {
    let (many, few) = (size(1_000, 20), size(100, 10));
    table(
        &format!("A space in which {few} and {many} announce something once a second"),
        &[
            "people",
            "server CPU",
            "a person",
            "of few",
            "frames each/s",
            "bytes each/s",
            "memory each",
        ],
    );
    let first = measure(few).await;
    first.print(first.cpu_each());
    let second = measure(many).await;
    second.print(first.cpu_each());
}

struct Figures {
    people: usize,
    seconds: f64,
    cpu: f64,
    frames: u64,
    bytes: u64,
    memory: u64,
}

impl Figures {
    fn cpu_each(&self) -> f64 {
        self.cpu / self.seconds / self.people as f64
    }

    fn print(&self, few: f64) {
        let each = |number: u64| number as f64 / self.people as f64 / self.seconds;
        row(&[
            &self.people,
            &format!("{:.1} %", self.cpu / self.seconds * 1e2),
            &format!("{:.0} us/s", self.cpu_each() * 1e6),
            &times(self.cpu_each() / few.max(1e-9)),
            &format!("{:.1}", each(self.frames)),
            &format!("{:.1} KB", each(self.bytes) / 1e3),
            &format!("{:.1} KB", self.memory as f64 / self.people as f64 / 1e3),
        ]);
    }
}

/// What was heard by everybody.
#[derive(Default)]
struct Heard {
    frames: AtomicU64,
    bytes: AtomicU64,
}

async fn measure(people: usize) -> Figures {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &["--log", "warn"]).await;
    let resident = || server.resident_bytes().expect("the system tells");
    let before = resident();
    let enter = |number: usize| {
        let url = server.url();
        async move {
            let mut session = [0x5c; 16];
            session[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let mut client = RawClient::hello(&url, &format!("user-{number}"), session, 1).await;
            let space = SPACE.to_owned();
            client.say(Enter { space, visible: true, sayings: Vec::new() }).await;
            let handle = client
                .hear_until(|frame| {
                    let ServerFrame::Entered(entered) = frame else {
                        return panic_unless_presence(&frame);
                    };
                    Some(entered.handle)
                })
                .await;
            (number, client, handle)
        }
    };
    let inside: Vec<_> =
        futures_util::stream::iter(0..people).map(enter).buffer_unordered(AT_ONCE).collect().await;
    let (heard, begin) = (Arc::new(Heard::default()), Arc::new(Barrier::new(people + 1)));
    let (end, ended) = watch::channel(false);
    let mut crowd = JoinSet::new();
    for (number, client, handle) in inside {
        let (heard, begin) = (Arc::clone(&heard), Arc::clone(&begin));
        let ended = ended.clone();
        crowd.spawn(live(client, handle, (number, people), heard, begin, ended));
    }
    begin.wait().await;
    let rounds = u32::try_from(size(20, 1)).expect("a few");
    let (cpu, at) = (server.cpu(), tokio::time::Instant::now());
    let heard_before = (heard.frames.load(Ordering::Relaxed), heard.bytes.load(Ordering::Relaxed));
    tokio::time::sleep(EVERY * rounds).await;
    let (cpu, seconds) = (server.cpu().saturating_sub(cpu), at.elapsed());
    let figures = Figures {
        people,
        seconds: seconds.as_secs_f64(),
        cpu: cpu.as_secs_f64(),
        frames: heard.frames.load(Ordering::Relaxed) - heard_before.0,
        bytes: heard.bytes.load(Ordering::Relaxed) - heard_before.1,
        memory: resident().saturating_sub(before),
    };
    end.send_replace(true);
    while let Some(one) = crowd.join_next().await {
        one.expect("nobody was sent away");
    }
    figures
}

fn panic_unless_presence<T>(frame: &ServerFrame) -> Option<T> {
    let fits = matches!(frame, ServerFrame::Presence(_) | ServerFrame::Crowd(_));
    assert!(fits, "{frame:?}");
    None
}

/// One of them: hears everything, and says something once a second, not all in the same moment.
async fn live(
    mut client: RawClient,
    handle: u32,
    (number, people): (usize, usize),
    heard: Arc<Heard>,
    begin: Arc<Barrier>,
    mut ended: watch::Receiver<bool>,
) {
    begin.wait().await;
    let first = EVERY.mul_f64(number as f64 / people as f64);
    let mut due = tokio::time::interval_at(tokio::time::Instant::now() + first, EVERY);
    let mut seq = 0;
    loop {
        tokio::select! {
            _ = due.tick() => {
                seq += 1;
                let value = Some(format!(r#"{{"x":{seq},"y":{number}}}"#));
                let saying = WireSaying { key: "pointer".to_owned(), seq, value, ttl_ms: None };
                client.say(Announce { handle, sayings: vec![saying] }).await;
            }
            (frame, bytes) = client.hear_sized() => {
                panic_unless_presence::<()>(&frame);
                heard.frames.fetch_add(1, Ordering::Relaxed);
                heard.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            _ = ended.changed() => return,
        }
    }
}
