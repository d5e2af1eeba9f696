//! Reading rows, and collecting the changes of a unit before the tree hears of them.
//!
//! A command is evaluated against the tree, plus what the commands before it in the same group will
//! change (`Group`), plus what it changes itself (`Unit`). So two creations of one name in one group
//! are one success and one conflict, and the whole group is still one batch.
//!
//! Callers: `rules` reads and changes through a `Unit`; `sled` reads the tree; `writer` owns the group.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use ::sled::{Batch, IVec, Tree};

use super::keys;
use crate::identity::{GrantId, TokenId, UserId, fold};
use crate::store::record::{self, KeptSession};
use crate::store::{
    Digest, Invitation, OneTimeToken, PersonalToken, RefreshFamily, SigningKey, StoreError, User,
};

/// More in one batch and the engine's garbage, which it frees only between operations, is counted in
/// gigabytes. That is 300; the journal puts one of its own to ours.
pub(super) const OPERATIONS_PER_BATCH: usize = 299;

/// Rows by key; a `None` deletes.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Rows that can be read: the tree as it is, or as it will be.
pub(super) trait Rows {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError>;

    fn keys_under(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError>;

    fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.get(&keys::user(id))?.map(|row| record::decode_user(&row)).transpose()
    }

    fn user_by_username(&self, folded: &str) -> Result<Option<User>, StoreError> {
        let found = self.user_by_entry(&keys::username(folded))?;
        Ok(found.filter(|user| user.username.folded() == folded))
    }

    fn user_by_email(&self, folded: &str) -> Result<Option<User>, StoreError> {
        let found = self.user_by_entry(&keys::email(folded))?;
        Ok(found.filter(|user| user.email.as_ref().is_some_and(|email| email.folded() == folded)))
    }

    fn user_by_login(&self, login: &str) -> Result<Option<User>, StoreError> {
        let folded = fold(login);
        // No username has an `@`, every address has one.
        if folded.contains('@') { self.user_by_email(&folded) } else { self.user_by_username(&folded) }
    }

    /// Who has registered with this address last and not confirmed it, whether or not they hold it.
    fn newcomer(&self, folded: &str) -> Result<Option<User>, StoreError> {
        let Some(user) = self.user_by_entry(&keys::newcomer(folded))?.filter(User::is_unproven) else {
            return Ok(None);
        };
        let wanted = self.get(&keys::wanted_by(user.id))?;
        Ok(Some(user).filter(|_| wanted.is_some_and(|wanted| wanted == folded.as_bytes())))
    }

    /// The row that an entry points at. The caller checks that it says the same as the entry, so that
    /// a stale entry can never lead to another account.
    fn user_by_entry(&self, key: &[u8]) -> Result<Option<User>, StoreError> {
        match self.get(key)?.as_deref().map(keys::user_id_of) {
            Some(Some(id)) => self.user(id),
            Some(None) => Err(StoreError::Corrupt("an index entry that is no number".to_owned())),
            None => Ok(None),
        }
    }

    fn session(&self, digest: Digest) -> Result<Option<KeptSession>, StoreError> {
        self.get(&keys::session(digest))?.map(|row| record::decode_session(digest, &row)).transpose()
    }

    fn sessions_of(&self, user: UserId) -> Result<Vec<KeptSession>, StoreError> {
        let mut sessions = Vec::new();
        for key in self.keys_under(&keys::sessions_of(user))? {
            let (_, digest) = keys::parse_session_of(&key)
                .ok_or_else(|| StoreError::Corrupt("an entry in a list of sessions".to_owned()))?;
            sessions.extend(self.session(digest)?.filter(|kept| kept.session.user_id == user));
        }
        Ok(sessions)
    }

    fn token(&self, digest: Digest) -> Result<Option<OneTimeToken>, StoreError> {
        self.get(&keys::token(digest))?.map(|row| record::decode_token(digest, &row)).transpose()
    }

    fn personal_token(&self, digest: Digest) -> Result<Option<PersonalToken>, StoreError> {
        let row = self.get(&keys::personal_token(digest))?;
        row.map(|row| record::decode_personal_token(digest, &row)).transpose()
    }

    fn personal_token_by_id(&self, id: TokenId) -> Result<Option<PersonalToken>, StoreError> {
        let found = self.keys_under(&keys::personal_token_of_id(id))?;
        match found.first().and_then(|key| keys::digest_of(&key[1..])) {
            Some(digest) => self.personal_token(digest),
            None => Ok(None),
        }
    }

    fn personal_tokens_of(&self, user: UserId) -> Result<Vec<PersonalToken>, StoreError> {
        let mut tokens = Vec::new();
        for key in self.keys_under(&keys::personal_tokens_of(user))? {
            let (_, digest) = keys::parse_personal_token_of(&key)
                .ok_or_else(|| StoreError::Corrupt("an entry in a list of tokens".to_owned()))?;
            tokens.extend(self.personal_token(digest)?.filter(|token| token.user_id == user));
        }
        Ok(tokens)
    }

    fn family(&self, id: GrantId) -> Result<Option<RefreshFamily>, StoreError> {
        self.get(&keys::family(id))?.map(|row| record::decode_family(id, &row)).transpose()
    }

    fn families_of(&self, user: UserId) -> Result<Vec<RefreshFamily>, StoreError> {
        let mut families = Vec::new();
        for key in self.keys_under(&keys::families_of(user))? {
            let (_, id) = keys::pair_of(&key[1..])
                .ok_or_else(|| StoreError::Corrupt("an entry in a list of refresh families".to_owned()))?;
            families.extend(self.family(id)?.filter(|family| family.user_id == user));
        }
        Ok(families)
    }

    fn invitation(&self, digest: Digest) -> Result<Option<Invitation>, StoreError> {
        self.get(&keys::invitation(digest))?.map(|row| record::decode_invitation(digest, &row)).transpose()
    }

    /// Newest first.
    fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let mut found = Vec::new();
        for key in self.keys_under(b"K")? {
            if let Some(row) = self.get(&key)? {
                found.push(record::decode_key(&row)?);
            }
        }
        found.sort_by(|a, b| (b.created_at, &b.kid).cmp(&(a.created_at, &a.kid)));
        Ok(found)
    }
}

impl Rows for Tree {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        Tree::get(self, key).map_err(read_error)
    }

    fn keys_under(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        self.scan_prefix(prefix).keys().map(|key| key.map(|key| key.to_vec()).map_err(read_error)).collect()
    }
}

/// A failed read, for whoever asked.
pub(super) fn read_error(error: ::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Corruption { .. } => StoreError::Corrupt("a damaged page".to_owned()),
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// The changes that will be one batch.
pub(super) struct Group<'a> {
    changes: Changes,
    tree: &'a Tree,
}

impl<'a> Group<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self { changes: Changes::new(), tree }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What it changes.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.changes.keys()
    }

    pub(super) fn is_full(&self) -> bool {
        self.changes.len() >= OPERATIONS_PER_BATCH
    }

    /// Whether so many operations fit in, or would fit into no other group either.
    pub(super) fn has_room_for(&self, operations: usize) -> bool {
        self.changes.len() + operations <= OPERATIONS_PER_BATCH || self.changes.is_empty()
    }

    pub(super) fn unit(&self) -> Unit<'_, 'a> {
        Unit { changes: Changes::new(), earlier: Changes::new(), group: self }
    }

    /// Takes a unit's changes in whole, or leaves the unit for the next group where it would be too much for this one.
    pub(super) fn absorb(&mut self, changes: Changes) -> bool {
        let fits = self.has_room_for(changes.len());
        if fits {
            self.changes.extend(changes);
        }
        fits
    }

    pub(super) fn into_batch(self) -> Batch {
        let mut batch = Batch::default();
        for (key, value) in self.changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch
    }
}

/// One command's changes: they count whole or not at all.
pub(super) struct Unit<'g, 'a> {
    changes: Changes,
    /// Of the parts before the one that is under way.
    earlier: Changes,
    group: &'g Group<'a>,
}

impl Unit<'_, '_> {
    pub(super) fn put(&mut self, key: Vec<u8>, value: impl Into<Vec<u8>>) {
        self.changes.insert(key, Some(value.into()));
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }

    /// A part that leaves nothing of itself where it fails; what was changed before it stays.
    pub(super) fn part<T, E>(&mut self, part: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        self.earlier.append(&mut self.changes);
        part(self).inspect_err(|_| self.changes.clear())
    }

    /// How many operations it is so far, at most.
    pub(super) fn len(&self) -> usize {
        self.earlier.len() + self.changes.len()
    }

    pub(super) fn into_changes(mut self) -> Changes {
        self.earlier.append(&mut self.changes);
        self.earlier
    }

    /// Up to `limit` keys of the expiry index below this one. Looks at the tree alone: the sweeper's
    /// group has nobody else's changes.
    pub(super) fn due(&self, end: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let found = self.group.tree.range(b"X".as_slice()..end).keys().take(limit);
        found.map(|key| key.map(|key| key.to_vec()).map_err(read_error)).collect()
    }
}

impl Unit<'_, '_> {
    /// Up to `limit` rows of a table behind this key. Looks at the tree alone, as `due` does.
    pub(super) fn rows_after(
        &self,
        table: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, IVec)>, StoreError> {
        let start = Bound::Excluded(if after.is_empty() { table } else { after });
        let found = self.group.tree.range::<&[u8], _>((start, Bound::Unbounded)).take(limit);
        let rows = found.map(|row| row.map(|(key, value)| (key.to_vec(), value)).map_err(read_error));
        rows.take_while(|row| row.as_ref().map_or(true, |(key, _)| key.starts_with(table))).collect()
    }
}

impl Rows for Unit<'_, '_> {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        let pending =
            [&self.changes, &self.earlier, &self.group.changes].into_iter().find_map(|of| of.get(key));
        match pending {
            Some(pending) => Ok(pending.as_deref().map(IVec::from)),
            None => Rows::get(self.group.tree, key),
        }
    }

    fn keys_under(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys: BTreeSet<Vec<u8>> = self.group.tree.keys_under(prefix)?.into_iter().collect();
        for changes in [&self.group.changes, &self.earlier, &self.changes] {
            for (key, value) in
                changes.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix))
            {
                match value {
                    Some(_) => keys.insert(key.clone()),
                    None => keys.remove(key),
                };
            }
        }
        Ok(keys.into_iter().collect())
    }
}
