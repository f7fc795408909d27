//! Everything in a store as lines of JSON: one for each document, each snapshot and each entry, with
//! bytes in base64 and names of things in hexadecimal. What the lines mean is in docs/OPERATIONS.md; the
//! store's secret is not among them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use syncline_engine::hub;
use syncline_engine::ids::{Address, Cursor};
use syncline_engine::storage::{Entry, LogStore, StoreError};

use super::{Listen, Report, Said, TaskError, each_document, hex};
use crate::store::SledStore;

/// The version of the lines.
pub(super) const VERSION: u32 = 1;
/// How often a document is read again when it got a new snapshot meanwhile.
const TRIES: u32 = 5;

/// A line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Line {
    /// The first.
    Export { version: u32 },
    /// Begins a document; its parts follow.
    Document {
        address: String,
        epoch: String,
        /// The seq of its last change.
        seq: u64,
        /// How many lines of entries follow.
        entries: u64,
        /// The digest below the first entry.
        tip_before: String,
        /// The document's heads at the end.
        heads: Vec<String>,
    },
    /// The end of an earlier epoch, and where the log went on.
    Sealed {
        epoch: String,
        seq: u64,
        tip: String,
        next_epoch: String,
        next_seq: u64,
        next_tip: String,
        head: String,
        at: u64,
        body: String,
        attribution: String,
    },
    /// The document's snapshot.
    Snapshot { seq: u64, tip: String, body: String, index: String, attribution: String },
    /// A change in the log.
    Entry {
        seq: u64,
        /// The first seq of the record that it is in.
        record: u64,
        author: String,
        /// When it was accepted, in milliseconds since 1970.
        at: u64,
        outbox: Option<String>,
        number: Option<u64>,
        hash: String,
        change: String,
    },
    /// The last: without it the export is incomplete.
    End { documents: u64, entries: u64 },
}

impl Line {
    fn text(&self) -> String {
        // Strings and numbers always can be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn say(listen: &mut Listen<'_>, line: &Line) -> Result<(), TaskError> {
    if listen(Said::Line(line.text())).is_break() { Err(TaskError::Stopped) } else { Ok(()) }
}

pub(super) fn export(store: &SledStore, listen: &mut Listen<'_>) -> Result<Report, TaskError> {
    say(listen, &Line::Export { version: VERSION })?;
    let (mut documents, mut entries) = (0, 0);
    each_document(store, "exporting", listen, &mut |address, listen| {
        let Some(lines) = document(store, address)? else { return Ok(()) };
        documents += 1;
        for line in &lines {
            entries += u64::from(matches!(line, Line::Entry { .. }));
            say(listen, line)?;
        }
        Ok(())
    })?;
    say(listen, &Line::End { documents, entries })?;
    Ok(Report::Export { documents, entries })
}

/// A document's lines, all of one moment.
fn document(store: &SledStore, address: &Address) -> Result<Option<Vec<Line>>, StoreError> {
    let mut tries = 0;
    loop {
        let snapshot = |head: Option<_>| -> Option<(Option<Cursor>, u64)> {
            head.map(|head: syncline_engine::storage::LogHead| {
                (head.snapshot.map(|snapshot| snapshot.cursor), head.tail_from)
            })
        };
        let before = snapshot(store.head(address)?);
        let lines = document_once(store, address);
        let after = snapshot(store.head(address)?);
        tries += 1;
        if before == after || tries == TRIES {
            return lines;
        }
    }
}

fn document_once(store: &SledStore, address: &Address) -> Result<Option<Vec<Line>>, StoreError> {
    let Some(survey) = hub::survey(store, address)? else { return Ok(None) };
    let (head, snapshot) = (&survey.head, hub::snapshot(store, address)?);
    let mut records = store.read(address, head.tail_from, usize::MAX)?;
    records.retain(|record| record.last_seq() <= head.end.seq);
    let tip_before = records.first().map_or(head.end.tip, |record| record.tip_before);
    let mut lines = vec![Line::Document {
        address: address.to_string(),
        epoch: head.end.epoch.to_string(),
        seq: head.end.seq,
        entries: records.iter().map(|record| record.entries.len() as u64).sum(),
        tip_before: tip_before.to_string(),
        heads: survey.heads.iter().map(|head| hex(&head.0)).collect(),
    }];
    for sealed in &head.sealed {
        let missing = || StoreError::Damaged {
            address: address.clone(),
            what: "the end of an epoch is missing".to_owned(),
        };
        let bytes_max = usize::try_from(sealed.body_bytes).unwrap_or(usize::MAX);
        let body = store.read_snapshot(address, sealed.end, 0, bytes_max)?.ok_or_else(missing)?;
        let attribution = store.read_attribution(address, sealed.end)?.ok_or_else(missing)?;
        lines.push(Line::Sealed {
            epoch: sealed.end.epoch.to_string(),
            seq: sealed.end.seq,
            tip: sealed.end.tip.to_string(),
            next_epoch: sealed.start.cursor.epoch.to_string(),
            next_seq: sealed.start.cursor.seq,
            next_tip: sealed.start.cursor.tip.to_string(),
            head: hex(&sealed.start.head.0),
            at: sealed.start.at.0,
            body: BASE64.encode(body),
            attribution: BASE64.encode(attribution),
        });
    }
    lines.extend(snapshot.map(|snapshot| Line::Snapshot {
        seq: snapshot.cursor.seq,
        tip: snapshot.cursor.tip.to_string(),
        body: BASE64.encode(&snapshot.body),
        index: BASE64.encode(&snapshot.index),
        attribution: BASE64.encode(&snapshot.attribution),
    }));
    for record in &records {
        let numbered = (record.first_seq..).zip(&record.entries);
        lines.extend(numbered.map(|(seq, entry)| entry_line(seq, record.first_seq, entry)));
    }
    Ok(Some(lines))
}

fn entry_line(seq: u64, record: u64, entry: &Entry) -> Line {
    Line::Entry {
        seq,
        record,
        author: entry.author.as_str().to_owned(),
        at: entry.at.0,
        outbox: entry.command.map(|command| hex(&command.outbox.0)),
        number: entry.command.map(|command| command.number),
        hash: hex(&entry.hash.0),
        change: BASE64.encode(&entry.change),
    }
}
