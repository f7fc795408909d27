//! What a replay says at its end: a table for people, one line of JSON for programs.

use serde::Serialize;

use crate::cli::statistics::Percentiles;
use crate::cli::table::table;

/// The figures of a run. The fields and their order are an interface.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) events: u64,
    pub(crate) clients: usize,
    pub(crate) converged: bool,
    pub(crate) state_matches: bool,
    pub(crate) state_sha256: String,
    pub(crate) live_likes: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) wall_s: f64,
    pub(crate) events_per_s: f64,
    pub(crate) delivery_ms: Option<Percentiles>,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
}

/// What only people are told.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    pub(crate) offline_events: u64,
    pub(crate) samples: usize,
    pub(crate) servers_killed: usize,
    pub(crate) clients_killed: usize,
}

impl Report {
    pub(crate) const fn is_good(&self) -> bool {
        self.converged && self.state_matches
    }

    /// The table.
    pub(crate) fn table(&self, remarks: &Remarks) -> String {
        let yes = |yes: bool| if yes { "yes" } else { "NO" }.to_owned();
        let delivery = self.delivery_ms.map_or_else(
            || "not measured".to_owned(),
            |d| format!("p50 {} ms, p99 {} ms ({} samples)", d.p50, d.p99, remarks.samples),
        );
        #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let offline = 100.0 * remarks.offline_events as f64 / self.events.max(1) as f64;
        let mut rows = vec![
            ("events", self.events.to_string()),
            ("clients", self.clients.to_string()),
            ("played offline", format!("{} ({offline:.0} %)", remarks.offline_events)),
        ];
        if remarks.servers_killed + remarks.clients_killed > 0 {
            let killed =
                format!("server {}, clients {}", remarks.servers_killed, remarks.clients_killed);
            rows.push(("killed", killed));
        }
        rows.extend([
            ("replicas agree", yes(self.converged)),
            ("state matches the file", yes(self.state_matches)),
            ("state sha256", self.state_sha256.clone()),
            ("live likes", self.live_likes.to_string()),
            ("lost, duplicated", format!("{}, {}", self.lost, self.duplicated)),
            ("played and synced in", format!("{:.1} s", self.wall_s)),
            ("events per second", format!("{:.0}", self.events_per_s)),
            ("delivery", delivery),
            ("bytes sent, received", format!("{}, {}", self.bytes_sent, self.bytes_received)),
        ]);
        table(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_exactly_the_promised_fields_in_order() {
        let report = Report {
            events: 290,
            clients: 8,
            converged: true,
            state_matches: true,
            state_sha256: "ab".to_owned(),
            live_likes: 218,
            lost: 0,
            duplicated: 0,
            wall_s: 1.5,
            events_per_s: 193.3,
            delivery_ms: Some(Percentiles { p50: 1.0, p99: 9.5 }),
            bytes_sent: 10,
            bytes_received: 20,
        };
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"events":290,"clients":8,"converged":true,"state_matches":true,"state_sha256":"ab","#
                .to_owned()
                + r#""live_likes":218,"lost":0,"duplicated":0,"wall_s":1.5,"events_per_s":193.3,"#
                + r#""delivery_ms":{"p50":1.0,"p99":9.5},"bytes_sent":10,"bytes_received":20}"#
        );
        assert!(report.is_good());
        assert!(report.table(&Remarks::default()).contains("replicas agree          yes\n"));
    }
}
