//! The bounds on connections: in all, and for each source. Each holds a slot for as long as its socket is open.
//!
//! At the bound over all, whoever holds many is turned away and whoever holds few still comes in, up to a
//! bound a little above it: otherwise one source could shut out all others by filling the places.
//!
//! Callers: `gateway::worker` takes a slot for each accepted socket, or turns it away; the wire keeps it.
//! Nothing here is asked again while a connection lives, so no request waits for it.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::request::Limits;
use crate::telemetry::metrics::{ConnectionRefused, Metrics, Open};

/// So many threads at once meet in one shard rarely, and each stays for nanoseconds.
const SHARDS: usize = 64;
/// Connections that are being told at once that there are too many; the others are just closed.
const TURNED_AWAY: usize = 256;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    /// In all.
    pub(super) all: usize,
    /// For one source; `None` for any number.
    pub(super) per_source: Option<usize>,
}

impl ConnectionLimits {
    /// As configured, as far as there is `room` for them.
    pub(super) fn of(limits: &Limits, room: usize) -> Self {
        // What is let in above the limit has to fit as well.
        let fitting = (room / 9).saturating_mul(8).max(1);
        Self { all: limits.connections.min(fitting), per_source: limits.connections_per_ip }
    }

    /// What a source may hold that is let in above the limit.
    fn few(self) -> usize {
        (self.all / 50).max(1)
    }

    /// Never more than these.
    pub(super) fn most(self) -> usize {
        self.all.saturating_add((self.all / 8).max(4))
    }
}

/// Which limit keeps a connection out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Full {
    #[error("limits.connections is reached")]
    All,
    #[error("limits.connections_per_ip is reached")]
    Source,
}

/// The connections that are open. One for the process, shared by its threads.
pub(super) struct Connections {
    hasher: RandomState,
    metrics: Metrics,
    open: AtomicUsize,
    refusals: Refusals,
    /// Each source that has a connection, and how many.
    sources: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    turned_away: AtomicUsize,
}

impl Connections {
    /// None yet.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            hasher: RandomState::new(),
            metrics,
            open: AtomicUsize::new(0),
            refusals: Refusals {
                since: Instant::now(),
                second: AtomicU64::new(u64::MAX),
                untold: AtomicUsize::new(0),
            },
            sources: std::array::from_fn(|_| Mutex::default()),
            turned_away: AtomicUsize::new(0),
        }
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A connection was turned away. How many were since the last time that it was to be told, where it is again.
    pub(super) fn refused(&self) -> Option<usize> {
        self.refusals.add()
    }

    /// The right to tell a connection that there are too many; `None`: it has to be closed without a word.
    pub(super) fn turn_away(self: &Arc<Self>) -> Option<TurnedAway> {
        let under_way = self.turned_away.fetch_add(1, Ordering::Relaxed);
        // Dropping it gives it back also where it was one too many.
        let turned_away = TurnedAway(Arc::clone(self));
        (under_way < TURNED_AWAY).then_some(turned_away)
    }

    /// One more of this source; gives how many it has now.
    fn count(&self, source: IpAddr) -> usize {
        let mut sources = self.shard(source).lock().unwrap_or_else(PoisonError::into_inner);
        let held = sources.entry(source).or_default();
        *held += 1;
        *held
    }

    fn discount(&self, source: IpAddr) {
        let mut sources = self.shard(source).lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut held) = sources.entry(source) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }

    fn shard(&self, source: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        let hash = self.hasher.hash_one(source);
        &self.sources[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }
}

/// One of the connections that may be open at once.
pub(super) struct Slot {
    /// `None` for one too many, which is no slot and goes at once.
    _counted: Option<Open>,
    connections: Arc<Connections>,
    source: IpAddr,
}

impl Slot {
    /// One that is free for `peer`. A trusted proxy brings everybody's connections: how many it may have is
    /// bounded by the limit over all alone.
    pub(super) fn take(
        connections: &Arc<Connections>,
        peer: IpAddr,
        trusted: bool,
        limits: ConnectionLimits,
    ) -> Result<Self, Full> {
        let source = source(peer);
        let held = connections.count(source);
        let open = connections.open.fetch_add(1, Ordering::Relaxed) + 1;
        // Dropping it gives both back also where it was one too many.
        let mut slot = Self { _counted: None, connections: Arc::clone(connections), source };
        let refuse = |full, why| {
            connections.metrics.connection_refused(why);
            Err(full)
        };
        if !trusted && limits.per_source.is_some_and(|most| held > most) {
            return refuse(Full::Source, ConnectionRefused::PerSource);
        }
        let most = if !trusted && held <= limits.few() { limits.most() } else { limits.all };
        if open > most {
            return refuse(Full::All, ConnectionRefused::Limit);
        }
        slot._counted = Some(connections.metrics.connection());
        Ok(slot)
    }
}

impl Slot {
    /// Counts it to another source from now on: the one that a proxy's header names. `false` where that one has as many
    /// as it may.
    pub(super) fn moved_to(&mut self, source_of: IpAddr, limits: ConnectionLimits) -> bool {
        let new = source(source_of);
        let held = self.connections.count(new);
        let old = std::mem::replace(&mut self.source, new);
        self.connections.discount(old);
        let fits = limits.per_source.is_none_or(|most| held <= most);
        if !fits {
            self.connections.metrics.connection_refused(ConnectionRefused::PerSource);
        }
        fits
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        self.connections.discount(self.source);
    }
}

/// Held while a connection is told that there are too many.
pub(super) struct TurnedAway(Arc<Connections>);

impl Drop for TurnedAway {
    fn drop(&mut self) {
        self.0.turned_away.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A flood is told once a second, not once for each connection.
#[derive(Debug)]
struct Refusals {
    second: AtomicU64,
    since: Instant,
    untold: AtomicUsize,
}

impl Refusals {
    fn add(&self) -> Option<usize> {
        self.untold.fetch_add(1, Ordering::Relaxed);
        let second = self.since.elapsed().as_secs();
        let told = self.second.swap(second, Ordering::Relaxed) == second;
        (!told).then(|| self.untold.swap(0, Ordering::Relaxed))
    }
}

/// Where a peer sits: an address, or the /64 that one IPv6 customer has to himself.
fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn limits(all: usize, per_source: Option<usize>) -> ConnectionLimits {
        ConnectionLimits { all, per_source }
    }

    /// As many as it gives, up to a number.
    fn take(
        connections: &Arc<Connections>,
        peer: &str,
        count: usize,
        limits: ConnectionLimits,
    ) -> (Vec<Slot>, Option<Full>) {
        let mut slots = Vec::new();
        for _ in 0..count {
            match Slot::take(connections, address(peer), false, limits) {
                Ok(slot) => slots.push(slot),
                Err(full) => return (slots, Some(full)),
            }
        }
        (slots, None)
    }

    #[test]
    fn a_flood_from_one_source_shuts_out_none_of_the_others() {
        let connections = Arc::new(Connections::new(Metrics::new(SystemTime::now())));
        let limits = limits(100, None);
        let (flood, full) = take(&connections, "192.0.2.1", 1000, limits);
        assert_eq!((flood.len(), full), (100, Some(Full::All)), "heavy: exactly the limit");
        // At the limit: 2 of each other source, 12 in all.
        let mut others = Vec::new();
        for last in 2..=7 {
            let (slots, full) = take(&connections, &format!("192.0.2.{last}"), 3, limits);
            assert_eq!((slots.len(), full), (2, Some(Full::All)));
            others.extend(slots);
        }
        let (slots, full) = take(&connections, "192.0.2.99", 1, limits);
        assert_eq!((slots.len(), full), (0, Some(Full::All)), "the bound above the limit");
        drop(others);
        assert_eq!(take(&connections, "192.0.2.99", 1, limits).0.len(), 1);
        assert_eq!(take(&connections, "192.0.2.1", 1, limits).1, Some(Full::All), "still heavy");
        drop(flood);
        assert_eq!(take(&connections, "192.0.2.1", 100, limits).0.len(), 100);
    }

    #[test]
    fn a_small_limit_is_the_limit_for_whoever_has_a_connection() {
        for all in [1, 2, 49] {
            let connections = Arc::new(Connections::new(Metrics::new(SystemTime::now())));
            let (held, full) = take(&connections, "192.0.2.1", 60, limits(all, None));
            assert_eq!((held.len(), full), (all, Some(Full::All)), "{all}");
            let newcomers: Vec<_> = (2..20)
                .filter_map(|last| {
                    take(&connections, &format!("192.0.2.{last}"), 1, limits(all, None)).0.pop()
                })
                .collect();
            assert_eq!(newcomers.len(), (all / 8).max(4), "{all}");
        }
    }

    #[test]
    fn a_source_has_a_limit_of_its_own_and_a_trusted_proxy_has_none() {
        let connections = Arc::new(Connections::new(Metrics::new(SystemTime::now())));
        let limits = limits(100, Some(3));
        let (held, full) = take(&connections, "2001:db8::1", 10, limits);
        assert_eq!((held.len(), full), (3, Some(Full::Source)));
        for (peer, taken) in [
            // One customer's /64 is one source.
            ("2001:db8::ffff:1", 0),
            ("2001:db8:0:1::1", 3),
            ("192.0.2.1", 3),
            ("::ffff:192.0.2.2", 3),
        ] {
            assert_eq!(take(&connections, peer, 10, limits).0.len(), taken, "{peer}");
        }
        let mapped = take(&connections, "::ffff:192.0.2.1", 2, limits).0;
        assert_eq!(
            take(&connections, "192.0.2.1", 10, limits).0.len(),
            1,
            "one address, written in two ways"
        );
        drop(mapped);
        let proxy = address("2001:db8::1");
        let trusted: Vec<_> =
            (0..200).map_while(|_| Slot::take(&connections, proxy, true, limits).ok()).collect();
        assert_eq!(trusted.len(), 97, "the limit over all holds for it, too");
        drop((held, trusted));
        assert_eq!(connections.open(), 0);
        let kept: usize = connections.sources.iter().map(|shard| shard.lock().expect("no panic").len()).sum();
        assert_eq!(kept, 0, "who is gone is forgotten");
    }

    #[test]
    fn only_so_many_are_told_at_once_that_there_are_too_many() {
        let connections = Arc::new(Connections::new(Metrics::new(SystemTime::now())));
        let told: Vec<_> = (0..300).map_while(|_| connections.turn_away()).collect();
        assert_eq!(told.len(), TURNED_AWAY);
        drop(told);
        assert!(connections.turn_away().is_some());
    }

    #[test]
    fn a_flood_is_told_once_a_second() {
        let connections = Connections::new(Metrics::new(SystemTime::now()));
        let told: usize = (0..1000).filter_map(|_| connections.refused()).count();
        // The clock may come to its next second meanwhile.
        assert!((1..=2).contains(&told), "{told}");
    }
}
