//! An HTTP/2 request, put as the HTTP/1.1 request that the rooms and the upstreams know.
//!
//! What only HTTP/2 has is settled here, before anything else looks at a request: cookies in many
//! fields, the host outside of them, and WebSockets by extended CONNECT (RFC 8441). Those go their way as the GET handshake of
//! HTTP/1.1, judged by the same rules, and what comes back is put as HTTP/2 again.
//!
//! Callers: `gateway::worker`.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::ext::Protocol;

use crate::request::RequestFault;
use crate::request::head::{HeadFault, HeadLimits};
use crate::response::Body;

const ACCEPT: HeaderName = header::SEC_WEBSOCKET_ACCEPT;
const KEY: HeaderName = header::SEC_WEBSOCKET_KEY;
const VERSION: HeaderName = header::SEC_WEBSOCKET_VERSION;

/// Joined to the key by whoever accepts a WebSocket (RFC 6455 §1.3).
const WEBSOCKET: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Settles what can be settled before the request is described. Nothing happens to an HTTP/1 request.
///
/// `Some`: it asks for a WebSocket, and is the GET for it except for the fields, which `Handshake::put`
/// adds once the client's own were judged.
pub(in crate::gateway) fn admit<B>(
    request: &mut Request<B>,
    limits: &HeadLimits,
) -> Result<Option<Handshake>, RequestFault> {
    if request.version() != Version::HTTP_2 {
        return Ok(None);
    }
    join_cookies(request.headers_mut());
    name_host(request);
    if request.headers().len() > limits.headers {
        return Err(HeadFault::TooManyFields.into());
    }
    match request.extensions().get::<Protocol>() {
        None => Ok(None),
        Some(protocol) if protocol.as_str() == "websocket" && request.method() == Method::CONNECT => {
            *request.method_mut() = Method::GET;
            Ok(Some(Handshake::new()))
        }
        Some(_) => Err(HeadFault::ProtocolUnknown.into()),
    }
}

/// Cookies come one in each field, which compresses well; HTTP/1.1 has one field for all (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Values that were valid are so when they are joined.
    if let Ok(line) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(header::COOKIE, line);
    }
}

/// What HTTP/1.1 says in `Host` stands in `:authority`. Where both are there, they are compared later.
fn name_host<B>(request: &mut Request<B>) {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
}

/// A WebSocket that is asked for over HTTP/2, where no key is exchanged: ours goes to the upstream.
pub(in crate::gateway) struct Handshake {
    key: String,
}

/// Why a WebSocket is not opened although the answer is no refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::gateway) enum NoWebSocket {
    /// The key was not answered as it has to be: no WebSocket server, or an answer to somebody else.
    #[error("the upstream's Sec-WebSocket-Accept does not belong to the key")]
    Accept,
    /// An ordinary answer. As it is a success, the client would take it for a WebSocket.
    #[error("a WebSocket was asked for, and an ordinary answer came")]
    Ordinary,
}

impl Handshake {
    fn new() -> Self {
        let mut key = [0; 16];
        getrandom::fill(&mut key).expect("the operating system gives random bytes");
        Self { key: STANDARD.encode(key) }
    }

    /// Makes it the handshake of HTTP/1.1, which the gate and the proxy know.
    pub(in crate::gateway) fn put<B>(&self, request: &mut Request<B>) {
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(KEY, HeaderValue::from_str(&self.key).expect("base64 is visible ASCII"));
        headers.entry(VERSION).or_insert(HeaderValue::from_static("13"));
    }

    /// The answer as HTTP/2 has it: what was 101 is 200 there, and no other success means anything.
    pub(in crate::gateway) fn answer(
        &self,
        mut response: Response<Body>,
    ) -> Result<Response<Body>, NoWebSocket> {
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                let headers = response.headers_mut();
                if headers.remove(ACCEPT).is_none_or(|accept| accept != self.accept()) {
                    return Err(NoWebSocket::Accept);
                }
                headers.remove(header::CONNECTION);
                headers.remove(header::UPGRADE);
                *response.status_mut() = StatusCode::OK;
                Ok(response)
            }
            status if status.is_success() => Err(NoWebSocket::Ordinary),
            _ => Ok(response),
        }
    }

    fn accept(&self) -> String {
        let joined = [self.key.as_str(), WEBSOCKET].concat();
        STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, joined.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, headers: 4, target_bytes: 1024 };

    fn request(version: Version, fields: &[(&str, &str)]) -> Request<()> {
        let request = Request::builder().version(version).uri("http://a/");
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request")
    }

    #[test]
    fn cookies_in_many_fields_become_one_line() {
        let fields = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3"), ("cookie", "d")];
        let mut http2 = request(Version::HTTP_2, &fields);
        assert!(matches!(admit(&mut http2, &LIMITS), Ok(None)));
        let lines: Vec<_> = http2.headers().get_all("cookie").iter().collect();
        assert_eq!(lines, ["a=1; b=2; c=3; d"]);
        assert_eq!((http2.headers().len(), &http2.headers()["host"]), (3, &HeaderValue::from_static("a")));
        let mut http1 = request(Version::HTTP_11, &fields);
        assert!(matches!(admit(&mut http1, &LIMITS), Ok(None)));
        assert_eq!(http1.headers().get_all("cookie").iter().count(), 3, "HTTP/1 is left as it came");
    }

    #[test]
    fn fields_are_counted_after_the_cookies_were_joined() {
        let cookie = ("cookie", "a=1");
        let mut many = request(Version::HTTP_2, &[cookie; 50]);
        assert!(admit(&mut many, &LIMITS).is_ok());
        let mut others = request(Version::HTTP_2, &[("x", "y"); 4]);
        let refused = admit(&mut others, &LIMITS).err();
        assert_eq!(refused, Some(RequestFault::Head(HeadFault::TooManyFields)));
    }

    #[test]
    fn a_websocket_is_open_only_with_the_answer_to_its_own_key() {
        // RFC 6455 §1.3.
        let handshake = Handshake { key: "dGhlIHNhbXBsZSBub25jZQ==".to_owned() };
        let answer = |status: u16, accept: Option<&str>| {
            let response = Response::builder().status(status);
            let response = match accept {
                Some(accept) => response.header(ACCEPT, accept),
                None => response,
            };
            let response = response.header("connection", "upgrade").header("upgrade", "websocket");
            handshake.answer(response.body(Body::Empty).expect("a response"))
        };
        let good = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let open = answer(101, Some(good)).expect("it is open");
        assert_eq!(open.status(), 200);
        assert!(open.headers().is_empty(), "{:?}", open.headers());
        for accept in [None, Some(""), Some("c3pPLMBiTxaQ9kYGzzhZRbK+xOo=")] {
            assert_eq!(answer(101, accept).err(), Some(NoWebSocket::Accept), "{accept:?}");
        }
        for status in [200, 204, 206] {
            assert_eq!(answer(status, Some(good)).err(), Some(NoWebSocket::Ordinary), "{status}");
        }
        for status in [303, 401, 403, 404, 502] {
            assert_eq!(answer(status, None).expect("it passes").status(), status);
        }
        assert_ne!(Handshake::new().key, Handshake::new().key);
    }
}
