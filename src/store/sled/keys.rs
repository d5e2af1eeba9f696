//! The keys of the one tree: a byte for the table, then parts of fixed length or one text at the end.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `M` | name | format number, clean marker, number of the last batch, what a mail that is not kept would have taken |
//! | `U` | user id | account |
//! | `N` | folded username | user id |
//! | `E` | folded address | user id |
//! | `S` | session digest | session |
//! | `L` | user id, session digest | nothing; lists and ends all of them |
//! | `T` | token digest | one-time token |
//! | `O` | user id, purpose | digest of the one token that is good |
//! | `P` | token digest | personal access token; its id is the first eight bytes of the digest |
//! | `p` | user id, token digest | nothing; lists and ends all of them |
//! | `X` | second of the end, `R` or `J`, user id, family or `jti` | nothing |
//! | `X` | 0, `F`, user id | nothing; families that ended with their account's credentials |
//! | `X` | 0, `M`, user id | nothing; invitations that ended with their member |
//! | `R` | family | refresh family |
//! | `F` | user id, family | nothing; lists an account's families |
//! | `J` | user id, `jti` or family | second in which what is revoked has ended by itself |
//! | `I` | `d`, token digest | invitation |
//! | `I` | `e`, folded address | digest of the one invitation of an administrator that is good |
//! | `I` | `m`, user id, folded address | digest of the one invitation of this member that is good |
//! | `X` | second of the end, `S`, `T`, `I` or `P`, digest | nothing; what the sweeper looks at |
//! | `B` | account and source, or source | count of failed logins |
//! | `K` | `kid` | signing key |
//! | `Q` | millisecond when it is due, mail id | mail |
//! | `V` | name | secret of 32 bytes |
//! | `W` | `e`, folded address | user id of the last registration with it, while nobody has confirmed that |
//! | `W` | `u`, user id | folded address with which it was registered, whoever has the address |
//!
//! Integers are big-endian, so that the tree's order is theirs.
//!
//! Callers: the other files of the engine, and nobody else.

use crate::identity::{GrantId, TokenId, UserId};
use crate::store::failures::{FailureKey, TriedAccount, account_prefix};
use crate::store::{Digest, MailId};

pub(super) const FORMAT: &[u8] = b"Mformat";
pub(super) const CLEAN: &[u8] = b"Mclean";
pub(super) const PRETENDED: &[u8] = b"Mpretended";
pub(super) const SEQUENCE: &[u8] = b"Msequence";

pub(super) fn user(id: UserId) -> Vec<u8> {
    row(b'U', &[id.as_bytes()])
}

pub(super) fn username(folded: &str) -> Vec<u8> {
    row(b'N', &[folded.as_bytes()])
}

pub(super) fn email(folded: &str) -> Vec<u8> {
    row(b'E', &[folded.as_bytes()])
}

pub(super) fn session(digest: Digest) -> Vec<u8> {
    row(b'S', &[digest.as_bytes()])
}

/// All sessions whose digest begins so.
pub(super) fn sessions_beginning(first: &[u8; 16]) -> Vec<u8> {
    row(b'S', &[first])
}

pub(super) fn session_of(user: UserId, digest: Digest) -> Vec<u8> {
    row(b'L', &[user.as_bytes(), digest.as_bytes()])
}

pub(super) fn sessions_of(user: UserId) -> Vec<u8> {
    row(b'L', &[user.as_bytes()])
}

pub(super) fn token(digest: Digest) -> Vec<u8> {
    row(b'T', &[digest.as_bytes()])
}

pub(super) fn token_of(user: UserId, purpose: u8) -> Vec<u8> {
    row(b'O', &[user.as_bytes(), &[purpose]])
}

pub(super) fn tokens_of(user: UserId) -> Vec<u8> {
    row(b'O', &[user.as_bytes()])
}

pub(super) fn personal_token(digest: Digest) -> Vec<u8> {
    row(b'P', &[digest.as_bytes()])
}

/// Every token of this id is below this key: one at most, as chance goes.
pub(super) fn personal_token_of_id(id: TokenId) -> Vec<u8> {
    row(b'P', &[id.as_bytes()])
}

pub(super) fn personal_token_of(user: UserId, digest: Digest) -> Vec<u8> {
    row(b'p', &[user.as_bytes(), digest.as_bytes()])
}

pub(super) fn personal_tokens_of(user: UserId) -> Vec<u8> {
    row(b'p', &[user.as_bytes()])
}

pub(super) fn family(id: GrantId) -> Vec<u8> {
    row(b'R', &[id.as_bytes()])
}

pub(super) fn family_of(user: UserId, id: GrantId) -> Vec<u8> {
    row(b'F', &[user.as_bytes(), id.as_bytes()])
}

pub(super) fn families_of(user: UserId) -> Vec<u8> {
    row(b'F', &[user.as_bytes()])
}

pub(super) fn revoked(user: UserId, id: GrantId) -> Vec<u8> {
    row(b'J', &[user.as_bytes(), id.as_bytes()])
}

pub(super) fn revoked_of(user: UserId) -> Vec<u8> {
    row(b'J', &[user.as_bytes()])
}

pub(super) fn invitation(digest: Digest) -> Vec<u8> {
    row(b'I', &[b"d", digest.as_bytes()])
}

pub(super) fn invitation_to(folded: &str) -> Vec<u8> {
    row(b'I', &[b"e", folded.as_bytes()])
}

/// One of a member.
pub(super) fn invitation_from(member: UserId, folded: &str) -> Vec<u8> {
    row(b'I', &[b"m", member.as_bytes(), folded.as_bytes()])
}

pub(super) fn invitations_from(member: UserId) -> Vec<u8> {
    row(b'I', &[b"m", member.as_bytes()])
}

pub(super) fn invitations_of_members() -> Vec<u8> {
    row(b'I', &[b"m"])
}

/// Whether this is the entry of a member's invitation to this address.
pub(super) fn is_invitation_to(key: &[u8], folded: &str) -> bool {
    key.strip_prefix(b"Im").and_then(|rest| rest.get(16..)) == Some(folded.as_bytes())
}

pub(super) fn invitations() -> Vec<u8> {
    row(b'I', &[b"d"])
}

/// All invitations whose digest begins so.
pub(super) fn invitations_beginning(first: &[u8; 16]) -> Vec<u8> {
    row(b'I', &[b"d", first])
}

/// The digest in an invitation's key.
pub(super) fn invitation_digest(key: &[u8]) -> Option<Digest> {
    key.strip_prefix(b"Id").and_then(digest_of)
}

/// Which account was registered with this address last.
pub(super) fn newcomer(folded: &str) -> Vec<u8> {
    row(b'W', &[b"e", folded.as_bytes()])
}

/// The address with which an account was registered.
pub(super) fn wanted_by(user: UserId) -> Vec<u8> {
    row(b'W', &[b"u", user.as_bytes()])
}

/// Above every entry of the list of sessions.
pub(super) const END_OF_LIST: &[u8] = &[b'L' + 1];

/// What an entry of the expiry index points at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expiring {
    FamiliesOf,
    Family,
    Revoked,
    Invitation,
    InvitationsOf,
    PersonalToken,
    Session,
    Token,
}

pub(super) fn expiry(second: u64, kind: Expiring, digest: Digest) -> Vec<u8> {
    let kind = match kind {
        Expiring::PersonalToken => b'P',
        Expiring::FamiliesOf => b'F',
        Expiring::Family => b'R',
        Expiring::Revoked => b'J',
        Expiring::Invitation => b'I',
        Expiring::InvitationsOf => b'M',
        Expiring::Session => b'S',
        Expiring::Token => b'T',
    };
    row(b'X', &[&second.to_be_bytes(), &[kind], digest.as_bytes()])
}

/// An account and a grant of it, in place of a digest.
pub(super) fn pair(user: UserId, grant: GrantId) -> Digest {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(user.as_bytes());
    bytes[16..].copy_from_slice(grant.as_bytes());
    Digest::from_bytes(bytes)
}

/// What `pair` has put together.
pub(super) fn parse_pair(pair: Digest) -> (UserId, GrantId) {
    let (mut user, mut grant) = ([0; 16], [0; 16]);
    user.copy_from_slice(&pair.as_bytes()[..16]);
    grant.copy_from_slice(&pair.as_bytes()[16..]);
    (UserId::from_bytes(user), GrantId::from_bytes(grant))
}

/// An account alone, in place of a digest.
pub(super) fn whole(user: UserId) -> Digest {
    pair(user, GrantId::from_bytes([0; 16]))
}

/// Account and grant at the end of a key.
pub(super) fn pair_of(bytes: &[u8]) -> Option<(UserId, GrantId)> {
    digest_of(bytes).map(parse_pair)
}

/// Everything that ends before this second is below this key.
pub(super) fn expiry_before(second: u64) -> Vec<u8> {
    row(b'X', &[&second.to_be_bytes()])
}

/// Second, kind and digest of an entry in the expiry index.
pub(super) fn parse_expiry(key: &[u8]) -> Option<(u64, Expiring, Digest)> {
    let (second, rest) = key.strip_prefix(b"X")?.split_first_chunk::<8>()?;
    let (kind, digest) = rest.split_first()?;
    let kind = match kind {
        b'P' => Expiring::PersonalToken,
        b'F' => Expiring::FamiliesOf,
        b'J' => Expiring::Revoked,
        b'R' => Expiring::Family,
        b'I' => Expiring::Invitation,
        b'M' => Expiring::InvitationsOf,
        b'S' => Expiring::Session,
        b'T' => Expiring::Token,
        _ => return None,
    };
    Some((u64::from_be_bytes(*second), kind, digest_of(digest)?))
}

pub(super) fn failures(key: FailureKey) -> Vec<u8> {
    row(b'B', &[&key.to_bytes()])
}

pub(super) fn failures_at(account: TriedAccount) -> Vec<u8> {
    row(b'B', &[&account_prefix(account)])
}

pub(super) fn signing_key(kid: &str) -> Vec<u8> {
    row(b'K', &[kid.as_bytes()])
}

pub(super) fn mail(due: u64, id: MailId) -> Vec<u8> {
    row(b'Q', &[&due.to_be_bytes(), id.as_bytes()])
}

/// When a mail is due, and its number.
pub(super) fn parse_mail(key: &[u8]) -> Option<(u64, MailId)> {
    let (due, id) = key.strip_prefix(b"Q")?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*due), id.try_into().ok().map(MailId::from_bytes)?))
}

pub(super) fn secret(name: &str) -> Vec<u8> {
    row(b'V', &[name.as_bytes()])
}

/// The number in a value, or in the front of a key's rest.
pub(super) fn user_id_of(bytes: &[u8]) -> Option<UserId> {
    bytes.try_into().ok().map(UserId::from_bytes)
}

/// The number of a grant at the end of a key.
pub(super) fn grant_of(bytes: &[u8]) -> Option<GrantId> {
    bytes.try_into().ok().map(GrantId::from_bytes)
}

/// The digest in a value, or at the end of a key.
pub(super) fn digest_of(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest::from_bytes)
}

/// User and digest of an entry in the list of sessions.
pub(super) fn parse_session_of(key: &[u8]) -> Option<(UserId, Digest)> {
    parse_user_and_digest(key.strip_prefix(b"L")?)
}

/// User and digest of an entry in the list of personal access tokens.
pub(super) fn parse_personal_token_of(key: &[u8]) -> Option<(UserId, Digest)> {
    parse_user_and_digest(key.strip_prefix(b"p")?)
}

fn parse_user_and_digest(parts: &[u8]) -> Option<(UserId, Digest)> {
    let (user, digest) = parts.split_first_chunk::<16>()?;
    Some((UserId::from_bytes(*user), digest_of(digest)?))
}

fn row(table: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(table);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expiry_index_is_in_the_order_of_time_and_reads_back() {
        let digest = Digest::of(b"x");
        let early = expiry(255, Expiring::Token, digest);
        let late = expiry(256, Expiring::Session, digest);
        assert!(early < late);
        assert!(early < expiry_before(256) && expiry_before(256) < late);
        assert_eq!(parse_expiry(&late), Some((256, Expiring::Session, digest)));
        assert_eq!(parse_expiry(b"Xshort"), None);
    }
}
