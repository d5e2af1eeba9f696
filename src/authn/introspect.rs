//! What a token is worth at this moment, for a service that was shown one and can't tell by itself (RFC 7662).
//!
//! Access tokens, ours and other issuers', and personal ones are asked about as if they had been shown to us, so the
//! answer is the one that a request with it would get. A refresh token is looked at and not used.
//!
//! Callers: `portal`, which has asked who wants to know.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::bearer::Compact;
use super::refresh::{self, RefreshToken};
use super::{Asker, Authentication, AuthenticationError, Authenticator, Rejection, login};
use crate::identity::{Credential, Identity};

/// A token that is good.
#[derive(Clone, Debug)]
pub struct Introspected {
    /// What else an access token says of itself.
    pub claims: TokenClaims,
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// Whether it is a refresh token: good for a new access token, and for nothing else.
    pub is_refresh: bool,
}

/// The claims of an access token that a verifier may want to see, as they stand in it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TokenClaims {
    /// Whom it is for: one, or a list.
    pub aud: Option<serde_json::Value>,
    /// When it was made.
    pub iat: Option<serde_json::Number>,
    /// Who made it.
    pub iss: Option<String>,
    /// Its name.
    pub jti: Option<String>,
    /// Whose it is, at its issuer.
    pub sub: Option<String>,
}

impl Authenticator {
    /// Whose token this is, if it is good; nothing else is said of one that isn't.
    pub async fn introspect(
        &self,
        token: &SecretString,
        asker: Asker,
    ) -> Result<Option<Introspected>, AuthenticationError> {
        if refresh::is_meant(token) {
            return self.introspect_refresh_token(token, asker);
        }
        let shown = [b"Bearer ", token.expose_secret().as_bytes()].concat();
        let Ok(mut value) = HeaderValue::from_bytes(&shown) else { return Ok(None) };
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let accepted = BTreeSet::from([Credential::Bearer]);
        let identity = match self.authenticate(&headers, &accepted, asker).await? {
            Authentication::Verified(identity) => identity,
            // Not looked at is not inactive.
            Authentication::Rejected(Rejection::Limited { .. }) => return Err(AuthenticationError::Busy),
            Authentication::Absent | Authentication::Rejected(Rejection::Basic | Rejection::Bearer(_)) => {
                return Ok(None);
            }
        };
        // The leeway is for requests; who asks about a token can tell the time by its `exp`.
        if identity.expires_at.is_some_and(|end| end <= asker.now) {
            return Ok(None);
        }
        // It was verified, so what stands in it is what its issuer has said. A personal token says nothing.
        let payload = Compact::split(token.expose_secret().as_bytes()).and_then(|parts| parts.payload());
        let claims = payload.ok().and_then(|payload| serde_json::from_slice(&payload).ok());
        Ok(Some(Introspected { claims: claims.unwrap_or_default(), identity, is_refresh: false }))
    }

    fn introspect_refresh_token(
        &self,
        token: &SecretString,
        asker: Asker,
    ) -> Result<Option<Introspected>, AuthenticationError> {
        let Some(token) = RefreshToken::parse(token.expose_secret()) else { return Ok(None) };
        let Some(lifetime) = self.tokens().settings().refresh_ttl else { return Ok(None) };
        let family = self.store.refresh_family(token.family())?;
        let Some(family) = family.filter(|family| family.current == token.digest()) else { return Ok(None) };
        let ends_at = family.expires_at.min(family.authenticated_at + lifetime);
        let user = self.store.user(family.user_id)?.filter(|user| {
            user.may_sign_in() && user.credentials_since.is_none_or(|since| family.authenticated_at >= since)
        });
        let Some(user) = user.filter(|_| asker.now < ends_at) else { return Ok(None) };
        let identity = Identity {
            expires_at: Some(ends_at),
            ..login::identity(&user, Credential::Bearer, family.authenticated_at)
        };
        let claims =
            TokenClaims { iss: Some(self.tokens().settings().issuer.clone()), ..TokenClaims::default() };
        Ok(Some(Introspected { claims, identity: Arc::new(identity), is_refresh: true }))
    }
}
