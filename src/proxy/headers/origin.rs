//! `Host`, `X-Forwarded-*`, `Forwarded` and `X-Real-IP` as a server gets them: set anew, or appended
//! to when the peer is a trusted proxy.
//!
//! Callers: `proxy::headers`. Who the client is and what host was asked for was settled in `request`.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::request::{Context, Scheme};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What a trusted peer had said already; taken before the strip.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    forwarded: Vec<u8>,
    forwarded_for: Vec<u8>,
    forwarded_prefix: Vec<u8>,
}

impl Chain {
    /// Of a trusted peer. Lines are joined as HTTP says that lists are.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let joined = |name| {
            let lines = headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii());
            lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(&b", "[..])
        };
        Self {
            forwarded: joined(header::FORWARDED),
            forwarded_for: joined(FORWARDED_FOR),
            forwarded_prefix: joined(FORWARDED_PREFIX),
        }
    }

    /// Sets what was cut off the path, behind what the proxies in front cut off before. As a list, the way the
    /// readers of this header want it: Werkzeug counts its members from the right, Spring joins them.
    pub(crate) fn set_prefix(
        &self,
        headers: &mut HeaderMap,
        own: &HeaderValue,
    ) -> Result<(), InvalidHeaderValue> {
        headers.insert(FORWARDED_PREFIX, appended(&self.forwarded_prefix, own)?);
        Ok(())
    }
}

/// The values for one client, host and scheme.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    client: IpAddr,
    forwarded: HeaderValue,
    /// `name[:port]`, as a browser would send it.
    pub(crate) host: HeaderValue,
    host_name: Arc<str>,
    host_port: Option<u16>,
    peer: IpAddr,
    peer_text: HeaderValue,
    port: HeaderValue,
    real_ip: HeaderValue,
    scheme: Scheme,
}

impl Origin {
    fn new(context: &Context) -> Result<Self, InvalidHeaderValue> {
        let host = context.host.to_string();
        let forwarded_host = match host.contains(':') {
            true => format!("\"{host}\""),
            false => host.clone(),
        };
        let forwarded_for = match context.peer {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("\"[{v6}]\""),
        };
        let forwarded = format!("for={forwarded_for};host={forwarded_host};proto={}", context.scheme);
        Ok(Self {
            client: context.client,
            forwarded: forwarded.try_into()?,
            host: host.try_into()?,
            host_name: context.host.name.clone(),
            host_port: context.host.port,
            peer: context.peer,
            peer_text: context.peer.to_string().try_into()?,
            port: context.host.port.unwrap_or(context.scheme.default_port()).into(),
            real_ip: context.client.to_string().try_into()?,
            scheme: context.scheme,
        })
    }

    fn is_of(&self, context: &Context) -> bool {
        self.client == context.client
            && self.peer == context.peer
            && self.scheme == context.scheme
            && self.host_port == context.host.port
            && self.host_name == context.host.name
    }

    /// Sets them; `chain` is what a trusted peer said.
    pub(crate) fn set(&self, headers: &mut HeaderMap, chain: &Chain) -> Result<(), InvalidHeaderValue> {
        headers.insert(header::FORWARDED, appended(&chain.forwarded, &self.forwarded)?);
        headers.insert(FORWARDED_FOR, appended(&chain.forwarded_for, &self.peer_text)?);
        headers.insert(FORWARDED_HOST, self.host.clone());
        headers.insert(FORWARDED_PORT, self.port.clone());
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(self.scheme.as_str()));
        headers.insert(REAL_IP, self.real_ip.clone());
        Ok(())
    }
}

fn appended(chain: &[u8], own: &HeaderValue) -> Result<HeaderValue, InvalidHeaderValue> {
    match chain {
        [] => Ok(own.clone()),
        _ => HeaderValue::try_from([chain, b", ", own.as_bytes()].concat()),
    }
}

/// The last few origins of this thread: their text is made once, not for each request.
#[derive(Debug)]
pub(crate) struct Origins {
    slots: RefCell<Vec<Option<Origin>>>,
}

const SLOTS: usize = 256;

impl Origins {
    pub(crate) fn new() -> Self {
        Self { slots: RefCell::new(vec![None; SLOTS]) }
    }

    /// Runs `f` with the values for this request.
    pub(crate) fn with<T>(
        &self,
        context: &Context,
        f: impl FnOnce(&Origin) -> Result<T, InvalidHeaderValue>,
    ) -> Result<T, InvalidHeaderValue> {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[slot_of(context.client)];
        if !slot.as_ref().is_some_and(|origin| origin.is_of(context)) {
            *slot = Some(Origin::new(context)?);
        }
        f(slot.as_ref().expect("it was filled above"))
    }
}

/// A collision costs a few hundred nanoseconds and nothing else, so any spread will do.
fn slot_of(client: IpAddr) -> usize {
    let sum = |octets: &[u8]| octets.iter().fold(0_usize, |sum, &b| sum.wrapping_mul(31) + usize::from(b));
    match client {
        IpAddr::V4(v4) => sum(&v4.octets()) % SLOTS,
        IpAddr::V6(v6) => sum(&v6.octets()) % SLOTS,
    }
}
