//! Who connects from where: how many connections an address has, and how fast it makes new ones.
//!
//! An IPv6 address counts by its first 64 bits, which is what one customer is given; else whoever has a network would
//! have as many addresses as connections. What is remembered of an address is dropped when nothing can come of it any
//! more: it has no connection and has made none for as long as its bucket takes to fill.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::RateLimiter;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;

use super::config::AddressLimits;
use super::pace::{RuntimeClock, quota};

/// Most addresses whose rate is remembered. With a second to fill a bucket: how many may come from in one second.
const RATES_MAX: usize = 65_536;

/// Fewest rates before those that tell nothing any more are looked for.
const SWEEP_MIN: usize = 1024;

/// Why an address gets no further connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// It has as many as it may have.
    Open,
    /// It makes them too fast, or too many others do.
    Rate,
}

type Rates<C> = RateLimiter<IpAddr, HashMapStateStore<IpAddr>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// What is known of all addresses.
#[derive(Debug)]
pub(super) struct Addresses<C: Clock = RuntimeClock> {
    limits: AddressLimits,
    table: Mutex<Table>,
    rates: Option<Rates<C>>,
}

#[derive(Debug)]
struct Table {
    /// Open connections; no entry is 0.
    open: HashMap<IpAddr, usize>,
    /// With so many rates it is time to sweep.
    sweep_at: usize,
}

/// A connection's place among those of its address, which ends with it.
#[derive(Debug)]
pub(super) struct Place<C: Clock = RuntimeClock> {
    addresses: Arc<Addresses<C>>,
    /// `None`: this address is not counted.
    address: Option<IpAddr>,
}

impl Addresses {
    pub(super) fn new(limits: AddressLimits) -> Arc<Self> {
        Self::with_clock(limits, RuntimeClock)
    }
}

impl<C: Clock> Addresses<C> {
    fn with_clock(limits: AddressLimits, clock: C) -> Arc<Self> {
        let rates = quota(limits.connections_per_second_max).map(|quota| Rates::hashmap_with_clock(quota, clock));
        let table = Mutex::new(Table { open: HashMap::new(), sweep_at: SWEEP_MIN });
        Arc::new(Self { limits, table, rates })
    }

    /// A place for a new connection from there.
    ///
    /// # Errors
    /// [`Excess`]; nothing is remembered of the attempt.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Place<C>, Excess> {
        let Some(address) = self.counted(peer) else {
            return Ok(Place { addresses: Arc::clone(self), address: None });
        };
        let mut table = self.table();
        let max = self.limits.connections_max;
        if max > 0 && table.open.get(&address).is_some_and(|open| *open >= max) {
            return Err(Excess::Open);
        }
        if let Some(rates) = &self.rates {
            if rates.len() >= table.sweep_at {
                rates.retain_recent();
                rates.shrink_to_fit();
                table.sweep_at = (rates.len() * 2).clamp(SWEEP_MIN, RATES_MAX);
            }
            if rates.len() >= RATES_MAX || rates.check_key(&address).is_err() {
                return Err(Excess::Rate);
            }
        }
        *table.open.entry(address).or_default() += 1;
        Ok(Place { addresses: Arc::clone(self), address: Some(address) })
    }

    /// What a peer is counted as; `None` if it is not.
    fn counted(&self, peer: IpAddr) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        let is_exempt = (peer.is_loopback() && !self.limits.is_loopback_counted) || self.limits.exempt.contains(&peer);
        (!is_exempt).then(|| match peer {
            IpAddr::V4(_) => peer,
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics between two halves of a change: a poisoned lock holds a whole table.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock> Drop for Place<C> {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut table = self.addresses.table();
        if let Some(open) = table.open.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                table.open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn addresses(
        connections_max: usize,
        connections_per_second_max: u32,
    ) -> (Arc<Addresses<FakeRelativeClock>>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let limits = AddressLimits { connections_max, connections_per_second_max, ..AddressLimits::default() };
        (Addresses::with_clock(limits, clock.clone()), clock)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of `count` connections at once from there are admitted; they stay open as long as what is answered.
    fn admitted(
        addresses: &Arc<Addresses<FakeRelativeClock>>,
        peer: &str,
        count: usize,
    ) -> Vec<Place<FakeRelativeClock>> {
        (0..count).filter_map(|_| addresses.admit(ip(peer)).ok()).collect()
    }

    #[test]
    fn an_address_has_so_many_connections_at_a_time() {
        let (addresses, _) = addresses(2, 0);
        let mut open = admitted(&addresses, "192.0.2.1", 5);
        assert_eq!(open.len(), 2);
        assert_eq!(addresses.admit(ip("192.0.2.1")).err(), Some(Excess::Open));
        assert!(addresses.admit(ip("192.0.2.2")).is_ok(), "another address has its own");
        open.pop();
        assert!(addresses.admit(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn an_address_makes_so_many_connections_a_second() {
        let (addresses, clock) = addresses(0, 2);
        assert_eq!(admitted(&addresses, "192.0.2.1", 5).len(), 2);
        assert_eq!(addresses.admit(ip("192.0.2.1")).err(), Some(Excess::Rate));
        assert_eq!(admitted(&addresses, "192.0.2.2", 5).len(), 2);
        clock.advance(Duration::from_millis(500));
        assert_eq!(admitted(&addresses, "192.0.2.1", 5).len(), 1);
    }

    #[test]
    fn a_network_of_64_bits_is_one_address_and_a_mapped_one_is_what_it_maps() {
        let (addresses, _) = addresses(1, 0);
        let _open = [admitted(&addresses, "2001:db8:1:2::3", 1), admitted(&addresses, "192.0.2.1", 1)];
        for same in ["2001:db8:1:2:ffff::", "::ffff:192.0.2.1"] {
            assert_eq!(addresses.admit(ip(same)).err(), Some(Excess::Open), "{same}");
        }
        for other in ["2001:db8:1:3::3", "::ffff:192.0.2.2"] {
            assert!(addresses.admit(ip(other)).is_ok(), "{other}");
        }
    }

    #[test]
    fn loopback_and_proxies_are_not_counted() {
        let exempt = vec![ip("192.0.2.7")];
        let limits = AddressLimits { connections_max: 1, connections_per_second_max: 1, exempt, ..Default::default() };
        let addresses = Addresses::with_clock(limits.clone(), FakeRelativeClock::default());
        for free in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "192.0.2.7", "::ffff:192.0.2.7"] {
            assert_eq!(admitted(&addresses, free, 3).len(), 3, "{free}");
        }
        assert_eq!(admitted(&addresses, "192.0.2.8", 3).len(), 1);
        let limits = AddressLimits { is_loopback_counted: true, ..limits };
        let addresses = Addresses::with_clock(limits, FakeRelativeClock::default());
        assert_eq!(admitted(&addresses, "127.0.0.1", 3).len(), 1);
    }

    #[test]
    fn nothing_is_remembered_of_who_is_gone() {
        let (addresses, clock) = addresses(10, 10);
        for round in 0..100_u32 {
            for index in 0..1000 {
                let address = IpAddr::from((round * 1000 + index).to_be_bytes());
                drop(addresses.admit(if address.is_loopback() { ip("192.0.2.1") } else { address }));
            }
            clock.advance(Duration::from_secs(1));
        }
        let rates = addresses.rates.as_ref().unwrap().len();
        assert!(rates <= 2 * SWEEP_MIN, "{rates}");
        assert_eq!(addresses.table().open.len(), 0);
    }

    #[test]
    fn more_addresses_than_are_remembered_wait_until_some_are_forgotten() {
        let (addresses, clock) = addresses(0, 1);
        // From 10.0.0.0 on.
        let admit = |index: u32| addresses.admit(IpAddr::from((0x0a00_0000 + index).to_be_bytes()));
        let admitted = (0..2 * RATES_MAX as u32).filter(|index| admit(*index).is_ok()).count();
        assert_eq!(admitted, RATES_MAX);
        clock.advance(Duration::from_secs(2));
        assert!(admit(0x00ff_ffff).is_ok());
    }
}
