//! With the feature `demo`: writes down which files `cargo xtask demo-page` has built, so that they become
//! part of the binary. Without it, does nothing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What a browser has to be told that a file is; what is none of these does not belong to a page.
const KINDS: &[(&str, &str)] = &[
    ("css", "text/css; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("wasm", "application/wasm"),
    ("webmanifest", "application/manifest+json"),
    ("woff2", "font/woff2"),
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_DEMO").is_none() {
        return Ok(());
    }
    println!("cargo::rerun-if-env-changed=SYNCLINE_DEMO_PAGE");
    let folder = match env::var_os("SYNCLINE_DEMO_PAGE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/web/demo"),
    };
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut table = String::from("&[");
    if folder.join("index.html").exists() {
        let folder = folder.canonicalize()?;
        let mut paths = Vec::new();
        list(&folder, &mut paths)?;
        paths.sort();
        for path in &paths {
            describe(&folder, path, &mut table);
        }
    } else {
        // So that everything can be checked with all features where there is no Node.js.
        println!("cargo::warning=there is no page in target/web/demo: run `cargo xtask demo-page`");
    }
    table.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    fs::write(out.join("demo_files.rs"), table)
}

fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// Adds a file to the table, unless it is a packed form of another.
fn describe(folder: &Path, path: &Path, table: &mut String) {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == extension) else { return };
    let Ok(name) = path.strip_prefix(folder) else { return };
    let name = name.to_string_lossy().replace('\\', "/");
    let name = if name == "index.html" { "" } else { name.as_str() };
    let included = |suffix: &str| {
        let packed = format!("{}{suffix}", path.display());
        Path::new(&packed).exists().then(|| format!("include_bytes!({packed:?})"))
    };
    let optional = |suffix: &str| {
        included(suffix).map_or_else(|| "None".to_owned(), |bytes| format!("Some({bytes})"))
    };
    let plain = format!("include_bytes!({:?})", path.display().to_string());
    let _ = writeln!(
        table,
        "File {{ path: {:?}, kind: {kind:?}, plain: {plain}, brotli: {}, gzip: {} }},",
        format!("/{name}"),
        optional(".br"),
        optional(".gz"),
    );
}
