//! Reports for people and for programs, on standard output.

use std::fmt::Write as _;
use std::io::{self, Write};

use syncline_server::admin::{Imported, Inspection, Problem, Report, Verification};

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a report.
pub(crate) fn report(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut text = String::new();
    if json {
        text = serde_json::to_string(report)?;
        text.push('\n');
    } else {
        for_people(report, &mut text)?;
    }
    Ok(say(&text)?)
}

/// Prints what was imported.
pub(crate) fn imported(imported: &Imported, json: bool) -> anyhow::Result<()> {
    let Imported { documents, entries, .. } = imported;
    let text = if json {
        serde_json::to_string(imported)? + "\n"
    } else {
        format!(
            "imported {documents} documents with {entries} entries; their heads are as exported\n"
        )
    };
    Ok(say(&text)?)
}

fn for_people(report: &Report, text: &mut String) -> std::fmt::Result {
    match report {
        Report::Inspect(inspection) => inspected(inspection, text),
        Report::Verify(verification) => verified(verification, text),
        Report::Compact { snapshots, failed, bytes_before, bytes_after } => {
            let (before, after) = (bytes(*bytes_before), bytes(*bytes_after));
            writeln!(text, "{snapshots} new snapshots; {before} on disk before, {after} after")?;
            problems(failed, text)
        }
        Report::Backup { target, bytes: copied } => {
            writeln!(text, "{} copied to {}", bytes(*copied), target.display())
        }
        Report::Export { documents, entries } => {
            writeln!(text, "{documents} documents with {entries} entries exported")
        }
        Report::DeleteSpace { documents, bytes_before, bytes_after } => {
            let (before, after) = (bytes(*bytes_before), bytes(*bytes_after));
            writeln!(text, "{documents} documents deleted; {before} on disk before, {after} after")
        }
        Report::ForgetUser { documents, failed } => {
            writeln!(text, "taken out of {documents} documents, which begin anew without history")?;
            problems(failed, text)
        }
        other => writeln!(text, "{other:?}"),
    }
}

fn problems(problems: &[Problem], text: &mut String) -> std::fmt::Result {
    for Problem { address, what, .. } in problems {
        writeln!(text, "  {}: {what}", address.as_deref().unwrap_or("the store"))?;
    }
    Ok(())
}

fn inspected(inspection: &Inspection, text: &mut String) -> std::fmt::Result {
    let Inspection { base_bytes, layers_bytes, documents, damaged, generation, .. } = inspection;
    let wide = documents.iter().map(|document| document.address.len()).max().unwrap_or(0).max(8);
    writeln!(
        text,
        "{:wide$}  {:>8}  {:>8}  {:>10}  {:>10}  {:>6}  epoch",
        "document", "seq", "from", "log", "snapshot", "actors"
    )?;
    for document in documents {
        writeln!(
            text,
            "{:wide$}  {:>8}  {:>8}  {:>10}  {:>10}  {:>6}  {}",
            document.address,
            document.seq,
            document.tail_from,
            bytes(document.tail_bytes),
            bytes(document.snapshot_bytes + document.sealed_bytes),
            document.actors,
            document.epoch.get(..8).unwrap_or_default(),
        )?;
    }
    let (base, layers) = (bytes(*base_bytes), bytes(*layers_bytes));
    let count = documents.len();
    writeln!(
        text,
        "{count} documents; on disk {base} merged, {layers} since, {generation} merges"
    )?;
    if !damaged.is_empty() {
        writeln!(text, "{} documents are damaged:", damaged.len())?;
    }
    problems(damaged, text)
}

fn verified(verification: &Verification, text: &mut String) -> std::fmt::Result {
    let Verification { values, bytes: read, documents, set_aside, problems_total, .. } =
        verification;
    writeln!(text, "{documents} documents, {values} values, {} read", bytes(*read))?;
    if *set_aside > 0 {
        writeln!(text, "{set_aside} values that were damaged once are kept aside")?;
    }
    if verification.is_sound() {
        return writeln!(text, "all is as it was written");
    }
    writeln!(text, "{problems_total} problems:")?;
    problems(&verification.problems, text)
}

/// A number of bytes for people.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let (mut whole, mut rest, mut unit) = (bytes, 0, 0);
    while whole >= 1_024 && unit + 1 < units.len() {
        (rest, whole) = (whole % 1_024 * 10 / 1_024, whole / 1_024);
        unit += 1;
    }
    if unit == 0 { format!("{whole} B") } else { format!("{whole}.{rest} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_the_largest_unit_that_fits() {
        let told = [0, 1_023, 1_024, 1_536, 5 << 20, u64::MAX].map(bytes);
        assert_eq!(told, ["0 B", "1023 B", "1.0 KB", "1.5 KB", "5.0 MB", "16777215.9 TB"]);
    }
}
