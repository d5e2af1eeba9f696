//! A problem as a gRPC client understands it: a call that ended at once, with a status and a sentence.
//!
//! The answer is 200 with nothing but a head ("trailers-only"); what went wrong is in `grpc-status`.
//!
//! Callers: `response::problem`. Whether the asker speaks gRPC was read by `Asker::for_calls`.

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::problem::Problem;
use super::texts::{Language, Texts};
use super::{Asker, Body, status_only};

/// The outcome of a call.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What is not itself in `grpc-message`, beside what is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Whether a content type is one of gRPC's, as `application/grpc+proto` and `application/grpc-web` are.
pub(super) fn is_call(kind: &HeaderValue) -> bool {
    let kind = kind.as_bytes();
    kind.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
        && matches!(kind.get(16), None | Some(b'+' | b'-' | b';' | b' '))
}

/// The answer to a call that asked with this content type.
pub(super) fn respond(
    problem: &Problem,
    asker: &Asker,
    asked: &HeaderValue,
    texts: &Texts,
) -> Response<Body> {
    let mut response = status_only(StatusCode::OK);
    let headers = response.headers_mut();
    // gRPC-Web is told apart by it; plain gRPC is what it is whatever the messages are written in.
    let is_web = asked.as_bytes().get(16) == Some(&b'-');
    let kind = if is_web { asked.clone() } else { HeaderValue::from_static("application/grpc") };
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(GRPC_STATUS, HeaderValue::from_static(status(problem.status)));
    let message = texts.say(Language::English, &problem.detail);
    let message = utf8_percent_encode(&message, ENCODED).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(GRPC_MESSAGE, message);
    }
    for (name, value) in problem.headers() {
        headers.append(name, value.clone());
    }
    asker.finish(response)
}

/// <https://grpc.io/docs/guides/status-codes/>
fn status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 411 | 414 | 415 => "3", // INVALID_ARGUMENT
        408 | 504 => "4",             // DEADLINE_EXCEEDED
        403 => "7",                   // PERMISSION_DENIED
        413 | 429 | 431 => "8",       // RESOURCE_EXHAUSTED
        404 | 405 | 501 => "12",      // UNIMPLEMENTED
        500 => "13",                  // INTERNAL
        502 | 503 => "14",            // UNAVAILABLE
        401 => "16",                  // UNAUTHENTICATED
        _ => "2",                     // UNKNOWN
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::CONNECTION;
    use http::{HeaderMap, Method};
    use http_body::Body as _;

    use super::*;
    use crate::response::look::Look;
    use crate::response::texts::Text;
    use crate::response::{PageSettings, Pages};

    fn asker(method: &Method, kind: &'static str) -> Asker {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Asker::new(method, &headers, HeaderValue::from_static("id-1")).for_calls(method, &headers)
    }

    fn pages() -> Pages {
        Pages::new(PageSettings { prefix: "/.auth".into(), look: Look::default() })
    }

    #[test]
    fn a_call_is_refused_by_its_status_and_a_sentence() {
        let cases = [
            (Problem::bad_request(Text::verbatim("x")), "3"),
            (Problem::unauthorized(None), "16"),
            (Problem::stale_login(None), "16"),
            (Problem::forbidden("zo\u{eb}", "a", None), "7"),
            (Problem::cross_site(), "7"),
            (Problem::not_found(), "12"),
            (Problem::request_timeout(), "4"),
            (Problem::too_large(), "8"),
            (Problem::too_many_requests(Duration::from_secs(3)), "8"),
            (Problem::internal(), "13"),
            (Problem::bad_gateway(), "14"),
            (Problem::unavailable(Duration::from_secs(1)), "14"),
            (Problem::no_server(Duration::from_secs(1)), "14"),
            (Problem::gateway_timeout(), "4"),
        ];
        for (problem, expected) in cases {
            let detail = pages().texts().say(Language::English, &problem.detail);
            let response =
                problem.closing().respond(&asker(&Method::POST, "application/grpc+proto"), &pages());
            let headers = response.headers();
            assert_eq!(
                (response.status(), &headers[CONTENT_TYPE]),
                (StatusCode::OK, &HeaderValue::from_static("application/grpc"))
            );
            assert_eq!(headers[GRPC_STATUS], expected, "{detail}");
            let message = headers[GRPC_MESSAGE].to_str().expect("ASCII");
            let decoded = percent_encoding::percent_decode_str(message).decode_utf8().expect("UTF-8");
            assert_eq!(decoded, detail);
            assert!(response.body().is_end_stream() && headers.contains_key(CONNECTION));
            assert_eq!(
                (&headers["cache-control"], &headers["x-request-id"]),
                (&HeaderValue::from_static("no-store"), &HeaderValue::from_static("id-1"))
            );
        }
        let limited = Problem::too_many_requests(Duration::from_secs(3));
        let response = limited.respond(&asker(&Method::POST, "application/grpc"), &pages());
        assert_eq!(response.headers()["retry-after"], "3");
    }

    #[test]
    fn only_calls_are_answered_as_calls() {
        let cases = [
            (Method::POST, "application/grpc", true),
            (Method::POST, "application/grpc+proto", true),
            (Method::POST, "Application/GRPC; charset=x", true),
            (Method::POST, "application/grpc-web-text+proto", true),
            (Method::GET, "application/grpc", false),
            (Method::POST, "application/grpcx", false),
            (Method::POST, "application/json", false),
        ];
        for (method, kind, expected) in cases {
            let asker = asker(&method, kind);
            assert_eq!(asker.calls(), expected, "{method} {kind}");
            let response = Problem::forbidden("a", "b", None).respond(&asker, &pages());
            assert_eq!(response.status() == StatusCode::OK, expected, "{method} {kind}");
        }
        let web = asker(&Method::POST, "application/grpc-web+proto");
        let response = Problem::internal().respond(&web, &pages());
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc-web+proto");
        // Unless it is said who asks, nobody is answered with 200.
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))]);
        let proxy = Asker::new(&Method::POST, &headers, HeaderValue::from_static("id-1"));
        assert_eq!(Problem::internal().respond(&proxy, &pages()).status(), 500);
    }
}
