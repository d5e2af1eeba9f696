//! What a route asks of the person: a pure rule from identity and facts to a verdict.
//!
//! No request, no clock, no store: everything that the rule needs is an argument, so that a table
//! can test it and `foregate explain` can ask it.
//!
//! Callers: `gate` evaluates; `route` carries one policy each. Which credentials count and what an
//! answer looks like is decided elsewhere.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use crate::identity::{Credential, Identity, Role};

/// Who may pass a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Policy {
    /// Everybody; no credential is looked at, so nobody is identified.
    Public,
    /// Everybody; whoever shows a good credential is identified.
    Optional,
    /// Everybody who signed in.
    Authenticated,
    /// Who signed in and meets all of these.
    Require(Requirements),
}

/// What `require` lists. All that is there must hold; within one list, one entry must.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Requirements {
    /// One of these roles; `None` asks for none.
    pub roles: Option<BTreeSet<Role>>,
    /// One of these login names, folded.
    pub users: Option<BTreeSet<String>>,
    /// The address ends in exactly one of these domains, folded.
    pub email_domains: Option<BTreeSet<String>>,
    /// The client's address is in one of these networks.
    pub networks: Option<Vec<IpNet>>,
    /// The password was typed at most this long ago.
    pub fresh_login: Option<Duration>,
}

/// What is known of the request besides the identity.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The client's address, by the rule for trusted proxies.
    pub client: IpAddr,
    /// When the request arrived.
    pub now: SystemTime,
}

/// What a policy says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Let it through.
    Allow,
    /// Nobody is signed in and somebody has to be.
    Challenge,
    /// Signed in, and signing in again as the same person would not help.
    Forbid(Reason),
    /// Signed in, but the password was typed too long ago (RFC 9470).
    Stale {
        /// The oldest age of a login that would do.
        max_age: Duration,
    },
}

/// Which requirement is not met: for `explain` and the log, never for the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Has none of the roles.
    Roles,
    /// Is none of the users.
    Users,
    /// Has no address in one of the domains.
    EmailDomains,
    /// Comes from none of the networks.
    Networks,
}

impl Reason {
    /// One clause for `explain` and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Roles => "has none of the required roles",
            Self::Users => "is none of the required users",
            Self::EmailDomains => "has no address in one of the required domains",
            Self::Networks => "comes from none of the required networks",
        }
    }
}

impl Policy {
    /// The rule. Never fails: what isn't known counts as not met.
    pub fn evaluate(&self, identity: Option<&Identity>, facts: Facts) -> Verdict {
        match (self, identity) {
            (Self::Public | Self::Optional, _) => Verdict::Allow,
            (Self::Authenticated | Self::Require(_), None) => Verdict::Challenge,
            (Self::Authenticated, Some(_)) => Verdict::Allow,
            (Self::Require(requirements), Some(identity)) => requirements.evaluate(identity, facts),
        }
    }
}

impl Requirements {
    fn evaluate(&self, identity: &Identity, facts: Facts) -> Verdict {
        if let Some(networks) = &self.networks
            && !networks.iter().any(|network| network.contains(&facts.client))
        {
            return Verdict::Forbid(Reason::Networks);
        }
        if let Some(roles) = &self.roles
            && roles.is_disjoint(&identity.roles)
        {
            return Verdict::Forbid(Reason::Roles);
        }
        if let Some(users) = &self.users
            && !users.contains(&identity.username.folded())
        {
            return Verdict::Forbid(Reason::Users);
        }
        if let Some(domains) = &self.email_domains
            && !identity.email.as_ref().is_some_and(|email| domains.contains(&email.domain()))
        {
            return Verdict::Forbid(Reason::EmailDomains);
        }
        // Last: asking for the password again must be of use. With Basic it comes with every request, and
        // the time of the login is merely the one at which it was last checked.
        if let Some(max_age) = self.fresh_login
            && identity.credential != Credential::Basic
        {
            // A login in the future (a clock set back) is as old as can be, not as young.
            let age = facts.now.duration_since(identity.authenticated_at);
            if age.is_err() || age.is_ok_and(|age| age > max_age) {
                return Verdict::Stale { max_age };
            }
        }
        Verdict::Allow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::UserId;

    const NOON: SystemTime = SystemTime::UNIX_EPOCH;

    fn alice() -> Identity {
        Identity {
            authenticated_at: NOON,
            credential: Credential::Session,
            email: "alice@Example.com".parse().ok(),
            expires_at: None,
            name: "Alice".parse().expect("a name"),
            roles: BTreeSet::from(["staff".parse().expect("a role")]),
            session: None,
            user_id: UserId::generate(),
            username: "Alice".parse().expect("a username"),
        }
    }

    fn facts(after: u64) -> Facts {
        Facts { client: IpAddr::from([10, 1, 2, 3]), now: NOON + Duration::from_secs(after) }
    }

    fn require(change: impl FnOnce(&mut Requirements)) -> Policy {
        let mut requirements = Requirements::default();
        change(&mut requirements);
        Policy::Require(requirements)
    }

    #[test]
    fn verdicts() {
        let set = |item: &str| Some(BTreeSet::from([item.to_owned()]));
        let role = |name: &str| Some(BTreeSet::from([name.parse().expect("a role")]));
        let network = |net: &str| Some(vec![net.parse().expect("a network")]);
        let minute = Duration::from_secs(60);
        let cases = [
            (Policy::Public, true, 0, Verdict::Allow),
            (Policy::Public, false, 0, Verdict::Allow),
            (Policy::Optional, false, 0, Verdict::Allow),
            (Policy::Authenticated, false, 0, Verdict::Challenge),
            (Policy::Authenticated, true, 0, Verdict::Allow),
            (require(|r| r.roles = role("staff")), true, 0, Verdict::Allow),
            (require(|r| r.roles = role("Staff")), true, 0, Verdict::Forbid(Reason::Roles)),
            (require(|r| r.roles = Some(BTreeSet::new())), true, 0, Verdict::Forbid(Reason::Roles)),
            (require(|r| r.roles = role("staff")), false, 0, Verdict::Challenge),
            (require(|r| r.users = set("alice")), true, 0, Verdict::Allow),
            (require(|r| r.users = set("bob")), true, 0, Verdict::Forbid(Reason::Users)),
            (require(|r| r.email_domains = set("example.com")), true, 0, Verdict::Allow),
            (require(|r| r.email_domains = set("ample.com")), true, 0, Verdict::Forbid(Reason::EmailDomains)),
            (require(|r| r.networks = network("10.0.0.0/8")), true, 0, Verdict::Allow),
            (require(|r| r.networks = network("10.0.0.0/16")), true, 0, Verdict::Forbid(Reason::Networks)),
            (require(|r| r.fresh_login = Some(minute)), true, 60, Verdict::Allow),
            (require(|r| r.fresh_login = Some(minute)), true, 61, Verdict::Stale { max_age: minute }),
        ];
        for (policy, signed_in, after, expected) in cases {
            let identity = signed_in.then(alice);
            assert_eq!(policy.evaluate(identity.as_ref(), facts(after)), expected, "{policy:?}");
        }
    }

    #[test]
    fn all_requirements_must_hold() {
        let policy = require(|r| {
            r.roles = Some(BTreeSet::from(["staff".parse().expect("a role")]));
            r.users = Some(BTreeSet::from(["bob".to_owned()]));
        });
        assert_eq!(policy.evaluate(Some(&alice()), facts(0)), Verdict::Forbid(Reason::Users));
    }

    #[test]
    fn a_password_that_comes_with_the_request_is_fresh() {
        let policy = require(|r| r.fresh_login = Some(Duration::from_secs(60)));
        let basic = Identity { credential: Credential::Basic, ..alice() };
        assert_eq!(policy.evaluate(Some(&basic), facts(3600)), Verdict::Allow);
    }

    #[test]
    fn a_login_from_the_future_is_not_fresh() {
        let policy = require(|r| r.fresh_login = Some(Duration::from_secs(60)));
        let facts = Facts { client: IpAddr::from([10, 0, 0, 1]), now: NOON - Duration::from_secs(1) };
        assert!(matches!(policy.evaluate(Some(&alice()), facts), Verdict::Stale { .. }));
    }
}
