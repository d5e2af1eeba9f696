//! The outer form of a token: three parts of strict base64url, before anything in it is believed.
//!
//! Callers: `authn::bearer`, and whoever else verifies a JWT. What header and claims say is not read here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::TokenFault;

/// Bytes of the longest token that is looked at.
const MAX_TOKEN: usize = 8 * 1024;

/// A compact JWS in its three parts, none of them decoded.
pub(in crate::authn) struct Compact<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
    signed: &'a [u8],
}

impl<'a> Compact<'a> {
    /// Of a token that is not too long and has three parts.
    pub(in crate::authn) fn split(token: &'a [u8]) -> Result<Self, TokenFault> {
        if token.len() > MAX_TOKEN {
            return Err(TokenFault::Form);
        }
        let mut parts = token.split(|&byte| byte == b'.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(header), Some(payload), Some(signature), None) => {
                let signed = &token[..header.len() + 1 + payload.len()];
                Ok(Self { header, payload, signature, signed })
            }
            _ => Err(TokenFault::Form),
        }
    }

    /// The header's JSON.
    pub(in crate::authn) fn header(&self) -> Result<Vec<u8>, TokenFault> {
        decode(self.header)
    }

    /// The payload's JSON.
    pub(in crate::authn) fn payload(&self) -> Result<Vec<u8>, TokenFault> {
        decode(self.payload)
    }

    /// The signature's bytes.
    pub(in crate::authn) fn signature(&self) -> Result<Vec<u8>, TokenFault> {
        decode(self.signature)
    }

    /// What the signature is over: header and payload as they came.
    pub(in crate::authn) fn signed(&self) -> &'a [u8] {
        self.signed
    }
}

fn decode(part: &[u8]) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Form)
}
