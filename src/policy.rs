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

use crate::identity::{Certificate, Credential, Identity, Role};

mod certificate;

pub use certificate::{
    CertificateRequirement, InvalidNamePattern, InvalidSubjectPattern, NamePattern, SubjectPattern,
};

/// Who may pass a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Policy {
    /// Everybody; no credential is looked at, so nobody is identified.
    Public,
    /// Everybody whose connection meets these; no credential is looked at, so nobody is identified.
    PublicIf(Conditions),
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
    /// What signing in does not change.
    pub conditions: Conditions,
    /// The password was typed at most this long ago.
    pub fresh_login: Option<Duration>,
}

/// What is required of the connection, whoever signs in on it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Conditions {
    /// It showed a certificate, and one of those.
    pub client_certificate: Option<CertificateRequirement>,
    /// The client's address is in one of these networks.
    pub networks: Option<Vec<IpNet>>,
}

/// What is known of the request besides the identity.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f> {
    /// What the client's connection showed, if it is good; a sub-request shows none.
    pub certificate: Option<&'f Certificate>,
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
    /// Signing in, or again as the same person, would not help.
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
    /// Shows no certificate, or not the right one.
    ClientCertificate,
    /// Shows a personal access token that is for other routes.
    TokenRoutes,
}

impl Reason {
    /// One clause for `explain` and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Roles => "has none of the required roles",
            Self::Users => "is none of the required users",
            Self::EmailDomains => "has no address in one of the required domains",
            Self::Networks => "comes from none of the required networks",
            Self::ClientCertificate => "shows none of the required client certificates",
            Self::TokenRoutes => "shows a personal access token that is for other routes",
        }
    }
}

impl Policy {
    /// The rule. Never fails: what isn't known counts as not met.
    pub fn evaluate(&self, identity: Option<&Identity>, facts: Facts<'_>) -> Verdict {
        match (self, identity) {
            (Self::Public | Self::Optional, _) => Verdict::Allow,
            (Self::PublicIf(conditions), _) => {
                conditions.unmet(facts).map_or(Verdict::Allow, Verdict::Forbid)
            }
            // A login page is of no use to whoever has to come with a certificate.
            (Self::Require(requirements), None) if !requirements.conditions.shows_certificate(facts) => {
                Verdict::Forbid(Reason::ClientCertificate)
            }
            (Self::Authenticated | Self::Require(_), None) => Verdict::Challenge,
            (Self::Authenticated, Some(_)) => Verdict::Allow,
            (Self::Require(requirements), Some(identity)) => requirements.evaluate(identity, facts),
        }
    }
}

impl Conditions {
    fn unmet(&self, facts: Facts<'_>) -> Option<Reason> {
        if let Some(networks) = &self.networks
            && !networks.iter().any(|network| network.contains(&facts.client))
        {
            return Some(Reason::Networks);
        }
        (!self.shows_certificate(facts)).then_some(Reason::ClientCertificate)
    }

    fn shows_certificate(&self, facts: Facts<'_>) -> bool {
        self.client_certificate.as_ref().is_none_or(|wanted| wanted.is_met_by(facts.certificate))
    }
}

impl Requirements {
    fn evaluate(&self, identity: &Identity, facts: Facts<'_>) -> Verdict {
        if let Some(reason) = self.conditions.unmet(facts) {
            return Verdict::Forbid(reason);
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
            && (identity.credential != Credential::Basic || identity.token.is_some())
        {
            // A personal access token is no typed password, however young it is. And a login in the future (a clock set back) is as old as can be, not as young.
            let age = facts.now.duration_since(identity.authenticated_at);
            if identity.token.is_some() || age.is_err() || age.is_ok_and(|age| age > max_age) {
                return Verdict::Stale { max_age };
            }
        }
        Verdict::Allow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Principal, UserId};

    const NOON: SystemTime = SystemTime::UNIX_EPOCH;

    fn alice() -> Identity {
        Identity {
            access_token: None,
            authenticated_at: NOON,
            credential: Credential::Session,
            email: "alice@Example.com".parse().ok(),
            expires_at: None,
            name: "Alice".parse().expect("a name"),
            roles: BTreeSet::from(["staff".parse().expect("a role")]),
            session: None,
            token: None,
            principal: Principal::Account(UserId::generate()),
            username: "Alice".parse().expect("a username"),
        }
    }

    fn facts(after: u64) -> Facts<'static> {
        Facts {
            certificate: None,
            client: IpAddr::from([10, 1, 2, 3]),
            now: NOON + Duration::from_secs(after),
        }
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
            (require(|r| r.conditions.networks = network("10.0.0.0/8")), true, 0, Verdict::Allow),
            (
                require(|r| r.conditions.networks = network("10.0.0.0/16")),
                true,
                0,
                Verdict::Forbid(Reason::Networks),
            ),
            (require(|r| r.fresh_login = Some(minute)), true, 60, Verdict::Allow),
            (require(|r| r.fresh_login = Some(minute)), true, 61, Verdict::Stale { max_age: minute }),
        ];
        for (policy, signed_in, after, expected) in cases {
            let identity = signed_in.then(alice);
            assert_eq!(policy.evaluate(identity.as_ref(), facts(after)), expected, "{policy:?}");
        }
    }

    #[test]
    fn a_certificate_that_is_missing_is_forbidden_and_no_reason_to_sign_in() {
        let certificate = Certificate {
            alternative_names: Vec::new(),
            common_name: Some("robot".to_owned()),
            der: Vec::new(),
            not_after: NOON,
            not_before: NOON,
            serial: String::new(),
            subject: "CN=robot".to_owned(),
        };
        let wanted = || Some(CertificateRequirement::default());
        let conditions = Conditions { client_certificate: wanted(), networks: None };
        let far = Conditions { networks: Some(Vec::new()), ..conditions.clone() };
        let with_login = require(|r| r.conditions.client_certificate = wanted());
        let forbidden = Verdict::Forbid(Reason::ClientCertificate);
        for (policy, shown, signed_in, expected) in [
            (Policy::PublicIf(conditions.clone()), true, false, Verdict::Allow),
            (Policy::PublicIf(conditions.clone()), false, false, forbidden),
            (Policy::PublicIf(conditions), false, true, forbidden),
            (Policy::PublicIf(far), true, false, Verdict::Forbid(Reason::Networks)),
            (with_login.clone(), true, true, Verdict::Allow),
            (with_login.clone(), true, false, Verdict::Challenge),
            (with_login.clone(), false, true, forbidden),
            (with_login, false, false, forbidden),
        ] {
            let identity = signed_in.then(alice);
            let facts = Facts { certificate: shown.then_some(&certificate), ..facts(0) };
            assert_eq!(policy.evaluate(identity.as_ref(), facts), expected, "{policy:?} {shown} {signed_in}");
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
        let facts = Facts {
            certificate: None,
            client: IpAddr::from([10, 0, 0, 1]),
            now: NOON - Duration::from_secs(1),
        };
        assert!(matches!(policy.evaluate(Some(&alice()), facts), Verdict::Stale { .. }));
    }
}
