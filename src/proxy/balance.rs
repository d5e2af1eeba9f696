//! Whose turn it is among the servers of an upstream: a pure choice from what is known of each.
//!
//! Nothing here knows why a server stands as it does (that is `proxy/health.rs`), or connects to one.
//!
//! Callers: `proxy::upstream`.

use std::net::IpAddr;

/// How requests are spread over the servers (`upstreams.NAME.balance`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Balance {
    /// The same client to the same server, as long as that one is well.
    ClientIp,
    /// To the server that has the fewest requests in flight, over all threads.
    LeastRequests,
    /// One after the other.
    RoundRobin,
}

/// Whether a server should get requests; the better ones first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Standing {
    /// Nothing speaks against it.
    Ready,
    /// Requests failed there a moment ago. It is better than nothing.
    Ejected,
    /// The checks say that it is down, or it was tried for this request: no request goes there.
    Out,
}

/// One server at the moment of the choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) in_flight: usize,
    /// What `seed` makes of its name.
    pub(crate) seed: u64,
    pub(crate) standing: Standing,
}

/// The place of the server that is to get a request; `None` where each one is out.
///
/// Where all that could be asked are ejected, all of them are asked: guesses from failed requests never
/// take the last server away. `turn` grows by one with each choice; `client` is `client_key`'s.
pub(crate) fn choose(balance: Balance, candidates: &[Candidate], turn: usize, client: u64) -> Option<usize> {
    let best = candidates.iter().map(|candidate| candidate.standing).min()?;
    if best == Standing::Out {
        return None;
    }
    let eligible = candidates.iter().enumerate().filter(|(_, candidate)| candidate.standing == best);
    // In turn among those alone that can be chosen: who follows one that is out gets no more than the others.
    let in_turn = |chosen: &dyn Fn(&Candidate) -> bool| {
        let fitting = || eligible.clone().filter(|(_, candidate)| chosen(candidate));
        let at = turn.checked_rem(fitting().count())?;
        fitting().nth(at).map(|(at, _)| at)
    };
    match balance {
        Balance::ClientIp => {
            eligible.max_by_key(|(_, candidate)| mix(client ^ candidate.seed)).map(|(at, _)| at)
        }
        Balance::LeastRequests => {
            let fewest = eligible.clone().map(|(_, candidate)| candidate.in_flight).min()?;
            in_turn(&|candidate| candidate.in_flight == fewest)
        }
        Balance::RoundRobin => in_turn(&|_| true),
    }
}

/// What a client is known by: an IPv6 network of 64 bits is one client, for within it addresses change.
pub(crate) fn client_key(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => mix(u64::from(address.to_bits())),
        IpAddr::V6(address) => mix(!((address.to_bits() >> 64) as u64)),
    }
}

/// A server's part in the choice by client. It depends on the name alone, so that every gateway in
/// front of the same servers sends a client to the same one, whatever their order.
pub(crate) fn seed(server: &str) -> u64 {
    let fnv = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(server.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// Spreads what differs in few bits over all of them (the finish of SplitMix64).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::Standing::{Ejected, Out, Ready};
    use super::*;

    fn candidates(standings: &[Standing]) -> Vec<Candidate> {
        let candidate = |(at, &standing)| Candidate {
            in_flight: 0,
            seed: seed(&format!("http://10.0.0.{at}:80")),
            standing,
        };
        standings.iter().enumerate().map(candidate).collect()
    }

    /// How often each is chosen in so many turns.
    fn chosen(balance: Balance, candidates: &[Candidate], turns: usize) -> Vec<usize> {
        let mut counts = vec![0; candidates.len()];
        for turn in 0..turns {
            let at = choose(balance, candidates, turn, client_key(clients(turn))).expect("one is not out");
            counts[at] += 1;
        }
        counts
    }

    fn clients(number: usize) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(number).expect("few")).into()
    }

    #[test]
    fn in_turn_each_ready_server_gets_the_same_share() {
        for (standings, shares) in [
            (&[Ready][..], &[60][..]),
            (&[Ready, Ready, Ready], &[20, 20, 20]),
            (&[Ready, Ejected, Ready], &[30, 0, 30]),
            (&[Out, Ready, Ready, Ejected], &[0, 30, 30, 0]),
            // Nobody but the ejected ones is left, and so they are asked; who is out is not.
            (&[Ejected, Ejected], &[30, 30]),
            (&[Ejected, Out, Ejected], &[30, 0, 30]),
        ] {
            let candidates = candidates(standings);
            for balance in [Balance::RoundRobin, Balance::LeastRequests] {
                assert_eq!(chosen(balance, &candidates, 60), shares, "{balance:?}: {standings:?}");
            }
            let by_client = chosen(Balance::ClientIp, &candidates, 60);
            for (share, by_client) in shares.iter().zip(by_client) {
                assert_eq!(*share == 0, by_client == 0, "{standings:?}");
            }
        }
    }

    #[test]
    fn nobody_is_chosen_where_all_are_out() {
        for balance in [Balance::ClientIp, Balance::LeastRequests, Balance::RoundRobin] {
            assert_eq!(choose(balance, &candidates(&[Out, Out]), 7, 7), None);
            assert_eq!(choose(balance, &[], 7, 7), None);
        }
    }

    #[test]
    fn the_fewest_requests_decide_and_ties_go_in_turn() {
        for (in_flight, turn, expected) in [
            ([3, 1, 2], 0, 1),
            ([3, 1, 2], 5, 1),
            ([0, 9, 0], 0, 0),
            ([0, 9, 0], 1, 2),
            ([4, 4, 4], 2, 2),
            ([usize::MAX, 0, 1], 1, 1),
        ] {
            let mut candidates = candidates(&[Ready; 3]);
            for (candidate, in_flight) in candidates.iter_mut().zip(in_flight) {
                candidate.in_flight = in_flight;
            }
            let at = choose(Balance::LeastRequests, &candidates, turn, 0);
            assert_eq!(at, Some(expected), "{in_flight:?} in turn {turn}");
        }
    }

    #[test]
    fn clients_are_spread_evenly() {
        for servers in [2, 3, 5, 16] {
            let counts = chosen(Balance::ClientIp, &candidates(&vec![Ready; servers]), 10_000);
            for count in &counts {
                let share = *count * servers;
                assert!((8_500..11_500).contains(&share), "{servers} servers: {counts:?}");
            }
        }
    }

    #[test]
    fn a_servers_loss_moves_its_own_clients_and_no_others() {
        for servers in [2, 3, 8] {
            let all = candidates(&vec![Ready; servers]);
            let mut fewer = all.clone();
            fewer[1].standing = Out;
            let mut moved = 0;
            for number in 0..8_000 {
                let key = client_key(clients(number));
                let before = choose(Balance::ClientIp, &all, number, key).expect("one is ready");
                let after = choose(Balance::ClientIp, &fewer, number + 1, key).expect("one is ready");
                assert!(before == after || before == 1, "client {number} moved from {before} to {after}");
                moved += usize::from(before != after);
            }
            let share = moved * servers;
            assert!((6_800..9_200).contains(&share), "{moved} of 8000 moved with {servers} servers");
        }
    }

    #[test]
    fn the_order_of_the_servers_moves_nobody() {
        let there = candidates(&[Ready; 5]);
        let back: Vec<_> = there.iter().rev().copied().collect();
        for number in 0..500 {
            let key = client_key(clients(number));
            let at = choose(Balance::ClientIp, &there, 0, key).expect("one is ready");
            assert_eq!(choose(Balance::ClientIp, &back, 1, key), Some(4 - at));
        }
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let v6 = |address: &str| client_key(address.parse::<Ipv6Addr>().expect("an address").into());
        assert_eq!(v6("2001:db8:1:2::1"), v6("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(v6("2001:db8:1:2::1"), v6("2001:db8:1:3::1"));
        assert_eq!(v6("::ffff:192.0.2.1"), client_key(Ipv4Addr::new(192, 0, 2, 1).into()));
        assert_ne!(
            client_key(Ipv4Addr::new(192, 0, 2, 1).into()),
            client_key(Ipv4Addr::new(192, 0, 2, 2).into())
        );
    }
}
