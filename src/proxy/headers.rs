//! The header fields of what passes through: what goes, what stays, what is set, and in which order.
//!
//! Pure: no socket and no clock. The order of the work on a request carries the promise "identity
//! headers come from us or not at all", so it is written down in one place, `HeaderRules::forward`.
//!
//! Callers: `proxy`, and the benches. The parts are in `headers/`: names, cookies, identity, origin.

use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

pub(crate) mod cookies;
pub(crate) mod identity;
pub(crate) mod names;
pub(crate) mod origin;

pub use cookies::CookieNames;
pub(crate) use identity::ReadyValues;
pub use identity::{HeaderSet, IdentityHeaders, InvalidIdentity, InvalidIdentityHeaders, InvalidTemplate};
pub use names::ReservedNames;

use names::Fate;
use origin::{Chain, Origins};

use crate::request::Context;

/// Fields that every request is given.
const SET_ALWAYS: usize = 8;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What holds for the headers of every request of one proxy.
#[derive(Debug)]
pub struct HeaderRules {
    pub(crate) cookies: CookieNames,
    pub(crate) origins: Origins,
    pub(crate) reserved: ReservedNames,
}

/// What differs from one request to the next.
#[derive(Debug)]
pub struct Forwarding<'a> {
    /// The request.
    pub context: &'a Context,
    /// Whether the route passes `Authorization` on.
    pub authorization: bool,
    /// `None` where `Host` is what the client asked for.
    pub host: Option<&'a HeaderValue>,
    /// Of whoever is identified.
    pub identity: Option<&'a HeaderSet>,
    /// The protocols of an upgrade that goes on.
    pub upgrade: Option<&'a HeaderValue>,
}

impl HeaderRules {
    /// Our cookies, and the names that are ours to set.
    pub fn new(cookies: CookieNames, reserved: ReservedNames) -> Self {
        Self { cookies, origins: Origins::new(), reserved }
    }

    /// Turns a client's fields into those for the server. Framing is left out: it follows from the body.
    pub fn forward(
        &self,
        headers: &mut HeaderMap,
        request: &Forwarding<'_>,
    ) -> Result<(), InvalidHeaderValue> {
        let chain = match request.context.peer_trusted {
            true => Chain::of(headers),
            false => Chain::default(),
        };
        // The order carries the guarantee "identity headers come from us or not at all":
        // 1. what the client's `Connection` lists, for it may list any name, and applied later it
        //    would delete what we add;
        // 2. then hop-by-hop fields, and whatever the client sent under our names;
        // 3. ours last.
        remove_connection_named(headers);
        let found = self.strip(headers, request);
        if found.cookie {
            self.cookies.take_out(headers);
        }
        // Once for all that is set from here on.
        headers.reserve(SET_ALWAYS + request.identity.map_or(0, |set| set.len()));
        self.origins.with(request.context, |origin| {
            origin.set(headers, &chain)?;
            headers.insert(header::HOST, request.host.unwrap_or(&origin.host).clone());
            Ok(())
        })?;
        headers.insert(X_REQUEST_ID, request.context.id.header_value().clone());
        if let Some(protocols) = request.upgrade {
            headers.insert(header::UPGRADE, protocols.clone());
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        } else if found.te_trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        if let Some(names) = found.trailers {
            headers.insert(header::TRAILER, names);
        }
        for (name, value) in request.identity.into_iter().flat_map(|set| set.iter()) {
            headers.insert(name, value.clone());
        }
        Ok(())
    }

    /// One pass over the fields; allocates nothing when nothing has to go.
    fn strip(&self, headers: &mut HeaderMap, request: &Forwarding<'_>) -> Found {
        let mut found = Found::default();
        let mut doomed = Vec::new();
        for (name, value) in &*headers {
            match self.reserved.fate(name) {
                Fate::Keep => continue,
                Fate::Cookie => {
                    found.cookie = true;
                    continue;
                }
                Fate::Authorization if request.authorization => continue,
                Fate::TrustedOnly if request.context.peer_trusted => continue,
                Fate::Te => found.te_trailers |= tokens(value).any(|t| t.eq_ignore_ascii_case("trailers")),
                Fate::Trailer => found.trailers = self.announced(headers),
                Fate::Authorization | Fate::HopByHop | Fate::Reserved | Fate::SetAnew | Fate::TrustedOnly => {
                }
            }
            doomed.push(name.clone());
        }
        for name in doomed {
            headers.remove(name);
        }
        found
    }

    /// The trailers that a client announces, as far as they may go on.
    fn announced(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let lines = headers.get_all(header::TRAILER).iter().flat_map(tokens);
        let names = lines.filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok());
        let allowed: Vec<_> = names.filter(|name| self.reserved.allows_trailer(name)).collect();
        let joined = allowed.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
        HeaderValue::try_from(joined).ok().filter(|value| !value.is_empty())
    }

    /// Turns a server's fields into those for the client. `Content-Length` stays where it says the
    /// length of a body, or of the one that a HEAD asks about.
    pub fn answer(
        &self,
        status: StatusCode,
        headers: &mut HeaderMap,
        context: &Context,
    ) -> Result<(), Unframed> {
        remove_connection_named(headers);
        let mut doomed = Vec::new();
        for name in headers.keys() {
            if matches!(
                name.as_str(),
                "connection"
                    | "http2-settings"
                    | "keep-alive"
                    | "proxy-authenticate"
                    | "proxy-authentication-info"
                    | "proxy-connection"
                    | "te"
                    | "upgrade"
            ) {
                doomed.push(name.clone());
            }
        }
        for name in doomed {
            headers.remove(name);
        }
        frame_answer(status, headers)?;
        self.cookies.refuse(headers);
        headers.insert(X_REQUEST_ID, context.id.header_value().clone());
        Ok(())
    }
}

/// A server frames its answer in a way that two readers could take differently.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unframed;

/// What the strip came across.
#[derive(Debug, Default)]
struct Found {
    cookie: bool,
    te_trailers: bool,
    trailers: Option<HeaderValue>,
}

/// Framing is never copied: hyper makes it anew from the body. Only the length that is told is kept.
fn frame_answer(status: StatusCode, headers: &mut HeaderMap) -> Result<(), Unframed> {
    if let Some(coding) = headers.remove(header::TRANSFER_ENCODING) {
        // hyper takes `gzip, chunked` apart only as far as `chunked`: the rest would be lost.
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Unframed);
        }
        headers.remove(header::CONTENT_LENGTH);
        return Ok(());
    }
    headers.remove(header::TRAILER);
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        headers.remove(header::CONTENT_LENGTH);
    } else if !has_one_plain_length(headers)
        && let Some(length) = headers.remove(header::CONTENT_LENGTH)
    {
        // Several equal ones, in lines or in a list, become one. hyper refused those that differ.
        let first = tokens(&length).next().and_then(|token| HeaderValue::from_str(token).ok());
        headers.insert(header::CONTENT_LENGTH, first.ok_or(Unframed)?);
    }
    Ok(())
}

/// As it nearly always is: then it stays where it is.
fn has_one_plain_length(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_digits = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let is_plain = lines.next().is_some_and(|length| is_digits(length.as_bytes()));
    is_plain && lines.next().is_none()
}

/// Removes every field that `Connection` names.
fn remove_connection_named(headers: &mut HeaderMap) {
    const USUAL: [&str; 3] = ["keep-alive", "close", "upgrade"];
    let mut named = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        if USUAL.iter().any(|usual| value.as_bytes().eq_ignore_ascii_case(usual.as_bytes())) {
            continue;
        }
        named.extend(tokens(value).filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok()));
    }
    for name in named {
        // These five lines are read further down, and removed there.
        if !matches!(name.as_str(), "connection" | "te" | "trailer" | "transfer-encoding" | "content-length")
        {
            headers.remove(name);
        }
    }
}

/// The members of a list. What is no text is no token, and hides no other.
pub(crate) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let members = value.as_bytes().split(|&byte| byte == b',');
    members.filter_map(|token| str::from_utf8(token.trim_ascii()).ok()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::SystemTime;

    use http::Method;

    use super::*;
    use crate::request::{Host, RequestId, Scheme, Target};

    fn context(peer_trusted: bool) -> Context {
        Context {
            client: IpAddr::from([192, 0, 2, 7]),
            host: Host { name: "app.example.com".to_owned(), port: Some(8443) },
            id: RequestId::for_tests("id-1"),
            method: Method::GET,
            peer: if peer_trusted { IpAddr::from([10, 0, 0, 1]) } else { IpAddr::from([192, 0, 2, 7]) },
            peer_trusted,
            received_at: SystemTime::UNIX_EPOCH,
            scheme: Scheme::Https,
            target: Target::parse("/").expect("a target"),
        }
    }

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
        };
        fields.iter().map(field).collect()
    }

    fn rules() -> HeaderRules {
        HeaderRules {
            cookies: CookieNames::new(["foregate"]),
            origins: Origins::new(),
            reserved: ReservedNames::new(&[HeaderName::from_static("x-user")]),
        }
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v.as_bytes()))).collect();
        lines.sort();
        lines
    }

    fn forwarded(trusted: bool, fields: &[(&str, &str)]) -> Vec<String> {
        let identity: HeaderSet = [("remote-user", "alice"), ("x-user", "alice")]
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .into();
        let mut headers = map(fields);
        let request = Forwarding {
            context: &context(trusted),
            authorization: false,
            host: None,
            identity: Some(&identity),
            upgrade: None,
        };
        rules().forward(&mut headers, &request).expect("sound values");
        lines(&headers)
    }

    const OURS: [&str; 10] = [
        "forwarded: for=192.0.2.7;host=\"app.example.com:8443\";proto=https",
        "host: app.example.com:8443",
        "remote-user: alice",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: app.example.com:8443",
        "x-forwarded-port: 8443",
        "x-forwarded-proto: https",
        "x-real-ip: 192.0.2.7",
        "x-request-id: id-1",
        "x-user: alice",
    ];

    #[test]
    fn only_ours_is_left_of_what_only_we_may_say() {
        let seen = forwarded(
            false,
            &[
                ("Host", "evil.example"),
                ("Remote-User", "root"),
                ("Remote_User", "root"),
                ("remote.user", "root"),
                ("X~Auth~User", "root"),
                ("x_user", "root"),
                ("X-User", "root"),
                ("X-Forwarded-For", "1.1.1.1"),
                ("X_Forwarded_For", "1.1.1.1"),
                ("X-Forwarded-Prefix", "/evil"),
                ("X-Forwarded-Uri", "/evil"),
                ("Forwarded", "for=1.1.1.1"),
                ("X-Real-IP", "1.1.1.1"),
                ("X_Request_Id", "evil"),
                ("X-Request-Id", "evil"),
                ("X-Original-URL", "/evil"),
                ("Authorization", "Bearer secret"),
                ("Proxy-Authorization", "Basic secret"),
                ("Cookie", "foregate=secret"),
                ("Content-Length", "5"),
                ("Transfer-Encoding", "chunked"),
                ("Expect", "100-continue"),
                ("Upgrade", "h2c"),
                ("HTTP2-Settings", "AAA"),
                ("Keep-Alive", "timeout=5"),
                ("TE", "gzip"),
                ("Trailer", "Remote-User"),
            ],
        );
        assert_eq!(seen, OURS);
    }

    #[test]
    fn connection_takes_away_what_the_client_sent_and_never_what_we_set() {
        let seen = forwarded(
            false,
            &[
                ("Connection", "close, Remote-User, X-User, X-Real-IP, X-Forwarded-For, Host, X-Request-Id"),
                ("Connection", "x-private, Forwarded, \u{e4}, , bad name"),
                ("X-Private", "1"),
                ("X-Other", "2"),
                ("Remote-User", "root"),
            ],
        );
        let mut expected: Vec<_> = OURS.map(str::to_owned).into();
        expected.push("x-other: 2".to_owned());
        expected.sort();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_trusted_peer_is_appended_to() {
        let seen = forwarded(
            true,
            &[
                ("X-Forwarded-For", "203.0.113.9"),
                ("X-Forwarded-For", "192.0.2.7"),
                ("X_Forwarded_For", "6.6.6.6"),
                ("Forwarded", "for=192.0.2.7"),
                ("X-Forwarded-Proto", "http"),
                ("X-Forwarded-Prefix", "/app"),
                ("X-Forwarded-User", "root"),
                ("X-Forwarded_Email", "root"),
            ],
        );
        for line in [
            "x-forwarded-for: 203.0.113.9, 192.0.2.7, 10.0.0.1",
            "forwarded: for=192.0.2.7, for=10.0.0.1;host=\"app.example.com:8443\";proto=https",
            "x-forwarded-proto: https",
            "x-forwarded-prefix: /app",
            "x-real-ip: 192.0.2.7",
        ] {
            assert!(seen.iter().any(|seen| seen == line), "{line} in {seen:#?}");
        }
        assert!(!seen.concat().contains("root") && !seen.concat().contains("6.6.6.6"), "{seen:#?}");
    }

    #[test]
    fn trailers_are_announced_anew_without_our_names() {
        let seen = forwarded(
            false,
            &[
                ("TE", "gzip;q=0.5, Trailers"),
                ("Trailer", "X-Sum, remote_user"),
                ("Trailer", "Content-Length, grpc-status"),
                ("Connection", "TE"),
            ],
        );
        for line in ["te: trailers", "connection: te", "trailer: x-sum, grpc-status"] {
            assert!(seen.iter().any(|seen| seen == line), "{line} in {seen:#?}");
        }
    }

    #[test]
    fn other_fields_pass_as_they_came() {
        let fields = [
            ("accept", "*/*"),
            ("cookie", "a=1; b=\"2\""),
            ("x-a", "1"),
            ("x-a", "2"),
            ("sec-websocket-key", "k"),
        ];
        let seen = forwarded(false, &fields);
        for (name, value) in fields {
            assert!(seen.contains(&format!("{name}: {value}")), "{name} in {seen:#?}");
        }
    }

    #[test]
    fn authorization_passes_where_the_route_says_so() {
        let mut headers = map(&[("authorization", "Basic x"), ("proxy-authorization", "Basic y")]);
        let request = Forwarding {
            context: &context(false),
            authorization: true,
            host: Some(&HeaderValue::from_static("backend:9000")),
            identity: None,
            upgrade: Some(&HeaderValue::from_static("websocket")),
        };
        rules().forward(&mut headers, &request).expect("sound values");
        let seen = lines(&headers);
        for line in
            ["authorization: Basic x", "host: backend:9000", "connection: upgrade", "upgrade: websocket"]
        {
            assert!(seen.iter().any(|seen| seen == line), "{line} in {seen:#?}");
        }
        assert!(!seen.concat().contains("Basic y") && !seen.concat().contains("remote-user"));
    }

    #[test]
    fn an_answer_loses_what_ends_at_this_hop() {
        let mut headers = map(&[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("content-length", "5, 5"),
            ("content-length", "5"),
            ("set-cookie", "foregate=evil"),
            ("set-cookie", "a=1"),
            ("x-request-id", "theirs"),
            ("upgrade", "h2"),
            ("server", "x"),
        ]);
        rules().answer(StatusCode::OK, &mut headers, &context(false)).expect("sound framing");
        assert_eq!(
            lines(&headers),
            ["content-length: 5", "server: x", "set-cookie: a=1", "x-request-id: id-1"]
        );
    }

    #[test]
    fn an_answer_framed_in_two_ways_is_refused() {
        for (coding, sound) in
            [("chunked", true), ("Chunked", true), ("gzip, chunked", false), ("gzip", false)]
        {
            let mut headers = map(&[("transfer-encoding", coding), ("content-length", "5")]);
            let framed = rules().answer(StatusCode::OK, &mut headers, &context(false));
            assert_eq!(framed.is_ok(), sound, "{coding}");
            assert!(!headers.contains_key(header::TRANSFER_ENCODING) && (!sound || headers.len() == 1));
        }
    }
}
