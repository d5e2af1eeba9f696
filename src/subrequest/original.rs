//! The original request, as each proxy describes it.
//!
//! Only headers that the dialect names count, and one that says something else under another name is
//! a contradiction: whoever sent it wanted to be taken for another request.
//!
//! Callers: `subrequest`.

use http::{HeaderMap, Method};

use super::{Dialect, method};
use crate::request::{Context, Host, OriginalRequest, Scheme, Target};

/// Why a description is no request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum DescriptionFault {
    /// Two headers say different things.
    #[error("{0} contradicts another header")]
    Contradiction(&'static str),
    /// One header twice, with different values.
    #[error("{0} is there twice with different values")]
    Doubled(&'static str),
    /// A header that has to be there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A header that can't be read.
    #[error("{0} can't be read")]
    Unreadable(&'static str),
}

use DescriptionFault::{Contradiction, Doubled, Missing, Unreadable};

/// The context of the request that the question is about.
pub(super) fn original(
    dialect: Dialect,
    prefix: &str,
    question: &Context,
    headers: &HeaderMap,
) -> Result<Context, DescriptionFault> {
    let described = match dialect {
        Dialect::AuthRequest => by_original_url(headers)?,
        Dialect::ForwardAuth => by_forwarded(question, headers)?,
        Dialect::ExtAuthz => by_itself(prefix, question, headers)?,
    };
    agree(&described, headers)?;
    Ok(Context::described(described, question))
}

/// nginx: the whole URL in one header, the method in another.
fn by_original_url(headers: &HeaderMap) -> Result<OriginalRequest, DescriptionFault> {
    const URL: &str = "x-original-url";
    let url = one(headers, URL)?.ok_or(Missing(URL))?;
    let (scheme, rest) = url.split_once("://").ok_or(Unreadable(URL))?;
    let scheme = scheme_of(scheme).ok_or(Unreadable(URL))?;
    let (authority, target) = match rest.find(['/', '?', '#']) {
        Some(start) if rest[start..].starts_with('/') => rest.split_at(start),
        Some(_) => return Err(Unreadable(URL)),
        None => (rest, "/"),
    };
    let described = OriginalRequest {
        host: Host::parse(authority).map_err(|_| Unreadable(URL))?,
        method: named_method(headers, "x-original-method")?,
        scheme,
        target: Target::parse(target).map_err(|_| Unreadable(URL))?,
    };
    // ingress-nginx sends the path on its own as well.
    if one(headers, "x-original-uri")?.is_some_and(|uri| uri != target) {
        return Err(Contradiction("x-original-uri"));
    }
    Ok(described)
}

/// Traefik, Caddy, HAProxy: method, host and URI in three headers.
fn by_forwarded(question: &Context, headers: &HeaderMap) -> Result<OriginalRequest, DescriptionFault> {
    let host = one(headers, "x-forwarded-host")?.ok_or(Missing("x-forwarded-host"))?;
    let uri = one(headers, "x-forwarded-uri")?.ok_or(Missing("x-forwarded-uri"))?;
    let scheme = match one(headers, "x-forwarded-proto")? {
        // A WebSocket is asked about under the name of its own scheme.
        Some("ws") => Scheme::Http,
        Some("wss") => Scheme::Https,
        Some(scheme) => scheme_of(scheme).ok_or(Unreadable("x-forwarded-proto"))?,
        None => question.scheme,
    };
    Ok(OriginalRequest {
        host: Host::parse(host).map_err(|_| Unreadable("x-forwarded-host"))?,
        method: named_method(headers, "x-forwarded-method")?,
        scheme,
        target: Target::parse(uri).map_err(|_| Unreadable("x-forwarded-uri"))?,
    })
}

/// Envoy: the question is the original request, behind a prefix.
fn by_itself(prefix: &str, question: &Context, headers: &HeaderMap) -> Result<OriginalRequest, DescriptionFault> {
    let path = question.target.as_str().strip_prefix(prefix).and_then(|rest| rest.strip_prefix("/ext-authz"));
    let target = match path.ok_or(Unreadable("the path"))? {
        "" => "/",
        rest if rest.starts_with('/') => rest,
        _ => return Err(Unreadable("the path")),
    };
    let host = one(headers, "host")?.ok_or(Missing("host"))?;
    Ok(OriginalRequest {
        host: Host::parse(host).map_err(|_| Unreadable("host"))?,
        method: question.method.clone(),
        scheme: question.scheme,
        target: Target::parse(target).map_err(|_| Unreadable("the path"))?,
    })
}

/// Whatever else describes the request says the same.
fn agree(described: &OriginalRequest, headers: &HeaderMap) -> Result<(), DescriptionFault> {
    for name in ["x-forwarded-method", "x-original-method"] {
        if one(headers, name)?.is_some_and(|other| other != described.method.as_str()) {
            return Err(Contradiction(name));
        }
    }
    for name in ["x-forwarded-uri", "x-original-uri"] {
        if one(headers, name)?.is_some_and(|other| other != described.target.as_str()) {
            return Err(Contradiction(name));
        }
    }
    let host = one(headers, "x-forwarded-host")?;
    if host.is_some_and(|host| Host::parse(host).map_or(true, |host| host.name != described.host.name)) {
        return Err(Contradiction("x-forwarded-host"));
    }
    if let Some(url) = one(headers, "x-original-url")? {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let same_host = authority.is_empty() || Host::parse(authority).is_ok_and(|host| host.name == described.host.name);
        let same_target = target == described.target.as_str() || (target.is_empty() && described.target.as_str() == "/");
        if !same_host || !same_target {
            return Err(Contradiction("x-original-url"));
        }
    }
    Ok(())
}

fn named_method(headers: &HeaderMap, name: &'static str) -> Result<Method, DescriptionFault> {
    method(one(headers, name)?.ok_or(Missing(name))?).ok_or(Unreadable(name))
}

fn scheme_of(raw: &str) -> Option<Scheme> {
    match raw {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => None,
    }
}

/// The one value of a header; an empty one is none (ingress-nginx empties what it does not send).
fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, DescriptionFault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.any(|other| Some(other) != first) {
        return Err(Doubled(name));
    }
    let text = first.map(|value| value.to_str().map_err(|_| Unreadable(name))).transpose()?;
    Ok(text.map(str::trim).filter(|text| !text.is_empty()))
}
