//! The original request, as each proxy describes it.
//!
//! Only headers that the dialect names count, and one that says something else under another name is
//! a contradiction: whoever sent it wanted to be taken for another request.
//!
//! Callers: `subrequest`.

use http::{HeaderMap, HeaderName, Method, header};

use super::{Dialect, method};
use crate::request::{Context, Host, OriginalRequest, Scheme, Target, read_url};

static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
static ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
static ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
static ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");

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
        Dialect::AuthRequest => by_original_url(question, headers)?,
        Dialect::ForwardAuth => by_forwarded(question, headers)?,
        Dialect::ExtAuthz => by_itself(prefix, question, headers)?,
    };
    agree(dialect, &described, headers)?;
    Context::described(described, question).map_err(|_| Unreadable("the method"))
}

/// nginx: the whole URL in one header, the method in another.
fn by_original_url(question: &Context, headers: &HeaderMap) -> Result<OriginalRequest, DescriptionFault> {
    let url = one(headers, &ORIGINAL_URL)?.ok_or(Missing(ORIGINAL_URL.as_str()))?;
    let (scheme, host, target) = read_url(url).map_err(|_| Unreadable(ORIGINAL_URL.as_str()))?;
    Ok(OriginalRequest {
        client: question.client,
        host,
        method: named_method(headers, &ORIGINAL_METHOD)?,
        scheme,
        target,
    })
}

/// Traefik, Caddy, HAProxy: method, host and URI in three headers.
fn by_forwarded(question: &Context, headers: &HeaderMap) -> Result<OriginalRequest, DescriptionFault> {
    let host = one(headers, &FORWARDED_HOST)?.ok_or(Missing("x-forwarded-host"))?;
    let uri = one(headers, &FORWARDED_URI)?.ok_or(Missing("x-forwarded-uri"))?;
    let scheme = match one(headers, &FORWARDED_PROTO)? {
        // A WebSocket is asked about under the name of its own scheme.
        Some("ws") => Scheme::Http,
        Some("wss") => Scheme::Https,
        Some(scheme) => scheme_of(scheme).ok_or(Unreadable("x-forwarded-proto"))?,
        None => question.scheme,
    };
    Ok(OriginalRequest {
        client: question.client,
        host: host.parse::<Host>().map_err(|_| Unreadable("x-forwarded-host"))?,
        method: named_method(headers, &FORWARDED_METHOD)?,
        scheme,
        target: Target::parse(uri).map_err(|_| Unreadable("x-forwarded-uri"))?,
    })
}

/// Envoy: the question is the original request, behind a prefix.
fn by_itself(
    prefix: &str,
    question: &Context,
    headers: &HeaderMap,
) -> Result<OriginalRequest, DescriptionFault> {
    let path = question.target.as_str().strip_prefix(prefix).and_then(|rest| rest.strip_prefix("/ext-authz"));
    let target = match path.ok_or(Unreadable("the path"))? {
        "" => "/",
        rest if rest.starts_with('/') => rest,
        _ => return Err(Unreadable("the path")),
    };
    let host = one(headers, &header::HOST)?.ok_or(Missing("host"))?;
    Ok(OriginalRequest {
        client: question.client,
        host: host.parse::<Host>().map_err(|_| Unreadable("host"))?,
        method: question.method.clone(),
        scheme: question.scheme,
        target: Target::parse(target).map_err(|_| Unreadable("the path"))?,
    })
}

/// Whatever else describes the request says the same.
fn agree(dialect: Dialect, described: &OriginalRequest, headers: &HeaderMap) -> Result<(), DescriptionFault> {
    for name in [&FORWARDED_METHOD, &ORIGINAL_METHOD] {
        if one(headers, name)?.is_some_and(|other| other != described.method.as_str()) {
            return Err(Contradiction(name.as_str()));
        }
    }
    for name in [&FORWARDED_URI, &ORIGINAL_URI] {
        if one(headers, name)?.is_some_and(|other| other != described.target.as_str()) {
            return Err(Contradiction(name.as_str()));
        }
    }
    let host = one(headers, &FORWARDED_HOST)?;
    if host.is_some_and(|host| host.parse::<Host>().map_or(true, |host| host.name != described.host.name)) {
        return Err(Contradiction("x-forwarded-host"));
    }
    // For nginx it is the description itself.
    if dialect != Dialect::AuthRequest
        && let Some(url) = one(headers, &ORIGINAL_URL)?
    {
        let (_, host, target) = read_url(url).map_err(|_| Unreadable("x-original-url"))?;
        if host.name != described.host.name || target.as_str() != described.target.as_str() {
            return Err(Contradiction("x-original-url"));
        }
    }
    Ok(())
}

fn named_method(headers: &HeaderMap, name: &'static HeaderName) -> Result<Method, DescriptionFault> {
    method(one(headers, name)?.ok_or(Missing(name.as_str()))?).ok_or(Unreadable(name.as_str()))
}

fn scheme_of(raw: &str) -> Option<Scheme> {
    match raw {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => None,
    }
}

/// The one value of a header; an empty one is none (ingress-nginx empties what it does not send).
fn one<'a>(headers: &'a HeaderMap, name: &'static HeaderName) -> Result<Option<&'a str>, DescriptionFault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.any(|other| Some(other) != first) {
        return Err(Doubled(name.as_str()));
    }
    let text = first.map(|value| value.to_str().map_err(|_| Unreadable(name.as_str()))).transpose()?;
    Ok(text.map(str::trim).filter(|text| !text.is_empty()))
}
