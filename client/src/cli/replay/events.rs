//! The event file: JSON lines, plain or gzipped, read one at a time. Knows the format, not what the
//! events add up to.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Post,
    Comment,
    Like,
    Unlike,
    Edit,
    Delete,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Comment => "comment",
            Self::Like => "like",
            Self::Unlike => "unlike",
            Self::Edit => "edit",
            Self::Delete => "delete",
        }
    }

    const fn has_text(self) -> bool {
        matches!(self, Self::Post | Self::Comment | Self::Edit)
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    /// Unix time in milliseconds.
    pub(crate) t: u64,
    pub(crate) kind: Kind,
    /// The post that it belongs to.
    pub(crate) post: String,
    /// The item made or acted on.
    pub(crate) id: String,
    /// The comment answered.
    pub(crate) parent: Option<String>,
    pub(crate) user: String,
    /// The whole new text.
    #[serde(default)]
    pub(crate) text: Option<String>,
}

impl Event {
    /// The text of a kind that has one.
    pub(crate) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}

/// An event file can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventsError {
    #[error("can't open {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("line {line} can't be read: {source}")]
    Read { line: u64, source: io::Error },
    #[error("line {line} is not an event: {source}")]
    Syntax { line: u64, source: serde_json::Error },
    #[error("line {line}: {rule}")]
    Rule { line: u64, rule: String },
}

/// The events of a file, in order.
pub(crate) struct Events {
    lines: Box<dyn BufRead + Send>,
    line: u64,
    last_t: u64,
    buffer: String,
}

impl Events {
    /// Opens a file. Whether it is gzipped is told from its first bytes, not from its name.
    pub(crate) fn open(path: &Path) -> Result<Self, EventsError> {
        let opened = |source| EventsError::Open { path: path.to_owned(), source };
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(opened)?);
        let gzipped = file.fill_buf().map_err(opened)?.starts_with(&[0x1f, 0x8b]);
        Ok(if gzipped { Self::new(MultiGzDecoder::new(file)) } else { Self::new(file) })
    }

    pub(crate) fn new(bytes: impl Read + Send + 'static) -> Self {
        Self {
            lines: Box::new(BufReader::with_capacity(1 << 16, bytes)),
            line: 0,
            last_t: 0,
            buffer: String::new(),
        }
    }

    /// The number of the line that was read last; the first is 1.
    pub(crate) const fn line(&self) -> u64 {
        self.line
    }

    fn parse(&mut self) -> Result<Event, EventsError> {
        let line = self.line;
        let event: Event = serde_json::from_str(&self.buffer)
            .map_err(|source| EventsError::Syntax { line, source })?;
        let rule = |rule: String| Err(EventsError::Rule { line, rule });
        if event.t < self.last_t {
            return rule(format!("the time {} is before the line above, {}", event.t, self.last_t));
        }
        if event.kind.has_text() != event.text.is_some() {
            let but = if event.kind.has_text() { "needs a text" } else { "has no text" };
            return rule(format!("an event of kind {} {but}", event.kind.as_str()));
        }
        if event.parent.is_some() && event.kind != Kind::Comment {
            return rule("only a comment has a parent".to_owned());
        }
        if event.kind == Kind::Post && event.post != event.id {
            return rule("a post's own id and its post must be the same".to_owned());
        }
        self.last_t = event.t;
        Ok(event)
    }
}

impl Iterator for Events {
    type Item = Result<Event, EventsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.buffer.clear();
            self.line += 1;
            match self.lines.read_line(&mut self.buffer) {
                Ok(0) => return None,
                Ok(_) if self.buffer.trim().is_empty() => {}
                Ok(_) => return Some(self.parse()),
                Err(source) => return Some(Err(EventsError::Read { line: self.line, source })),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const POST: &str =
        r#"{"t":5,"kind":"post","post":"p","id":"p","parent":null,"user":"u1","text":"hi"}"#;
    const LIKE: &str = r#"{"t":6,"kind":"like","post":"p","id":"p","parent":null,"user":"s2"}"#;

    fn read(text: &str) -> Result<Vec<Event>, EventsError> {
        Events::new(io::Cursor::new(text.to_owned().into_bytes())).collect()
    }

    fn complaint(text: &str) -> String {
        read(text).expect_err("a complaint").to_string()
    }

    #[test]
    fn a_gzipped_file_reads_like_a_plain_one() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("{POST}\n{LIKE}\n");
        let (plain, packed) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&plain, &text).unwrap();
        let mut encoder = GzEncoder::new(File::create(&packed).unwrap(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();
        let events: Vec<Event> = Events::open(&plain).unwrap().map(Result::unwrap).collect();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].text(), "hi");
        assert_eq!(events[1].kind, Kind::Like);
        assert!(Events::open(&packed).unwrap().map(Result::unwrap).eq(events));
    }

    #[test]
    fn complaints_name_the_line() {
        assert!(complaint(&format!("{POST}\nnonsense")).starts_with("line 2 is not an event"));
        let early = LIKE.replace(":6", ":4");
        assert_eq!(
            complaint(&format!("{POST}\n{early}")),
            "line 2: the time 4 is before the line above, 5"
        );
        let silent = POST.replace(r#","text":"hi""#, "");
        assert_eq!(complaint(&silent), "line 1: an event of kind post needs a text");
        let odd = LIKE.replace("null", r#""p""#);
        assert_eq!(complaint(&odd), "line 1: only a comment has a parent");
        assert!(complaint(&LIKE.replace("like", "wave")).contains("unknown variant `wave`"));
    }
}
