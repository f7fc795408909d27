//! What must hold of the repository as text: that PROTOCOL.md keeps up with the code, that the pure
//! engine names nothing impure, and that files look as CONTRIBUTING.md says. Reads files, runs nothing
//! but `git ls-files`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use syncline_engine::codes::Code;
use syncline_engine::wire::{ClientFrame, ServerFrame};

/// Rules of PROTOCOL.md that no test names. A rule leaves this list with its first test; the test
/// below fails if one stays here after that.
const RULES_WITHOUT_A_TEST: &[&str] = &["CL2"];

fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("the package lies in the repository").to_path_buf()
}

/// Every file that is committed or would be, relative to the root, with its text; other files
/// than text are left out.
fn files() -> Vec<(String, String)> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(listing.status.success(), "git ls-files failed");
    String::from_utf8(listing.stdout)
        .expect("paths are UTF-8")
        .split_terminator('\0')
        .filter_map(|path| {
            let text = std::fs::read_to_string(root().join(path)).ok()?;
            Some((path.to_owned(), text))
        })
        .collect()
}

fn rust_files() -> Vec<(String, String)> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect()
}

fn protocol() -> String {
    std::fs::read_to_string(root().join("PROTOCOL.md")).expect("PROTOCOL.md is there")
}

/// The lines of a source file, numbered from 1, without comments. (A `//` within a string ends the
/// line early, which only hides text from the checks below.)
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("")))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Rule ids are set in bold at the beginning of an item: `- **FR1** …`.
fn rules() -> Vec<String> {
    let rules: Vec<String> = protocol()
        .lines()
        .filter_map(|line| line.strip_prefix("- **")?.split_once("**").map(|(id, _)| id.to_owned()))
        .collect();
    let distinct: BTreeSet<&String> = rules.iter().collect();
    assert_eq!(distinct.len(), rules.len(), "a rule id is used twice in PROTOCOL.md");
    assert!(rules.len() > 20, "PROTOCOL.md has lost its rules");
    rules
}

#[test]
fn every_code_is_in_the_protocol_with_its_number() {
    let protocol = protocol();
    for code in Code::ALL {
        let fatal = if syncline_engine::wire::close::fatal(*code) { "yes" } else { "" };
        let row = format!("| {} | `{}` | {fatal} |", code.number(), code.slug());
        assert!(protocol.contains(&row), "PROTOCOL.md has no row that begins `{row}`");
    }
}

#[test]
fn every_frame_is_in_the_protocol_with_its_type() {
    let protocol = protocol();
    for (kind, name) in ClientFrame::KINDS.iter().chain(ServerFrame::KINDS) {
        let row = format!("| {kind} | `{name}` |");
        assert!(protocol.contains(&row), "PROTOCOL.md has no row that begins `{row}`");
    }
}

#[test]
fn every_rule_of_the_protocol_has_a_test_or_is_known_to_have_none() {
    let this_file = file!().rsplit(['/', '\\']).next().unwrap_or_default();
    let mut named = BTreeSet::new();
    for (path, text) in rust_files() {
        if path.ends_with(this_file) || !(text.contains("test]") || text.contains("proptest!")) {
            continue;
        }
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            named.insert(word.to_ascii_uppercase());
        }
    }
    let rules = rules();
    let untested: Vec<&str> =
        rules.iter().map(String::as_str).filter(|rule| !named.contains(*rule)).collect();
    let unknown: Vec<&&str> =
        untested.iter().filter(|rule| !RULES_WITHOUT_A_TEST.contains(rule)).collect();
    assert!(unknown.is_empty(), "no test names these rules of PROTOCOL.md: {unknown:?}");
    let stale: Vec<&&str> =
        RULES_WITHOUT_A_TEST.iter().filter(|rule| !untested.contains(rule)).collect();
    assert!(stale.is_empty(), "tested by now, so take them off RULES_WITHOUT_A_TEST: {stale:?}");
}

#[test]
fn the_engine_names_nothing_impure() {
    const WORDS: &[&str] = &["tokio", "sled", "SystemTime", "Instant", "RandomState"];
    const STD: &[&str] = &["env", "fs", "net", "process", "thread"];
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        if !path.starts_with("engine/src/") {
            continue;
        }
        for (number, line) in code_lines(&text) {
            let word = words(line).any(|word| WORDS.contains(&word));
            let module = STD.iter().any(|name| {
                let grouped = line.contains("std::{") && words(line).any(|word| word == *name);
                grouped || line.contains(&format!("std::{name}"))
            });
            if word || module {
                found.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "the engine is pure, but names:\n{}", found.join("\n"));
}

#[test]
fn the_session_and_the_hub_do_not_name_each_other() {
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        let other = match path.strip_prefix("engine/src/") {
            Some(file) if file.starts_with("session") => "hub",
            Some(file) if file.starts_with("hub") => "session",
            _ => continue,
        };
        for (number, line) in code_lines(&text) {
            // Both may have a field of the other's name; what they may not have is its path.
            let path_of = format!("{other}::");
            let as_prefix = line.match_indices(&path_of).any(|(at, _)| {
                !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            });
            if as_prefix || line.contains(&format!("crate::{other}")) {
                found.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "session and hub know only the wire:\n{}", found.join("\n"));
}

#[test]
fn every_source_file_says_first_what_it_owns() {
    let wordless: Vec<String> = rust_files()
        .into_iter()
        .filter(|(_, text)| {
            let sentence = text.lines().next().unwrap_or_default();
            !sentence.starts_with("//! ") || sentence.len() <= 20
        })
        .map(|(path, _)| path)
        .collect();
    assert!(wordless.is_empty(), "these do not open with `//! ` and a sentence: {wordless:?}");
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    // Written in two parts, so that this file does not name them either.
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    for (path, text) in files() {
        for (number, line) in text.lines().enumerate() {
            let place = places.iter().find(|place| line.contains(**place));
            assert!(place.is_none(), "{path}:{} names {place:?}", number + 1);
        }
    }
}

#[test]
fn every_package_takes_its_lints_from_the_workspace() {
    let manifests = files().into_iter().filter(|(path, _)| path.ends_with("/Cargo.toml"));
    for (path, text) in manifests.filter(|(path, _)| !path.starts_with("fuzz/")) {
        assert!(text.contains("[lints]\nworkspace = true"), "{path} has no `[lints] workspace`");
    }
}
