//! Why a token does not do, as far as whoever shows it may be told.
//!
//! Of a token whose signature is not good nothing is said but that: one is called expired only after its signature was
//! looked at, and a key that is not known is a wrong signature to the client.
//!
//! Callers: `authn` finds it out; `gate` words it, where the configuration asks for words.

use serde::Deserialize;

use super::{Algorithm, Compact, TokenFault};
use crate::authn::refresh;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenRefusal {
    /// Its header names an algorithm that is not the key's.
    Algorithm,
    /// Two different ones were shown in one place, or those of two people in two.
    Conflict,
    /// What has to be sent beside a cookie is not what stands in its token.
    CsrfMismatch,
    /// Nothing was sent beside a cookie.
    CsrfMissing,
    /// It was good, and its time is over.
    Expired,
    /// It is not what is taken here.
    Invalid,
    /// It was not made for a cookie, and stands in one.
    NoCsrfClaim,
    /// This part is not base64url.
    Part(TokenPart),
    /// It is a refresh token.
    Refresh,
    /// It was good, and it or what it rests on has been ended.
    Revoked,
    /// It has not three parts.
    Segments,
    /// Its signature is not that of a key that is known.
    Signature,
}

/// A header, as far as it is looked at once it has been refused.
#[derive(Deserialize)]
struct Named {
    alg: String,
}

/// A part of a compact JWS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenPart {
    /// The first.
    Header,
    /// The second.
    Payload,
    /// The third.
    Signature,
}

impl TokenRefusal {
    /// What a fault in one of our own comes to.
    pub(in crate::authn) fn of(fault: &TokenFault, token: &[u8]) -> Self {
        match fault {
            TokenFault::Algorithm => Self::Algorithm,
            // Read in it and not believed, for its signature comes last.
            TokenFault::Audience | TokenFault::Braked { .. } | TokenFault::Expired | TokenFault::Issuer => {
                Self::Invalid
            }
            TokenFault::Form => Self::of_form(token),
            TokenFault::Key | TokenFault::Signature => Self::Signature,
        }
    }

    /// Of what was not taken for a token by its form.
    fn of_form(token: &[u8]) -> Self {
        if token.starts_with(refresh::PREFIX.as_bytes()) {
            return Self::Refresh;
        }
        if token.iter().filter(|&&byte| byte == b'.').count() < 2 {
            return Self::Segments;
        }
        // A fourth part counts to the second, in which a dot is no base64url.
        let Ok(parts) = Compact::split(token) else { return Self::Part(TokenPart::Payload) };
        let parts = [
            (TokenPart::Header, parts.header()),
            (TokenPart::Payload, parts.payload()),
            (TokenPart::Signature, parts.signature()),
        ];
        if let Some((part, _)) = parts.iter().find(|(_, decoded)| decoded.is_err()) {
            return Self::Part(*part);
        }
        let header = parts[0].1.as_ref().ok().and_then(|header| serde_json::from_slice(header).ok());
        let algorithm = header.as_ref().and_then(|Named { alg }| Algorithm::from_name(alg));
        if header.is_some() && algorithm.is_none() { Self::Algorithm } else { Self::Invalid }
    }
}

#[cfg(test)]
mod tests {
    use super::TokenPart::{Header, Payload, Signature};
    use super::*;

    #[test]
    fn a_form_is_named_by_its_first_fault() {
        for (token, expected) in [
            ("", TokenRefusal::Segments),
            ("a", TokenRefusal::Segments),
            ("a.b", TokenRefusal::Segments),
            ("fgr_a", TokenRefusal::Refresh),
            ("!.e30.e30", TokenRefusal::Part(Header)),
            ("e30.!.!", TokenRefusal::Part(Payload)),
            ("e30.e30.!", TokenRefusal::Part(Signature)),
            ("e30.e30.e30.e30", TokenRefusal::Part(Payload)),
            ("e30.e30.e30", TokenRefusal::Invalid),
            // {"alg":"none"} and {"alg":"HS256"}
            ("eyJhbGciOiJub25lIn0.e30.", TokenRefusal::Algorithm),
            ("eyJhbGciOiJIUzI1NiJ9.e30.e30", TokenRefusal::Invalid),
        ] {
            assert_eq!(TokenRefusal::of(&TokenFault::Form, token.as_bytes()), expected, "{token}");
        }
        assert_eq!(TokenRefusal::of(&TokenFault::Key, b"a.b.c"), TokenRefusal::Signature);
    }
}
