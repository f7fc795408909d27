//! A version of a document, as a page is sent it. Must never know who looks.

use bytes::Bytes;
use serde_json::json;
use syncline_engine::document::View;
use syncline_engine::document::shown::{Viewer, content};
use syncline_engine::ids::{Address, ChangeHash, Epoch};

use super::cursor::to_hex;

/// A version of a document, ready to be sent.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Names this version and no other.
    pub(crate) etag: String,
    /// The body.
    pub(crate) body: Bytes,
}

impl Shown {
    /// Renders a version.
    pub(crate) fn new(
        address: &Address,
        epoch: Epoch,
        seq: Option<u64>,
        heads: &[ChangeHash],
        view: &View,
    ) -> Self {
        let body = json!({
            "address": address.to_string(),
            "epoch": to_hex(&epoch.0),
            "seq": seq,
            "heads": heads.iter().map(|head| to_hex(&head.0)).collect::<Vec<_>>(),
            address.facet().as_str(): content(view, Viewer::Anybody),
        });
        Self { etag: etag(heads), body: body.to_string().into() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        Self { etag: String::new(), body: vec![0; bytes].into() }
    }
}

/// The entity tag of a document with these heads: what two versions have in common if they are the same.
pub(crate) fn etag(heads: &[ChangeHash]) -> String {
    let digest = syncline_engine::ids::heads_digest(heads.iter().copied());
    format!("\"{}\"", to_hex(&digest))
}
