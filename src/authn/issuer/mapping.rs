//! From the claims of a verified token to an identity.
//!
//! What can't be a name of ours ends it; what can't be a role, an address or a display name is left
//! out, which takes something away and never gives anything.
//!
//! Callers: `authn::issuer`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use super::settings::{ClaimPath, IssuerSettings, Separator};
use super::token::{Claims, ForeignFault};
use crate::identity::{Credential, Foreign, ForeignKey, Identity, Principal, Role, Username};

/// Roles of one identity at most: with more, no header that lists them would be taken by an upstream.
const ROLES: usize = 500;

/// Who a token speaks of. There need be no account.
pub(super) fn identity(
    claims: Claims,
    settings: &IssuerSettings,
    key: ForeignKey,
) -> Result<Identity, ForeignFault> {
    let names = &settings.claims;
    let text = |path: &ClaimPath| claims.find(path).and_then(Value::as_str);
    let username = text(&names.username)
        .and_then(|name| format!("{}{name}", settings.username_prefix).parse::<Username>().ok())
        .ok_or_else(|| ForeignFault::Username(names.username.as_str().to_owned()))?;
    let email = text(&names.email).filter(|_| !denies_email(&claims)).and_then(|email| email.parse().ok());
    let name = text(&names.name).and_then(|name| name.parse().ok()).unwrap_or_default();
    let roles = names.roles.as_ref().and_then(|path| claims.find(path));
    let roles = roles.map(|roles| self::roles(roles, settings)).unwrap_or_default();
    let foreign = Foreign { issuer: settings.source.issuer.clone(), key, subject: claims.subject };
    Ok(Identity {
        access_token: None,
        // Of a token that does not say when somebody signed in, nobody knows: `iat` is renewed with each refresh.
        authenticated_at: claims.authenticated_at.unwrap_or(SystemTime::UNIX_EPOCH),
        credential: Credential::Bearer,
        email,
        expires_at: Some(claims.expires_at),
        name,
        principal: Principal::Foreign(Arc::new(foreign)),
        roles,
        session: None,
        token: None,
        username,
    })
}

/// OpenID Connect Core §5.1. Where nothing is said the issuer is taken to have looked.
fn denies_email(claims: &Claims) -> bool {
    let verified = "email_verified".parse().ok().and_then(|path| claims.find(&path));
    verified.is_some_and(|verified| *verified != true && *verified != "true")
}

fn roles(claim: &Value, settings: &IssuerSettings) -> BTreeSet<Role> {
    let names: Vec<&str> = match (claim, settings.roles_separator) {
        (Value::Array(names), _) => names.iter().filter_map(Value::as_str).collect(),
        (Value::String(names), Some(Separator::Comma)) => names.split(',').map(str::trim).collect(),
        (Value::String(names), Some(Separator::Space)) => names.split_whitespace().collect(),
        (Value::String(name), None) => vec![name],
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_), _) => Vec::new(),
    };
    let mut roles = BTreeSet::new();
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        match format!("{}{name}", settings.roles_prefix).parse() {
            Ok(role) if roles.len() < ROLES => {
                roles.insert(role);
            }
            // In a list it would be two roles, or it is one too many.
            Ok(_) | Err(_) => {
                tracing::debug!(
                    issuer = settings.source.issuer,
                    role = name,
                    "a role of another issuer was left out"
                );
            }
        }
    }
    roles
}
