//! Text editing traces: their two formats, and what each transaction has seen. Knows nothing of how
//! they are played.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;

/// Replaces `delete` characters at `index` by `insert`; positions count code points.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Patch(pub(crate) usize, pub(crate) usize, pub(crate) String);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    kind: Option<String>,
    #[serde(default)]
    start_content: String,
    end_content: String,
    num_agents: Option<usize>,
    txns: Vec<RawTransaction>,
}

#[derive(Debug, Deserialize)]
struct RawTransaction {
    parents: Option<Vec<usize>>,
    #[serde(default)]
    agent: usize,
    patches: Vec<Patch>,
}

/// Patches that one agent made in one step.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) agent: usize,
    pub(crate) patches: Vec<Patch>,
    /// For each agent, how many of its patches the text contains to which this one is applied.
    pub(crate) seen: Vec<usize>,
}

/// A trace. A sequential one is a concurrent one with a single agent.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) start: String,
    pub(crate) end: String,
    pub(crate) agents: usize,
    pub(crate) transactions: Vec<Transaction>,
}

impl Trace {
    /// Reads a file, plain or gzipped.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let mut file =
            BufReader::new(File::open(path).with_context(|| format!("can't open {name}"))?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(|| format!("can't read {name}"))?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            MultiGzDecoder::new(bytes.as_slice())
                .read_to_end(&mut plain)
                .with_context(|| format!("can't unpack {name}"))?;
            bytes = plain;
        }
        Self::parse(&bytes).with_context(|| name.to_string())
    }

    fn parse(json: &[u8]) -> anyhow::Result<Self> {
        let raw: Raw = serde_json::from_slice(json).context("not an editing trace")?;
        let concurrent = raw.kind.as_deref() == Some("concurrent");
        let agents = if concurrent { raw.num_agents.unwrap_or(0) } else { 1 };
        if agents == 0 {
            bail!("a concurrent trace needs numAgents");
        }
        let mut transactions: Vec<Transaction> = Vec::with_capacity(raw.txns.len());
        let mut made = vec![0; agents];
        // What the text contains after each transaction.
        let mut after: Vec<Vec<usize>> = Vec::with_capacity(raw.txns.len());
        for (index, txn) in raw.txns.into_iter().enumerate() {
            let implied = if concurrent { None } else { Some(index.checked_sub(1)) };
            let parents = match (implied, txn.parents) {
                (Some(parent), _) => parent.into_iter().collect(),
                (None, Some(parents)) => parents,
                (None, None) => bail!("transaction {index} names no parents"),
            };
            let mut seen = vec![0; agents];
            for parent in parents {
                let Some(version) = after.get(parent) else {
                    bail!("transaction {index} names the later parent {parent}");
                };
                for (seen, has) in seen.iter_mut().zip(version) {
                    *seen = (*seen).max(*has);
                }
            }
            let agent = if concurrent { txn.agent } else { 0 };
            let Some(own) = seen.get(agent).copied() else {
                bail!("transaction {index} is by agent {agent} of {agents}");
            };
            if own != made[agent] {
                bail!("transaction {index} has not seen all of its own agent's work");
            }
            made[agent] += txn.patches.len();
            let mut version = seen.clone();
            version[agent] += txn.patches.len();
            after.push(version);
            transactions.push(Transaction { agent, patches: txn.patches, seen });
        }
        Ok(Self { start: raw.start_content, end: raw.end_content, agents, transactions })
    }

    /// How many patches there are in all.
    pub(crate) fn patches(&self) -> usize {
        self.transactions.iter().map(|transaction| transaction.patches.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequential_trace_sees_everything_before() {
        let json = br#"{"startContent":"","endContent":"ab","txns":[
            {"time":"x","patches":[[0,0,"b"],[0,0,"x"]]},{"time":"x","patches":[[0,1,"a"]]}]}"#;
        let trace = Trace::parse(json).unwrap();
        assert_eq!((trace.agents, trace.patches()), (1, 3));
        assert_eq!(trace.transactions[1].seen, [2]);
        assert_eq!(trace.transactions[1].patches, [Patch(0, 1, "a".to_owned())]);
    }

    #[test]
    fn a_concurrent_trace_sees_what_its_parents_saw() {
        let json = br#"{"kind":"concurrent","endContent":"abc","numAgents":2,"txns":[
            {"parents":[],"numChildren":2,"agent":0,"patches":[[0,0,"a"]]},
            {"parents":[0],"numChildren":1,"agent":0,"patches":[[1,0,"b"]]},
            {"parents":[0],"numChildren":1,"agent":1,"patches":[[1,0,"c"]]},
            {"parents":[1,2],"numChildren":0,"agent":1,"patches":[[0,1,"a"]]}]}"#;
        let trace = Trace::parse(json).unwrap();
        let seen: Vec<&[usize]> = trace.transactions.iter().map(|t| t.seen.as_slice()).collect();
        assert_eq!(seen, [&[0, 0][..], &[1, 0], &[1, 0], &[2, 1]]);
    }

    #[test]
    fn traces_that_can_not_be_are_refused() {
        let forgetful = br#"{"kind":"concurrent","endContent":"","numAgents":1,"txns":[
            {"parents":[],"agent":0,"patches":[[0,0,"a"]]},
            {"parents":[],"agent":0,"patches":[[0,0,"b"]]}]}"#;
        assert!(Trace::parse(forgetful).unwrap_err().to_string().contains("its own agent's work"));
        let early = br#"{"kind":"concurrent","endContent":"","numAgents":1,"txns":[
            {"parents":[1],"agent":0,"patches":[]}]}"#;
        assert!(Trace::parse(early).unwrap_err().to_string().contains("later parent"));
        assert!(Trace::parse(b"[]").is_err());
    }
}
