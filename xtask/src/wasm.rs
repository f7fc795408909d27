//! The wasm build: finds (or gets) a compiler with a wasm32 standard library, builds wasm-bindings
//! in a target directory of its own, and makes the JavaScript around it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::npm;
use crate::run::{cargo, command, output, root, run};

/// The folder of the crate and of the npm package around it.
pub(crate) const PACKAGE: &str = "wasm-bindings";
const TARGET: &str = "wasm32-unknown-unknown";
const DEBIAN_PACKAGES: &[&str] =
    &["rustc-web", "cargo-web", "rust-web-src", "libstd-rust-web-dev", "lld"];
/// What `wasm-opt` is to do. The features are those that browsers and Node have had since 2022:
/// `--all-features` makes a file that does not load.
const WASM_OPT: &[&str] = &[
    "-Oz",
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-multivalue",
    "--enable-call-indirect-overlong",
    "--strip-debug",
    "--strip-producers",
];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const WHAT_TO_DO: &str = "\
no compiler with a standard library for wasm32-unknown-unknown was found. Either of these gives one:
  rustup target add wasm32-unknown-unknown
  apt-get install -y --no-install-recommends rustc-web cargo-web rust-web-src libstd-rust-web-dev lld
(the second on Debian, as root; its compiler builds the standard library from source)";

/// Where a wasm32 standard library comes from.
enum Toolchain {
    /// The toolchain that runs this task has it.
    Installed,
    /// Debian's compiler, which has its source, with this linker.
    Debian { linker: PathBuf },
}

/// Builds wasm-bindings and its JavaScript, for browsers and for Node; says where that is.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let mut cargo = match toolchain()? {
        Toolchain::Installed => {
            eprintln!("wasm32: the installed toolchain");
            cargo()
        }
        Toolchain::Debian { linker } => {
            eprintln!("wasm32: Debian's rustc, building the standard library from source");
            debian_cargo(&linker)
        }
    };
    cargo.args(["build", "--locked", "--package", "syncline-wasm", "--profile", "wasm"]);
    // A directory of its own: another compiler would invalidate everything in the usual one.
    cargo.args(["--target", TARGET, "--target-dir", "target/wasm"]);
    if cargo.get_program() == DEBIAN_CARGO {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    run(&mut cargo)?;

    let module = format!("target/wasm/{TARGET}/wasm/syncline_wasm.wasm");
    let output = root().join("target/wasm/web");
    run(crate::run::cargo()
        .args(["run", "--quiet", "--locked", "--package", "xtask", "--features", "bindgen", "--"])
        .args(["bindgen", &module])
        .arg(&output))?;
    optimise(&output.join("syncline_wasm_bg.wasm"))?;
    tell_sizes(&output)?;
    Ok(output)
}

/// Makes a module smaller with `wasm-opt`, which is an npm package: without Node or npm it stays as it
/// is, which works and is larger.
fn optimise(module: &Path) -> anyhow::Result<()> {
    if let Err(why) = npm::install(PACKAGE) {
        eprintln!("wasm-opt: SKIPPED, {why:#}; the module works and is a fifth larger");
        return Ok(());
    }
    let smaller = module.with_extension("opt");
    run(command("node")
        .args(["--stack-size=65500", "wasm-bindings/node_modules/binaryen/bin/wasm-opt"])
        .args(WASM_OPT)
        .arg(module)
        .arg("-o")
        .arg(&smaller))?;
    std::fs::rename(&smaller, module)?;
    Ok(())
}

fn tell_sizes(output: &Path) -> anyhow::Result<()> {
    for name in ["syncline_wasm_bg.wasm", "syncline_wasm.js"] {
        let bytes = std::fs::read(output.join(name))?;
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        zipped.write_all(&bytes)?;
        let zipped = zipped.finish()?.len();
        eprintln!("{name}: {} bytes, gzipped {zipped}", bytes.len());
    }
    eprintln!("in {}", output.display());
    Ok(())
}

/// Writes the JavaScript for the web around a module; Node takes it too. The crate that does it is pinned by the lock
/// file to the version of `wasm-bindgen` that the module was built with.
#[cfg(feature = "bindgen")]
pub(crate) fn bindgen(module: &str, output: &str) -> anyhow::Result<()> {
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(root().join(module))
        .web(true)?
        .typescript(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(output)
}

#[cfg(not(feature = "bindgen"))]
pub(crate) fn bindgen(_module: &str, _output: &str) -> anyhow::Result<()> {
    bail!("run it with `--features bindgen`, as `cargo xtask wasm` does")
}

fn toolchain() -> anyhow::Result<Toolchain> {
    if installed_here() {
        return Ok(Toolchain::Installed);
    }
    if let Some(linker) = debian_linker() {
        return Ok(Toolchain::Debian { linker });
    }
    if output(command("rustup").args(["target", "add", TARGET])).is_some() && installed_here() {
        return Ok(Toolchain::Installed);
    }
    let is_root = output(command("id").arg("-u")).is_some_and(|id| id == "0");
    if is_root && output(command("apt-get").arg("--version")).is_some() {
        eprintln!("wasm32: rustup cannot add it here; trying Debian's packages");
        run(command("apt-get").arg("update"))?;
        run(command("apt-get")
            .args(["install", "-y", "--no-install-recommends"])
            .args(DEBIAN_PACKAGES)
            .env("DEBIAN_FRONTEND", "noninteractive"))
        .context(WHAT_TO_DO)?;
        let linker = debian_linker().context(WHAT_TO_DO)?;
        return Ok(Toolchain::Debian { linker });
    }
    bail!(WHAT_TO_DO)
}

fn rustc() -> Command {
    command(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn installed_here() -> bool {
    output(rustc().args(["--print", "sysroot"]))
        .is_some_and(|sysroot| Path::new(&sysroot).join("lib/rustlib").join(TARGET).is_dir())
}

/// The linker to use with Debian's compiler, if that is there with all that the build needs.
fn debian_linker() -> Option<PathBuf> {
    let source = Path::new("/usr/lib/rustlib/src/rust/library/std");
    let complete = [Path::new(DEBIAN_RUSTC), Path::new(DEBIAN_CARGO), source];
    if !complete.iter().all(|path| path.exists()) || !debian_rustc_is_new_enough() {
        return None;
    }
    // Debian's compiler brings none. A rustup toolchain's fits best, being about as new.
    let sysroot = output(rustc().args(["--print", "sysroot"])).unwrap_or_default();
    let host = output(rustc().arg("-vV"))
        .and_then(|text| Some(text.split_once("host: ")?.1.lines().next()?.to_owned()))
        .unwrap_or_default();
    let of_rustup = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    [of_rustup, PathBuf::from("/usr/bin/wasm-ld")].into_iter().find(|path| path.exists())
}

/// Debian stable's own `rustc` has the same place and is years older.
fn debian_rustc_is_new_enough() -> bool {
    let minor = |version: &str| version.split('.').nth(1)?.parse::<u32>().ok();
    let needed = minor(env!("CARGO_PKG_RUST_VERSION"));
    let there = output(command(DEBIAN_RUSTC).env_remove("LD_LIBRARY_PATH").arg("--version"));
    there.and_then(|version| minor(&version)) >= needed
}

fn debian_cargo(linker: &Path) -> Command {
    let mut cargo = command(DEBIAN_CARGO);
    // What rustup and the cargo around this task have set belongs to another compiler.
    for name in [
        "CARGO",
        "LD_LIBRARY_PATH",
        "RUSTUP_TOOLCHAIN",
        "RUSTDOC",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
    ] {
        cargo.env_remove(name);
    }
    cargo
        .env("RUSTC", DEBIAN_RUSTC)
        // The standard library is built from source, which is an unstable feature.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    cargo
}
