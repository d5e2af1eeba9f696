//! A request's head as HTTP/1.1 and as HTTP/2 write it, and the way from one to the other.
//!
//! A request is made in the form of HTTP/1.1. Which one a server speaks is known when there is a
//! connection, and a second attempt may meet another.
//!
//! Callers: `proxy::exchange`, and `proxy::health` for its checks.

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Uri, Version, header};
use http_body::Body;

/// Puts the host into the URI, of which hyper makes `:authority`, and takes out what belongs to
/// HTTP/1.1 connections alone.
pub(crate) fn for_http2<B>(request: &mut Request<B>, scheme: Scheme) -> Result<(), http::Error> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    if let Some(host) = request.headers_mut().remove(header::HOST) {
        parts.authority = Some(Authority::try_from(host.as_bytes())?);
    }
    parts.scheme = Some(scheme);
    // Its target alone, without a host, would be no target at all.
    *request.uri_mut() = Uri::from_parts(parts)?;
    let headers = request.headers_mut();
    // `TE` stays: hyper would remove what `Connection` names.
    headers.remove(header::CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

/// Takes back what `for_http2` did; costs a look where it did nothing.
pub(crate) fn for_http1<B: Body>(request: &mut Request<B>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    *request.version_mut() = Version::HTTP_11;
    let authority = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(target) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = target.into();
    }
    let chunked = !request.body().is_end_stream() && request.body().size_hint().exact().is_none();
    let headers = request.headers_mut();
    if let Some(authority) = authority {
        // One that is there already is the next server's own.
        headers.entry(header::HOST).or_insert(authority);
    }
    if headers.contains_key(header::TE) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if chunked {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    type Parts = (String, Vec<String>);

    fn parts<B>(request: &Request<B>) -> Parts {
        let line = |(name, value): (&http::HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().expect("ASCII"))
        };
        let mut lines: Vec<_> = request.headers().iter().map(line).collect();
        lines.sort();
        (request.uri().to_string(), lines)
    }

    #[test]
    fn a_head_goes_to_http2_and_back() {
        let frames = of_unknown_length();
        let request = Request::get("/a?b").header("host", "app.test:81").header("te", "trailers");
        let request = request.header("connection", "te").header("transfer-encoding", "chunked");
        let mut request = request.header("x", "1").body(frames).expect("a request");
        let before = parts(&request);

        for_http1(&mut request);
        assert_eq!(parts(&request), before, "what is in that form stays");
        for _ in 0..2 {
            for_http2(&mut request, Scheme::HTTPS).expect("a host");
            assert_eq!(request.version(), Version::HTTP_2);
            let lines = vec!["te: trailers".to_owned(), "x: 1".to_owned()];
            assert_eq!(parts(&request), ("https://app.test:81/a?b".to_owned(), lines));
        }
        for_http1(&mut request);
        assert_eq!(parts(&request), before);
        assert_eq!(request.version(), Version::HTTP_11);

        // The next server may have another host, and another scheme.
        for_http2(&mut request, Scheme::HTTPS).expect("a host");
        for_http2(&mut request, Scheme::HTTP).expect("a host");
        assert_eq!(request.uri(), "http://app.test:81/a?b");
        request.headers_mut().insert("host", HeaderValue::from_static("other"));
        for_http1(&mut request);
        assert_eq!(
            (&request.headers()["host"], request.uri().path()),
            (&HeaderValue::from_static("other"), "/a")
        );
    }

    #[test]
    fn a_host_that_is_none_is_told() {
        for host in ["a b", "", "a/b", "[::1"] {
            let mut request =
                Request::get("/").header("host", host).body(Empty::<bytes::Bytes>::new()).expect("a request");
            assert!(for_http2(&mut request, Scheme::HTTP).is_err(), "{host}");
        }
        let mut nowhere = Request::get("/a").body(Empty::<bytes::Bytes>::new()).expect("a request");
        assert!(for_http2(&mut nowhere, Scheme::HTTP).is_err(), "it went to {}", nowhere.uri());
    }

    /// A body of unknown length.
    fn of_unknown_length() -> impl Body {
        struct Unknown;
        impl Body for Unknown {
            type Data = bytes::Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
                std::task::Poll::Ready(None)
            }
        }
        Unknown
    }
}
