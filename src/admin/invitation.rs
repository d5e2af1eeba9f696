//! Invitations as they go over the admin socket: what is asked of them, and what is told.
//!
//! Callers: `admin` and, through it, `cli`. No link and no whole digest of one is in here, but for the mark between two
//! slices, which is no credential either.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::message::Moment;
use crate::account::Sender;
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
    /// Which member sent it; none: an administrator, or nobody knows who.
    pub invited_by: Option<Username>,
    /// Its sender may not invite at the moment: its link is good for nothing.
    #[serde(default)]
    pub void: bool,
    /// It ends here, used or not.
    pub expires_at: Moment,
}

impl InvitationView {
    /// Of an invitation and its sender.
    pub fn new(invitation: Invitation, sender: Sender) -> Self {
        let (invited_by, void) = match sender {
            Sender::Administrator => (None, false),
            Sender::MayNot(member) => (member, true),
            Sender::Member(member) => (Some(member), false),
        };
        Self {
            email: invitation.email,
            expires_at: Moment(invitation.expires_at),
            id: invitation.digest.into(),
            invited_by,
            roles: invitation.roles,
            void,
        }
    }
}
