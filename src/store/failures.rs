//! Counts of failed logins, as they are kept over a restart: who failed where, how often, and how long that counts.
//!
//! Callers: `authn::throttle`, which decides by them, by way of `store`; the engines, for the form of keys and rows.

use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::record::{decode, encode, millis, time};
use super::{Digest, StoreError};
use crate::identity::UserId;

/// Which account was tried, in every spelling the same.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TriedAccount {
    /// One that is there.
    Known(UserId),
    /// One that isn't: the digest of the folded name. Braked alike, so that a wait names nobody.
    Unknown(Digest),
}

/// Whose failures are counted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FailureKey {
    /// Those of one source at one account.
    Pair(IpAddr, TriedAccount),
    /// All those of one source.
    Source(IpAddr),
}

/// A count of failures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failures {
    /// No try is made before this.
    pub blocked_until: Option<SystemTime>,
    /// How many. With none the row goes.
    pub count: u32,
    /// From then on it counts no more.
    pub forgotten_at: SystemTime,
    /// Whose.
    pub key: FailureKey,
}

#[derive(Deserialize, Serialize)]
struct FailuresRow {
    blocked_until: Option<u64>,
    count: u32,
    forgotten_at: u64,
}

impl FailureKey {
    /// As bytes behind the table's letter. All pairs of one account have one beginning.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let (mut bytes, source) = match self {
            Self::Pair(source, account) => (account_prefix(account), source),
            Self::Source(source) => (vec![b'S'], source),
        };
        match source {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match kind {
            b'K' => {
                let (id, source) = rest.split_first_chunk()?;
                Some(Self::Pair(address(source)?, TriedAccount::Known(UserId::from_bytes(*id))))
            }
            b'U' => {
                let (digest, source) = rest.split_first_chunk()?;
                Some(Self::Pair(address(source)?, TriedAccount::Unknown(Digest::from_bytes(*digest))))
            }
            b'S' => address(rest).map(Self::Source),
            _ => None,
        }
    }
}

/// How the keys of all pairs of one account begin.
pub(super) fn account_prefix(account: TriedAccount) -> Vec<u8> {
    match account {
        TriedAccount::Known(id) => [&b"K"[..], id.as_bytes()].concat(),
        TriedAccount::Unknown(digest) => [&b"U"[..], digest.as_bytes()].concat(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

pub(super) fn encode_failures(failures: &Failures) -> Result<Vec<u8>, StoreError> {
    encode(&FailuresRow {
        blocked_until: failures.blocked_until.map(millis),
        count: failures.count,
        forgotten_at: millis(failures.forgotten_at),
    })
}

pub(super) fn decode_failures(key: &[u8], bytes: &[u8]) -> Result<Failures, StoreError> {
    let row: FailuresRow = decode(bytes, "a count of failed logins")?;
    let key = FailureKey::from_bytes(key)
        .ok_or_else(|| StoreError::Corrupt("a count of failed logins of nobody".to_owned()))?;
    Ok(Failures {
        blocked_until: row.blocked_until.map(time),
        count: row.count,
        forgotten_at: time(row.forgotten_at),
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_no_two_are_the_same() {
        let accounts = [TriedAccount::Known(UserId::generate()), TriedAccount::Unknown(Digest::of(b"x"))];
        let sources: [IpAddr; 3] =
            ["192.0.2.1", "2001:db8::", "::"].map(|raw| raw.parse().expect("an address"));
        let pairs =
            sources.into_iter().flat_map(|source| accounts.map(|account| FailureKey::Pair(source, account)));
        let keys: Vec<_> = pairs.chain(sources.map(FailureKey::Source)).collect();
        let mut bytes: Vec<_> = keys.iter().map(|key| key.to_bytes()).collect();
        for (key, bytes) in keys.iter().zip(&bytes) {
            assert_eq!(FailureKey::from_bytes(bytes), Some(*key));
            assert_eq!(FailureKey::from_bytes(&bytes[..bytes.len() - 1]), None);
        }
        bytes.sort();
        bytes.dedup();
        assert_eq!(bytes.len(), keys.len());
        assert_eq!(FailureKey::from_bytes(b""), None);
    }
}
