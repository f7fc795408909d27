//! The demo page: `cargo xtask demo-page` builds examples/demo into `target/web/demo`, from where the
//! server's feature `demo` embeds it.

use anyhow::bail;

use crate::run::root;
use crate::{npm, web};

/// Where the page lies, from the repository's root.
const PAGE: &str = "examples/demo";
/// What the server embeds.
const INDEX: &str = "target/web/demo/index.html";

/// Builds the package `syncline` and the page around it.
pub(crate) fn build() -> anyhow::Result<()> {
    npm::need()?;
    web::build()?;
    build_on_package()
}

/// Builds the page on the package as it is built.
pub(crate) fn build_on_package() -> anyhow::Result<()> {
    npm::install(PAGE)?;
    npm::script(PAGE, "types")?;
    npm::script(PAGE, "build")?;
    if !root().join(INDEX).exists() {
        bail!("the page was built, but {INDEX} is not there");
    }
    Ok(())
}
