//! Invitations as they go over the admin socket: what is asked of them, and what is told.
//!
//! Callers: `admin` and, through it, `cli`. No link and no whole digest of one is in here, but for the mark between two
//! slices, which is no credential either.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::message::Moment;
use crate::identity::{Email, Role, Username};
use crate::store::{Invitation, ShortId};

/// Which invitations end.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum RevokeInvitations {
    /// One.
    One {
        /// As `invitation list` shows it.
        id: ShortId,
    },
    /// All to one address.
    To {
        /// Whose.
        email: Email,
    },
}

/// One invitation as administrators see it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct InvitationView {
    /// For `invitation revoke --id`; no credential.
    pub id: ShortId,
    /// Whom it is for.
    pub email: Email,
    /// What the account gets beside the roles of everybody who registers.
    pub roles: BTreeSet<Role>,
    /// Which member sent it; none: an administrator.
    pub invited_by: Option<Username>,
    /// It ends here, used or not.
    pub expires_at: Moment,
}

impl InvitationView {
    /// Of an invitation and its sender's name.
    pub fn new(invitation: Invitation, invited_by: Option<Username>) -> Self {
        Self {
            email: invitation.email,
            expires_at: Moment(invitation.expires_at),
            id: invitation.digest.into(),
            invited_by,
            roles: invitation.roles,
        }
    }
}
