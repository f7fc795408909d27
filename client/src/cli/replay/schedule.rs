//! Who plays which event, when a client is offline, and when something is killed. All of it follows
//! from the seed; nothing here touches a client.

use sha2::{Digest, Sha256};

use crate::cli::random::SplitMix64;

/// The client that plays a user's events: users are spread by their digest, so that the order in which
/// they appear does not matter.
pub(crate) fn client_of(user: &str, seed: u64, clients: usize) -> usize {
    let digest = Sha256::digest(user);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    SplitMix64::stream(seed, u64::from_le_bytes(bytes)).index(clients)
}

/// One client's way through being online and offline, counted in events that it played.
///
/// The length of an offline stretch is drawn before it begins; it begins as soon as the share played
/// offline would be right in its middle. So the share comes out about right also when stretches are
/// cut short because everything left needs the network.
#[derive(Debug)]
pub(crate) struct Connectivity {
    random: SplitMix64,
    share: f64,
    /// The longest offline stretch.
    longest: u64,
    online: bool,
    /// Offline: how much of the stretch is left. Online: how long the next one is to be.
    offline_stretch: u64,
    /// Online at least for so many events more, so that being online is of some use.
    online_stretch: u64,
    played: u64,
    played_offline: u64,
}

/// The longest that a client must stay online once it is.
const ONLINE_EVENTS_MIN: u64 = 8;

impl Connectivity {
    /// For a client with about `events` events, of which `share` (0 to 1) are to be played offline.
    pub(crate) fn new(seed: u64, client: usize, events: usize, share: f64) -> Self {
        let mut this = Self {
            random: SplitMix64::stream(seed, 0x0ff1_14e0 + client as u64),
            share: share.clamp(0.0, 1.0),
            // A handful of stretches even for few events; long ones for many.
            longest: (events as u64 / 6).clamp(4, 400),
            online: true,
            offline_stretch: 0,
            online_stretch: 0,
            played: 0,
            played_offline: 0,
        };
        this.draw();
        this
    }

    fn draw(&mut self) {
        self.offline_stretch = 1 + self.random.below(self.longest);
        self.online_stretch = 1 + self.random.below(ONLINE_EVENTS_MIN);
    }

    pub(crate) const fn online(&self) -> bool {
        self.online
    }

    pub(crate) const fn played_offline(&self) -> u64 {
        self.played_offline
    }

    /// An event was played in the present state. Says whether the state changed by it.
    pub(crate) fn played(&mut self) -> bool {
        self.played += 1;
        if self.online {
            self.online_stretch = self.online_stretch.saturating_sub(1);
            self.online = !(self.online_stretch == 0 && self.is_time_to_leave());
            return !self.online;
        }
        self.played_offline += 1;
        self.offline_stretch -= 1;
        if self.offline_stretch == 0 {
            self.come_online();
        }
        self.online
    }

    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn is_time_to_leave(&self) -> bool {
        let half = self.offline_stretch as f64 / 2.0;
        self.share > 0.0
            && self.played_offline as f64 + half <= self.share * (self.played as f64 + half)
    }

    /// Everything left needs the network: an offline stretch ends here.
    pub(crate) fn come_online(&mut self) {
        if !self.online {
            self.online = true;
            self.draw();
        }
    }
}

/// The moments, in events dispatched, at which something is killed: `kills` of them, in order, spread
/// over the middle of the run.
pub(crate) fn kill_moments(seed: u64, purpose: u64, kills: usize, events: u64) -> Vec<u64> {
    let mut random = SplitMix64::stream(seed, purpose);
    let mut moments: Vec<u64> =
        (0..kills).map(|_| events / 20 + random.below((events * 9 / 10).max(1))).collect();
    moments.sort_unstable();
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offline_share_comes_out_about_right() {
        for (events, share, slack) in [(200, 0.3, 0.1), (5_000, 0.3, 0.03), (5_000, 0.8, 0.03)] {
            let mut connectivity = Connectivity::new(7, 3, events, share);
            for _ in 0..events {
                connectivity.played();
            }
            let came_out = connectivity.played_offline() as f64 / events as f64;
            assert!((came_out - share).abs() < slack, "{came_out} instead of {share}");
        }
    }

    #[test]
    fn cut_short_stretches_are_made_up_for() {
        let mut connectivity = Connectivity::new(1, 0, 4_000, 0.3);
        let mut cut = SplitMix64::new(9);
        for _ in 0..4_000 {
            connectivity.played();
            if cut.below(10) == 0 {
                connectivity.come_online();
            }
        }
        let came_out = connectivity.played_offline() as f64 / 4_000.0;
        assert!((came_out - 0.3).abs() < 0.06, "{came_out}");
    }

    #[test]
    fn a_share_of_nothing_never_goes_offline() {
        let mut connectivity = Connectivity::new(1, 0, 1_000, 0.0);
        assert!((0..1_000).all(|_| !connectivity.played() && connectivity.online()));
    }

    #[test]
    fn users_are_spread_over_all_clients_and_follow_the_seed() {
        let spread = |seed| -> Vec<usize> {
            (0..64).map(|user| client_of(&format!("u{user}"), seed, 8)).collect()
        };
        let first = spread(1);
        assert!((0..8).all(|client| first.contains(&client)));
        assert_eq!(first, spread(1));
        assert_ne!(first, spread(2));
    }

    #[test]
    fn kills_come_in_order_and_not_at_the_very_ends() {
        let moments = kill_moments(3, 1, 5, 1_000);
        assert_eq!(moments.len(), 5);
        assert!(moments.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(moments.iter().all(|at| (50..950).contains(at)));
    }
}
