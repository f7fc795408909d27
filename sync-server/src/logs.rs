//! Where log lines and traces go. What clients say reaches a line only with its control characters
//! escaped, so that nobody writes lines, or colours, of his own. Lines are written by a thread of their
//! own: whoever does not read the log loses lines of it, and does not stop the server.

use std::io::{self, IsTerminal as _, Write};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::ParseError;
#[cfg(feature = "otlp")]
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{LogFormat, Settings};

#[cfg(feature = "otlp")]
mod otlp;

/// What is logged there at the finest are messages themselves, tokens and all.
const SECRETIVE: &str = "tungstenite=info";

/// Lines that wait for whoever reads the log; what comes after is lost.
const LINES_WAITING_MAX: usize = 16_384;

/// Logging cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The filter does not parse.
    #[error("--log {filter:?} is not a filter such as info or debug: {source}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something else in this process logs already.
    #[error("logging has begun already: {0}")]
    Begun(tracing_subscriber::util::TryInitError),
    /// The traces have no way to where they should go.
    #[error("cannot send traces to {endpoint}: {why}")]
    Otlp {
        /// Where they should go.
        endpoint: String,
        /// What is in the way.
        why: String,
    },
}

/// Keeps lines and traces going to where they go. Dropping it sends what is left.
#[derive(Debug)]
#[must_use]
pub struct Logs {
    _lines: WorkerGuard,
    #[cfg(feature = "otlp")]
    _exporter: Option<otlp::Exporter>,
}

/// Begins to log to standard error, and to send traces if that is set. Once in a process.
///
/// # Errors
/// [`LogError`] says what is wrong.
pub fn begin(settings: &Settings) -> Result<Logs, LogError> {
    let filter = settings.log.as_deref().unwrap_or("info");
    let wrong = |source| LogError::Filter { filter: filter.to_owned(), source };
    let filter = EnvFilter::builder().parse(filter).map_err(wrong)?;
    let filter = filter.add_directive(SECRETIVE.parse().map_err(wrong)?);
    let colours = io::stderr().is_terminal();
    let (lines, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING_MAX)
        .thread_name("log")
        .finish(io::stderr());
    let writer = |colours| Escaping { lines: lines.clone(), colours };
    let text = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(writer(colours));
    let lines = match settings.log_format.unwrap_or_default() {
        LogFormat::Text => text.with_filter(filter).boxed(),
        LogFormat::Json => {
            let json = tracing_subscriber::fmt::layer().json();
            json.with_writer(writer(false)).with_filter(filter).boxed()
        }
    };
    let lines = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otlp")]
    let (lines, traces) = {
        let endpoint = settings.otlp_endpoint.as_deref();
        let exporter = endpoint.map(otlp::Exporter::start).transpose()?;
        // A trace has its own level of detail, whatever the lines have.
        let ours = Targets::new().with_target("syncline_server", tracing::Level::DEBUG);
        let layer = exporter.as_ref().map(|exporter| exporter.layer().with_filter(ours));
        (lines.with(layer), Logs { _lines: guard, _exporter: exporter })
    };
    #[cfg(not(feature = "otlp"))]
    let traces = match &settings.otlp_endpoint {
        Some(endpoint) => {
            let (endpoint, why) =
                (endpoint.clone(), "this build lacks the feature otlp".to_owned());
            return Err(LogError::Otlp { endpoint, why });
        }
        None => Logs { _lines: guard },
    };
    lines.try_init().map_err(LogError::Begun)?;
    Ok(traces)
}

/// Where a line is a line.
#[derive(Debug, Clone)]
struct Escaping {
    lines: NonBlocking,
    /// Whether the lines are coloured by who writes them, so that ESC must pass. Their values come
    /// with it escaped already.
    colours: bool,
}

impl<'a> MakeWriter<'a> for Escaping {
    type Writer = EscapingWriter<NonBlocking>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapingWriter { inner: self.lines.clone(), colours: self.colours }
    }
}

struct EscapingWriter<W> {
    inner: W,
    colours: bool,
}

impl<W: Write> Write for EscapingWriter<W> {
    /// Takes a whole line: each is formatted in full before it is written.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (text, end) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
        let harmless = |c: char| !c.is_control() || (self.colours && c == '\u{1b}');
        if text.chars().all(harmless) {
            self.inner.write_all(line)?;
            return Ok(line.len());
        }
        let mut escaped = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if harmless(c) {
                escaped.push(c);
            } else {
                escaped.extend(c.escape_default());
            }
        }
        escaped.push_str(end);
        self.inner.write_all(escaped.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &str, colours: bool) -> String {
        let mut writer = EscapingWriter { inner: Vec::new(), colours };
        writer.write_all(line.as_bytes()).unwrap();
        String::from_utf8(writer.inner).unwrap()
    }

    #[test]
    fn a_line_stays_one_line_whatever_is_in_it() {
        let line = "user ada\nERROR forged\r\u{1b}[31m\u{85}\0 end\n";
        let escaped = r"user ada\nERROR forged\r\u{1b}[31m\u{85}\u{0} end";
        assert_eq!(written(line, false), format!("{escaped}\n"));
        assert_eq!(written("grüße, 世界\n", false), "grüße, 世界\n");
        assert_eq!(
            written("\u{1b}[32mINFO\u{1b}[0m a\nb\n", true),
            "\u{1b}[32mINFO\u{1b}[0m a\\nb\n"
        );
    }
}
