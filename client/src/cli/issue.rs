//! Commands handed to a document as fast as the device's disk allows.

use std::time::Duration;

use syncline_client::{CommandError, Document, Pending};
use syncline_engine::document::Command;
use tokio::time::sleep;

/// Issues a command; while the disk is behind, waits for it.
///
/// # Errors
/// Any but [`CommandError::StoreBusy`].
pub(crate) async fn issue(document: &Document, command: &Command) -> Result<Pending, CommandError> {
    loop {
        match document.command(command.clone()) {
            Err(CommandError::StoreBusy) => sleep(Duration::from_millis(2)).await,
            issued => return issued,
        }
    }
}
