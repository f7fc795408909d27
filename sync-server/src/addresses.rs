//! What one network address may do: connections at a time, connections in a second, bytes in a second.
//! A request by HTTP is a connection for as long as it takes.
//! Knows no users and no frames; what a user may do is the hub's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use syncline_engine::clock::Timestamp;
use syncline_engine::rate::Rate;

/// What was not used in this time may be used at once.
const BURST: Duration = Duration::from_secs(20);
/// The longest for which a connection is not read.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Who is told to come back should not come sooner.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Addresses above which those are looked for that are not needed any more.
const SWEEP_AT: usize = 1_024;

/// What one network address may do. A zero stands for no limit. Of IPv6 the first 64 bits count: that
/// is what one customer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressLimits {
    /// Connections at a time.
    pub connections_max: u32,
    /// Connections opened in a second.
    pub connects_per_s: u32,
    /// Bytes of messages sent in a second.
    pub bytes_per_s: u32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connects_per_s: 500,
            bytes_per_s: 64 << 20,
            trusted_proxies: Vec::new(),
        }
    }
}

impl AddressLimits {
    /// No limits.
    #[must_use]
    pub fn none() -> Self {
        Self { connections_max: 0, connects_per_s: 0, bytes_per_s: 0, ..Self::default() }
    }
}

#[derive(Debug, Default)]
struct Use {
    connections: u32,
    connects: Rate,
    bytes: Rate,
}

#[derive(Debug)]
struct Table {
    by_address: BTreeMap<IpAddr, Use>,
    sweep_at: usize,
}

/// Everything that is known of addresses.
#[derive(Debug)]
pub(crate) struct Addresses {
    limits: AddressLimits,
    began: Instant,
    table: Mutex<Table>,
}

impl Addresses {
    pub(crate) fn new(limits: AddressLimits) -> Arc<Self> {
        let table = Table { by_address: BTreeMap::new(), sweep_at: SWEEP_AT };
        Arc::new(Self { limits, began: Instant::now(), table: Mutex::new(table) })
    }

    /// Who is behind a request: its peer, or whom a trusted proxy names.
    pub(crate) fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let trusts = |address: &IpAddr| self.limits.trusted_proxies.contains(address);
        let peer = peer.to_canonical();
        if !trusts(&peer) {
            return peer;
        }
        // Each proxy appends whom it heard; what stands before the first that is not ours may be
        // anybody's invention.
        let named = headers.get_all("x-forwarded-for").into_iter();
        let named =
            named.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let named: Vec<&str> = named.collect();
        let parsed = named.iter().rev().map_while(|name| name.trim().parse::<IpAddr>().ok());
        let mut origin = peer;
        for address in parsed.map(|address| address.to_canonical()) {
            origin = address;
            if !trusts(&address) {
                break;
            }
        }
        origin
    }

    /// A place for one more connection of an address.
    ///
    /// # Errors
    /// After how long there may be one.
    pub(crate) fn seat(self: &Arc<Self>, origin: IpAddr) -> Result<Seat, Duration> {
        let (key, now) = (key(origin), self.now());
        let mut table = self.table();
        table.sweep(now);
        let of = table.by_address.entry(key).or_default();
        let ahead = of.connects.ahead(now, BURST);
        let full = self.limits.connections_max > 0 && of.connections >= self.limits.connections_max;
        if full || !ahead.is_zero() {
            return Err(ahead.max(RETRY_MIN));
        }
        of.connects.take(now, 1, self.limits.connects_per_s);
        of.connections += 1;
        Ok(Seat { addresses: Arc::clone(self), key })
    }

    /// A place for a request of an address.
    ///
    /// # Errors
    /// After how long there may be one.
    pub(crate) fn request(self: &Arc<Self>, origin: IpAddr) -> Result<Seat, Duration> {
        let ahead = {
            let table = self.table();
            let of = table.by_address.get(&key(origin));
            of.map_or(Duration::ZERO, |of| of.bytes.ahead(self.now(), BURST))
        };
        // A connection that sends too fast is read more slowly; a request has nothing to be slow with.
        if ahead.is_zero() { self.seat(origin) } else { Err(ahead.max(RETRY_MIN)) }
    }

    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in here can panic halfway through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn sweep(&mut self, now: Timestamp) {
        if self.by_address.len() >= self.sweep_at {
            self.by_address.retain(|_, of| {
                of.connections > 0 || !of.connects.is_at_rest(now) || !of.bytes.is_at_rest(now)
            });
            self.sweep_at = (2 * self.by_address.len()).max(SWEEP_AT);
        }
    }
}

/// One connection's place among those of its address.
#[derive(Debug)]
pub(crate) struct Seat {
    addresses: Arc<Addresses>,
    key: IpAddr,
}

impl Seat {
    /// Counts what was read, and answers for how long nothing more should be.
    pub(crate) fn has_read(&self, bytes: usize) -> Duration {
        let now = self.addresses.now();
        let mut table = self.addresses.table();
        let of = table.by_address.entry(self.key).or_default();
        of.bytes.take(now, bytes as u64, self.addresses.limits.bytes_per_s);
        of.bytes.ahead(now, BURST).min(PAUSE_MAX)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(of) = self.addresses.table().by_address.get_mut(&self.key) {
            of.connections = of.connections.saturating_sub(1);
        }
    }
}

fn key(origin: IpAddr) -> IpAddr {
    match origin {
        IpAddr::V4(_) => origin,
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_seats_and_gets_them_back() {
        let addresses =
            Addresses::new(AddressLimits { connections_max: 2, ..AddressLimits::default() });
        let (one, two) = (addresses.seat(address("10.0.0.1")), addresses.seat(address("10.0.0.1")));
        assert!(one.is_ok() && two.is_ok());
        assert!(addresses.seat(address("10.0.0.1")).is_err());
        assert!(addresses.seat(address("10.0.0.2")).is_ok());
        drop(one);
        assert!(addresses.seat(address("10.0.0.1")).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let addresses =
            Addresses::new(AddressLimits { connections_max: 1, ..AddressLimits::default() });
        let _one = addresses.seat(address("2001:db8::1")).unwrap();
        assert!(addresses.seat(address("2001:db8::2")).is_err());
        assert!(addresses.seat(address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn connecting_and_sending_have_a_pace() {
        let limits = AddressLimits { connects_per_s: 1, bytes_per_s: 10, ..AddressLimits::none() };
        let addresses = Addresses::new(limits);
        let mut seats: Vec<Seat> =
            (0..20).map(|_| addresses.seat(address("10.0.0.1")).unwrap()).collect();
        assert!((0..5).any(|_| addresses.seat(address("10.0.0.1")).is_err()));
        let seat = seats.pop().unwrap();
        assert_eq!(seat.has_read(100), Duration::ZERO);
        assert!(seat.has_read(150) > Duration::ZERO);
        assert_eq!(seat.has_read(1 << 40), PAUSE_MAX);
    }

    #[test]
    fn who_has_sent_too_much_asks_nothing_for_as_long_as_that_takes() {
        let limits = AddressLimits { bytes_per_s: 10, ..AddressLimits::none() };
        let addresses = Addresses::new(limits);
        let place = addresses.request(address("10.0.0.1")).unwrap();
        place.has_read(1_000);
        let wait = addresses.request(address("10.0.0.1")).unwrap_err();
        assert!((70..=80).contains(&wait.as_secs()), "{wait:?}");
        assert!(addresses.seat(address("10.0.0.1")).is_ok(), "connections are read more slowly");
        assert!(addresses.request(address("10.0.0.2")).is_ok());
    }

    #[test]
    fn only_a_trusted_proxy_is_asked_for_whom_it_speaks() {
        let trusted_proxies = vec![address("10.0.0.9"), address("10.0.0.8")];
        let addresses = Addresses::new(AddressLimits { trusted_proxies, ..AddressLimits::none() });
        let origin = |peer: &str, forwarded: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", axum::http::HeaderValue::from_static(value));
            }
            addresses.origin(address(peer), &headers).to_string()
        };
        assert_eq!(origin("192.0.2.1", &["203.0.113.5"]), "192.0.2.1");
        assert_eq!(origin("10.0.0.9", &["203.0.113.5"]), "203.0.113.5");
        assert_eq!(origin("::ffff:10.0.0.9", &["6.6.6.6, 203.0.113.5, 10.0.0.8"]), "203.0.113.5");
        assert_eq!(origin("10.0.0.9", &["6.6.6.6", "203.0.113.5"]), "203.0.113.5");
        assert_eq!(origin("10.0.0.9", &["nonsense"]), "10.0.0.9");
        assert_eq!(origin("10.0.0.9", &[]), "10.0.0.9");
    }

    #[test]
    fn addresses_that_are_gone_are_forgotten() {
        let addresses = Addresses::new(AddressLimits::none());
        for number in 0..10_000_u32 {
            drop(addresses.seat(IpAddr::V4(number.into())));
        }
        assert!(addresses.table().by_address.len() <= SWEEP_AT);
    }
}
