//! What the store keeps, as the rooms above see it: accounts, sessions, one-time tokens, keys.
//!
//! Callers: everybody who asks the store for something, by way of `store`. How a row looks on disk
//! is in `record`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;

use super::ShortId;
use crate::identity::{DisplayName, Email, Role, UserId, Username};

/// SHA-256 of a random token (a session cookie, a one-time link). The token itself is never kept.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a token's bytes.
    pub fn of(token: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token);
        Self(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }

    /// From its bytes, as they were kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Digest {
    /// The first four bytes: enough to follow one session through a log, useless as a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

/// An account as it is kept.
#[derive(Clone, Debug)]
pub struct User {
    /// It waits until an administrator lets it in.
    pub awaits_approval: bool,
    /// It waits until its address is confirmed. Nobody has proved yet that the mailbox is theirs.
    pub awaits_confirmation: bool,
    /// It was made by whoever asked for it: never confirmed, it goes with its last link.
    pub goes_unconfirmed: bool,
    /// When it was made.
    pub created_at: SystemTime,
    /// Sessions and tokens from before this are void; set with each password and when the account is disabled.
    pub credentials_since: Option<SystemTime>,
    /// A disabled account can't sign in and holds no session.
    pub disabled: bool,
    /// Unique among all accounts, folded.
    pub email: Option<Email>,
    /// The account's number.
    pub id: UserId,
    /// In which its mails are written: a tag such as `de`.
    pub language: Option<String>,
    /// For display.
    pub name: DisplayName,
    /// A hash in one of the formats of the `password` room; `None` until one is set.
    pub password_hash: Option<SecretString>,
    /// What `require.roles` looks at.
    pub roles: BTreeSet<Role>,
    /// Unique among all accounts, folded.
    pub username: Username,
    /// Goes up with every change.
    pub version: u64,
}

/// How an account stands with signing in. The first that applies counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// An administrator has shut it.
    Disabled,
    /// Its address is not confirmed yet.
    Unconfirmed,
    /// An administrator has not let it in yet.
    Waiting,
    /// Nothing is in the way.
    Good,
}

impl User {
    /// What is in the way of signing in, if anything is.
    pub fn standing(&self) -> Standing {
        match (self.disabled, self.awaits_confirmation, self.awaits_approval) {
            (true, _, _) => Standing::Disabled,
            (false, true, _) => Standing::Unconfirmed,
            (false, false, true) => Standing::Waiting,
            (false, false, false) => Standing::Good,
        }
    }

    /// It was made by whoever asked for it, and nobody has shown the address to be theirs: whoever shows it, or an
    /// administrator who vouches for it, takes it from this account.
    pub fn is_unproven(&self) -> bool {
        self.awaits_confirmation && self.goes_unconfirmed
    }

    /// It keeps a name from others, and nothing else: its address is another account's, which nobody is told.
    pub fn is_stand_in(&self) -> bool {
        self.is_unproven() && self.email.is_none()
    }

    /// Whether a right password gets in, and whether a session or a token of it counts.
    pub fn may_sign_in(&self) -> bool {
        self.standing() == Standing::Good
    }
}

/// An account that is there and can't be read: of a newer version, or damaged.
#[derive(Clone, Debug)]
pub struct DamagedAccount {
    /// Its number, which is its row's key.
    pub id: UserId,
    /// Its name as it is kept apart from it, folded.
    pub name: String,
    /// What the row fails by.
    pub reason: String,
}

/// An account to be made. Its number and version are the store's to give.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// It waits until an administrator lets it in.
    pub awaits_approval: bool,
    /// It waits until its address is confirmed. `register` makes the link for that, too.
    pub awaits_confirmation: bool,
    /// When.
    pub created_at: SystemTime,
    /// Made so that it can't sign in until it is enabled.
    pub disabled: bool,
    /// Its address, if it has one.
    pub email: Option<Email>,
    /// The address was shown to be its person's, or an administrator vouches for it: an account that has never
    /// confirmed it loses it.
    pub email_is_proven: bool,
    /// In which its mails are written: a tag such as `de`.
    pub language: Option<String>,
    /// For display.
    pub name: DisplayName,
    /// `None`: nobody can sign in until one is set.
    pub password_hash: Option<SecretString>,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// Its login name.
    pub username: Username,
}

/// What to change of an account; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// Let in by an administrator.
    pub approved: bool,
    /// Only while `credentials_since` is this; otherwise the account that was meant is not there any more.
    pub credentials_since: Option<Option<SystemTime>>,
    /// Disabled or not.
    pub disabled: Option<bool>,
    /// `Some(None)` takes the address away. A new one counts as confirmed: whoever sets it vouches for it.
    pub email: Option<Option<Email>>,
    /// For display.
    pub name: Option<DisplayName>,
    /// A new hash, and when it was asked for: it counts from when it is written.
    pub password: Option<(SecretString, SystemTime)>,
    /// The whole new set.
    pub roles: Option<BTreeSet<Role>>,
    /// Which of its sessions end in the same unit.
    pub sessions: EndSessions,
}

/// Which sessions of an account end with a change.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EndSessions {
    /// None: the change is seen by the sessions that go on.
    #[default]
    None,
    /// All of them, and all one-time tokens.
    All,
    /// All of them; links that are on their way stay good.
    AllSessions,
    /// All but this one, and all tokens: whoever signs out everywhere else means programs as well.
    Except(Digest),
}

impl EndSessions {
    /// Whether access and refresh tokens end as well.
    pub fn ends_tokens(self) -> bool {
        match self {
            Self::None | Self::AllSessions => false,
            Self::All | Self::Except(_) => true,
        }
    }
}

/// A login kept on the server.
#[derive(Clone, Debug)]
pub struct Session {
    /// When the password was typed.
    pub authenticated_at: SystemTime,
    /// Where from.
    pub client: IpAddr,
    /// SHA-256 of the cookie's value.
    pub digest: Digest,
    /// It ends here, used or not.
    pub expires_at: SystemTime,
    /// It ends this long after its last use.
    pub idle_timeout: Duration,
    /// The last use that was written down.
    pub last_seen: SystemTime,
    /// Made with "remember me".
    pub remembered: bool,
    /// The browser's name for itself; the store keeps the first 256 bytes.
    pub user_agent: String,
    /// Whose it is.
    pub user_id: UserId,
}

/// What a one-time token is good for. An account has one of each at most: a new one voids the older.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Confirming the address that the account has.
    ConfirmEmail,
    /// Confirming this address, which takes the place of the one that the account has.
    ConfirmNewEmail(Email),
    /// Setting a password. Where it was sent to the account's address it confirms that as well.
    SetPassword,
}

/// A link that works once.
#[derive(Clone, Debug)]
pub struct OneTimeToken {
    /// SHA-256 of what the link holds.
    pub digest: Digest,
    /// It ends here, used or not.
    pub expires_at: SystemTime,
    /// What for.
    pub purpose: Purpose,
    /// Whose.
    pub user_id: UserId,
}

/// The link that confirms a registration. The account lasts as long as the last of them, or for good.
#[derive(Clone, Copy, Debug)]
pub struct ConfirmationLink {
    /// SHA-256 of what the link holds.
    pub digest: Digest,
    /// It ends here, used or not.
    pub expires_at: SystemTime,
}

/// What came of a registration whose address is still to be confirmed. Whoever asked is told the same.
#[derive(Clone, Debug)]
pub enum Registered {
    /// The address belongs to this account. The name is kept from others all the same, as long as a link
    /// would live, by an account without an address that nobody can confirm: else a second try for the same
    /// name would tell what the first one didn't.
    AddressTaken {
        /// Whose address it is.
        owner: User,
    },
    /// The account is made, and its link is good; but another that has not confirmed the address either has it until
    /// one of the two is confirmed.
    Contended {
        /// Where the link goes: whoever reads it there gets the address.
        email: Email,
        /// Without an address so far.
        user: User,
    },
    /// The account is made; its link is good.
    Made(User),
}

/// What a link for confirming an address did.
#[derive(Clone, Debug)]
pub enum Confirmed {
    /// The account has a new address.
    Changed {
        /// The one that it had.
        old: Option<Email>,
        /// As it is now.
        user: User,
    },
    /// The address that the account has is confirmed.
    Own(User),
}

/// An invitation to make an account. Whoever invites the same address again voids their older one, and nobody else's.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// SHA-256 of what the link holds.
    pub digest: Digest,
    /// Whom it is for; the account gets this address, confirmed.
    pub email: Email,
    /// It ends here, used or not.
    pub expires_at: SystemTime,
    /// Which account sent it; `None`: an administrator.
    pub invited_by: Option<UserId>,
    /// What the account gets beside the roles of everybody who registers.
    pub roles: BTreeSet<Role>,
}

/// Which members may invite, so that an invitation of theirs is good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Inviters {
    /// Whoever may sign in.
    Everybody,
    /// None: administrators alone invite.
    Nobody,
    /// Who has one of these roles.
    With(BTreeSet<Role>),
}

impl Inviters {
    /// Whether this account is one of them.
    pub fn have(&self, user: &User) -> bool {
        user.may_sign_in()
            && match self {
                Self::Everybody => true,
                Self::Nobody => false,
                Self::With(roles) => !roles.is_disjoint(&user.roles),
            }
    }
}

/// Which invitations end.
#[derive(Clone, Debug)]
pub enum EndInvitations {
    /// One.
    One {
        /// What its digest begins with.
        id: ShortId,
        /// Only where this member sent it.
        of: Option<UserId>,
    },
    /// Those to this address, whoever sent them.
    To(Email),
}

/// A JWT signing key as it is kept.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// `EdDSA`, `ES256`, `RS256` or `HS256`.
    pub algorithm: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// Its name in `kid`: the RFC 7638 thumbprint, or a random one for a secret.
    pub kid: String,
    /// PKCS#8 in DER (version 1 for Ed25519), or the raw secret of `HS256`.
    pub private: secrecy::SecretBox<[u8]>,
    /// From then on it signs, until the next one does.
    pub signs_from: SystemTime,
}

/// What of a backup is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Restoring {
    /// All of it: the store goes on elsewhere.
    All,
    /// What lasts. No session, link or refresh token comes back, for it may have ended since, nor do mails that were sent
    /// since; and what was signed before this moment is void.
    WithoutSessions {
        /// Now.
        since: SystemTime,
    },
}

/// What a check of all rows against each other found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verification {
    /// Accounts that are there.
    pub accounts: u64,
    /// Rows that no other row vouches for; nothing when all is well.
    pub faults: u64,
    /// What the first few faults are, without a name or an address.
    pub first_faults: Vec<String>,
    /// Invitations that are there, ended ones among them.
    pub invitations: u64,
    /// Mails that wait.
    pub mails: u64,
    /// One-time tokens that are there, ended ones among them.
    pub one_time_tokens: u64,
    /// Personal access tokens that are there, ended ones among them.
    pub personal_tokens: u64,
    /// Sessions that are there, ended ones among them.
    pub sessions: u64,
}
