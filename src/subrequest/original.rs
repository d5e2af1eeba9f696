//! The original request, as each proxy describes it.
//!
//! Only headers that the dialect names count, and one that says something else under another name is
//! a contradiction: whoever sent it wanted to be taken for another request.
//!
//! Callers: `subrequest`.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::{Dialect, method};
use crate::request::{Context, Host, OriginalRequest, Scheme, Target, read_url};

/// The fields that describe a request, each a name of `NAMES`.
#[derive(Clone, Copy)]
enum Name {
    ForwardedHost,
    ForwardedMethod,
    ForwardedProto,
    ForwardedUri,
    Host,
    OriginalMethod,
    OriginalUri,
    OriginalUrl,
}

use Name::{
    ForwardedHost, ForwardedMethod, ForwardedProto, ForwardedUri, OriginalMethod, OriginalUri, OriginalUrl,
};

/// In the order of `Name`.
static NAMES: [HeaderName; 8] = [
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-method"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-uri"),
    header::HOST,
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
];

impl Name {
    fn as_str(self) -> &'static str {
        NAMES[self as usize].as_str()
    }
}

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
    let fields = Fields::read(headers);
    let described = match dialect {
        Dialect::AuthRequest => by_original_url(question, &fields)?,
        Dialect::ForwardAuth => by_forwarded(question, &fields)?,
        Dialect::ExtAuthz => by_itself(prefix, question, &fields)?,
    };
    agree(dialect, &described, &fields)?;
    Context::described(described, question).map_err(|_| Unreadable("the method"))
}

/// nginx: the whole URL in one header, the method in another.
fn by_original_url(question: &Context, fields: &Fields<'_>) -> Result<OriginalRequest, DescriptionFault> {
    let url = fields.required(OriginalUrl)?;
    let (scheme, host, target) = read_url(url).map_err(|_| Unreadable(OriginalUrl.as_str()))?;
    Ok(OriginalRequest {
        client: question.client,
        host,
        method: fields.method(OriginalMethod)?,
        scheme,
        target,
    })
}

/// Traefik, Caddy, HAProxy: method, host and URI in three headers.
fn by_forwarded(question: &Context, fields: &Fields<'_>) -> Result<OriginalRequest, DescriptionFault> {
    let host = fields.required(ForwardedHost)?;
    let uri = fields.required(ForwardedUri)?;
    let scheme = match fields.one(ForwardedProto)? {
        // A WebSocket is asked about under the name of its own scheme.
        Some("ws") => Scheme::Http,
        Some("wss") => Scheme::Https,
        Some(scheme) => scheme_of(scheme).ok_or(Unreadable(ForwardedProto.as_str()))?,
        None => question.scheme,
    };
    Ok(OriginalRequest {
        client: question.client,
        host: host.parse::<Host>().map_err(|_| Unreadable(ForwardedHost.as_str()))?,
        method: fields.method(ForwardedMethod)?,
        scheme,
        target: Target::parse(uri).map_err(|_| Unreadable(ForwardedUri.as_str()))?,
    })
}

/// Envoy: the question is the original request, behind a prefix.
fn by_itself(
    prefix: &str,
    question: &Context,
    fields: &Fields<'_>,
) -> Result<OriginalRequest, DescriptionFault> {
    let path = question.target.as_str().strip_prefix(prefix).and_then(|rest| rest.strip_prefix("/ext-authz"));
    let target = match path.ok_or(Unreadable("the path"))? {
        "" => "/",
        rest if rest.starts_with('/') => rest,
        _ => return Err(Unreadable("the path")),
    };
    let host = fields.required(Name::Host)?;
    Ok(OriginalRequest {
        client: question.client,
        host: host.parse::<Host>().map_err(|_| Unreadable(Name::Host.as_str()))?,
        method: question.method.clone(),
        scheme: question.scheme,
        target: Target::parse(target).map_err(|_| Unreadable("the path"))?,
    })
}

/// Whatever else describes the request says the same.
fn agree(dialect: Dialect, described: &OriginalRequest, fields: &Fields<'_>) -> Result<(), DescriptionFault> {
    for name in [ForwardedMethod, OriginalMethod] {
        if fields.one(name)?.is_some_and(|other| other != described.method.as_str()) {
            return Err(Contradiction(name.as_str()));
        }
    }
    for name in [ForwardedUri, OriginalUri] {
        if fields.one(name)?.is_some_and(|other| other != described.target.as_str()) {
            return Err(Contradiction(name.as_str()));
        }
    }
    let host = fields.one(ForwardedHost)?;
    if host.is_some_and(|host| host.parse::<Host>().map_or(true, |host| host.name != described.host.name)) {
        return Err(Contradiction(ForwardedHost.as_str()));
    }
    // For nginx it is the description itself.
    if dialect != Dialect::AuthRequest
        && let Some(url) = fields.one(OriginalUrl)?
    {
        let (_, host, target) = read_url(url).map_err(|_| Unreadable(OriginalUrl.as_str()))?;
        if host.name != described.host.name || target.as_str() != described.target.as_str() {
            return Err(Contradiction(OriginalUrl.as_str()));
        }
    }
    Ok(())
}

fn scheme_of(raw: &str) -> Option<Scheme> {
    match raw {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => None,
    }
}

/// What the headers say under the names that count, found in one pass.
struct Fields<'h>([Field<'h>; NAMES.len()]);

#[derive(Clone, Copy)]
enum Field<'h> {
    Absent,
    /// Twice, with different values.
    Doubled,
    One(&'h HeaderValue),
}

impl<'h> Fields<'h> {
    fn read(headers: &'h HeaderMap) -> Self {
        let mut fields = [Field::Absent; NAMES.len()];
        for (name, value) in headers {
            if let Some(at) = NAMES.iter().position(|known| known == name) {
                fields[at] = match fields[at] {
                    Field::Absent => Field::One(value),
                    Field::One(first) if first == value => Field::One(first),
                    Field::One(_) | Field::Doubled => Field::Doubled,
                };
            }
        }
        Self(fields)
    }

    /// The one value of a header; an empty one is none (ingress-nginx empties what it does not send).
    fn one(&self, name: Name) -> Result<Option<&'h str>, DescriptionFault> {
        match self.0[name as usize] {
            Field::Absent => Ok(None),
            Field::Doubled => Err(Doubled(name.as_str())),
            Field::One(value) => {
                let text = value.to_str().map_err(|_| Unreadable(name.as_str()))?;
                Ok(Some(text.trim()).filter(|text| !text.is_empty()))
            }
        }
    }

    fn required(&self, name: Name) -> Result<&'h str, DescriptionFault> {
        self.one(name)?.ok_or(Missing(name.as_str()))
    }

    fn method(&self, name: Name) -> Result<Method, DescriptionFault> {
        method(self.required(name)?).ok_or(Unreadable(name.as_str()))
    }
}
