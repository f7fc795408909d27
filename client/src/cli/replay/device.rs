//! One device of a replay: a client with a store of its own and a bounded number of open documents. It
//! can be taken away without goodbye and come back on its store.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use syncline_client::{Client, Document};
use syncline_engine::ids::Address;
use tokio::time::{Instant, sleep};

use super::plan::{Need, Plan};
use super::seen;

/// How long a killed client's store may stay locked.
const UNLOCK_WITHIN: Duration = Duration::from_secs(20);

/// Where and as whom a device works.
#[derive(Debug, Clone)]
pub(crate) struct DeviceConfig {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) store: PathBuf,
    /// The most documents that are open at a time.
    pub(crate) documents_max: usize,
}

/// A client and its open documents, the least recently used of which is closed for a new one.
pub(crate) struct Device {
    config: DeviceConfig,
    client: Client,
    documents: HashMap<Address, (Document, u64)>,
    by_use: BTreeMap<u64, Address>,
    uses: u64,
    /// Items that were seen once: nothing ever takes an item away.
    known: HashSet<String>,
}

impl Device {
    pub(crate) async fn open(config: DeviceConfig, online: bool) -> anyhow::Result<Self> {
        let client = open_client(&config, online).await?;
        Ok(Self {
            config,
            client,
            documents: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            known: HashSet::new(),
        })
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// The document, opened if it is not open.
    pub(crate) async fn document(&mut self, address: &Address) -> anyhow::Result<Document> {
        self.uses += 1;
        if let Some((document, used)) = self.documents.get_mut(address) {
            self.by_use.remove(used);
            *used = self.uses;
            self.by_use.insert(self.uses, address.clone());
            return Ok(document.clone());
        }
        let document = open(&self.client, address).await?;
        self.keep(address, document.clone());
        Ok(document)
    }

    fn keep(&mut self, address: &Address, document: Document) {
        if self.documents.len() >= self.config.documents_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.documents.remove(&oldest);
        }
        self.uses += 1;
        self.documents.insert(address.clone(), (document, self.uses));
        self.by_use.insert(self.uses, address.clone());
    }

    pub(crate) fn has_open(&self, address: &Address) -> bool {
        self.documents.contains_key(address)
    }

    /// Whether the item was seen here before.
    pub(crate) fn knows(&self, item: &str) -> bool {
        self.known.contains(item)
    }

    /// Opens those that are not open, all at once.
    pub(crate) async fn open_all(&mut self, addresses: BTreeSet<Address>) -> anyhow::Result<()> {
        let closed: Vec<Address> =
            addresses.into_iter().filter(|address| !self.has_open(address)).collect();
        let client = &self.client;
        let opened = try_join_all(closed.iter().map(|address| open(client, address))).await?;
        for (address, document) in closed.iter().zip(opened) {
            self.keep(address, document);
        }
        Ok(())
    }

    /// Whether what an event needs is in this device's replica.
    pub(crate) async fn has(&mut self, plan: &Plan, need: Need<'_>) -> anyhow::Result<bool> {
        let item = match need {
            Need::Nothing => return Ok(true),
            Need::Item(item) if self.known.contains(item) => return Ok(true),
            Need::Item(item) | Need::Text { item, .. } => item,
        };
        let document = self.document(&plan.place_of(item)?).await?;
        let met = document.with_view(|view| seen::is_met(plan, need, view));
        if met {
            self.known.insert(item.to_owned());
        }
        Ok(met)
    }

    /// Lets go of the documents and hands out the client.
    pub(crate) fn close_documents(self) -> Client {
        self.client
    }

    /// Takes the client away as a crash would: nothing is flushed, nobody is told.
    pub(crate) async fn crash(self) -> DeviceConfig {
        self.client.abort().await;
        self.config
    }
}

async fn open(client: &Client, address: &Address) -> anyhow::Result<Document> {
    let opened = client.document_for_writing(address).await;
    opened.with_context(|| format!("can't open {address}"))
}

/// Opens a client, waiting a while for one before it on the same store to be gone.
async fn open_client(config: &DeviceConfig, online: bool) -> anyhow::Result<Client> {
    let deadline = Instant::now() + UNLOCK_WITHIN;
    loop {
        let opened = Client::builder(&config.url)
            .user(&config.user)
            .data_dir(&config.store)
            .online(online)
            .open()
            .await;
        match opened {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => {
                return Err(error)
                    .with_context(|| format!("can't open the store {}", config.store.display()));
            }
            // The one before lets go of its lock a moment after it is dropped.
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}
