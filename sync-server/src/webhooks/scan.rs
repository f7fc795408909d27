//! Compares how far receivers are with where the logs end: at every start, and when more documents
//! waited than are remembered. So nothing is missed, whenever the process ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use syncline_engine::ids::{Address, StreamAddress};
use syncline_engine::storage::LogStore;

use super::Shared;
use super::config::{Begin, Webhook, fit};
use super::ledger::Ledger;
use super::teller::Teller;

/// Documents that are compared at once.
const CHUNK: usize = 128;
/// How long to wait after the store could not be read.
const PAUSE: Duration = Duration::from_secs(30);

/// Puts every document that a receiver lacks something of among those that wait, as there is room.
pub(super) async fn scan(index: usize, shared: Arc<Shared>, teller: Teller) {
    let mut after: Option<Address> = None;
    loop {
        let (last, lacking) = match teller.lacking(index, after.take()).await {
            Ok((Some(last), lacking)) => (last, lacking),
            Ok((None, _)) => return,
            Err(error) => {
                tracing::error!(error, "documents cannot be compared with a webhook's places");
                tokio::time::sleep(PAUSE).await;
                return shared.waiting[index].overflow();
            }
        };
        for address in lacking {
            while !shared.waiting[index].push(&address) {
                shared.waiting[index].drained.notified().await;
            }
        }
        after = Some(last);
    }
}

/// The last document that was compared, if there was one, and those that the receiver lacks something of.
pub(super) type Chunk = (Option<Address>, Vec<Address>);

/// Compares some documents behind another one.
///
/// # Errors
/// As the store or the ledger says.
pub(super) fn lacking(
    shared: &Shared,
    index: usize,
    after: Option<&Address>,
) -> Result<Chunk, String> {
    let store = &*shared.source.store;
    let webhook = &shared.webhooks[index];
    let chunk = store.list(after, CHUNK).map_err(|error| error.to_string())?;
    let last = chunk.last().cloned();
    let mut lacking = Vec::new();
    for address in chunk {
        if !webhook.wants_space(address.space()) || StreamAddress::of(&address).is_some() {
            continue;
        }
        let place = shared.ledger.place(&webhook.name, &address).map_err(|e| e.to_string())?;
        // Of a damaged document nothing is known; whoever reads it says so.
        let end = store.head(&address).map(|head| head.map(|head| head.end));
        let is_there = matches!((&end, place), (Ok(Some(end)), Some(place))
            if place.epoch == end.epoch && place.seq == end.seq
                && place.tip.is_none_or(|tip| tip == end.tip));
        if !is_there {
            lacking.push(address);
        }
    }
    Ok((last, lacking))
}

/// Notes for receivers that are new, or are told of more spaces than before, that they have everything
/// that there is. Nothing may be appended meanwhile.
///
/// # Errors
/// As the store or the ledger says.
pub(super) fn begin(store: &dyn LogStore, ledger: &Ledger, webhooks: &[Webhook]) -> io::Result<()> {
    for webhook in webhooks {
        let before = ledger.begun(&webhook.name)?;
        if before.as_ref() == Some(&webhook.spaces) {
            continue;
        }
        if webhook.begin == Begin::Now {
            let is_new = |space: &str| {
                webhook.wants_space(space)
                    && before.as_ref().is_none_or(|before| !fit(before, space))
            };
            let count = pass_over(store, ledger, webhook, is_new)?;
            tracing::info!(webhook = webhook.name, documents = count, "a webhook begins here");
        }
        ledger.put_begun(&webhook.name, &webhook.spaces)?;
    }
    Ok(())
}

fn pass_over(
    store: &dyn LogStore,
    ledger: &Ledger,
    webhook: &Webhook,
    is_new: impl Fn(&str) -> bool,
) -> io::Result<usize> {
    let mut count = 0;
    let mut after: Option<Address> = None;
    loop {
        let chunk = store.list(after.as_ref(), CHUNK).map_err(io::Error::other)?;
        let Some(last) = chunk.last().cloned() else { return Ok(count) };
        for address in chunk.into_iter().filter(|address| is_new(address.space())) {
            if ledger.place(&webhook.name, &address)?.is_some() {
                continue;
            }
            match store.head(&address) {
                Ok(Some(head)) => {
                    ledger.put(&webhook.name, &address, &head.end.into())?;
                    count += 1;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%address, %error, "a webhook begins before this document");
                }
            }
        }
        after = Some(last);
    }
}
