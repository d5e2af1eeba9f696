//! Contexts, over what connections and proxies say.

use http::{HeaderName, HeaderValue, Request};

use super::*;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let parse = |(name, value): &(&str, &str)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("value");
        (HeaderName::try_from(*name).expect("name"), value)
    };
    lines.iter().map(parse).collect()
}

/// From a peer in 10.0.0.0/8, the trusted one, over plain HTTP.
fn context_of(peer: &str, line: &str, lines: &[(&str, &str)]) -> Result<Context, RequestFault> {
    let trusted = TrustedProxies(vec!["10.0.0.0/8".parse().expect("network")]);
    let (method, uri) = line.split_once(' ').expect("method and target");
    let version = if uri.starts_with("h2:") { Version::HTTP_2 } else { Version::HTTP_11 };
    let request = Request::builder().method(method).uri(uri.trim_start_matches("h2:")).version(version);
    let mut request = request.body(()).expect("a request that hyper may hand on");
    *request.headers_mut() = headers(lines);
    let peer = peer.parse().expect("address");
    Context::new(
        &request,
        &Arrival {
            certificate: None,
            now: SystemTime::UNIX_EPOCH,
            peer,
            scheme: Scheme::Http,
            trusted: &trusted,
        },
    )
}

fn direct(line: &str, lines: &[(&str, &str)]) -> Result<Context, RequestFault> {
    context_of("192.0.2.9", line, lines)
}

fn proxied(lines: &[(&str, &str)]) -> Result<Context, RequestFault> {
    context_of("10.0.0.1", "GET /", lines)
}

#[test]
fn a_plain_request_is_described_by_itself() {
    let context = direct("GET /a?b", &[("host", "App.test:8080")]).expect("sound");
    assert_eq!(context.origin(), "http://app.test:8080");
    assert_eq!((context.target.as_str(), context.method), ("/a?b", Method::GET));
    assert_eq!((context.client, context.peer_trusted), (context.peer, false));
    assert_eq!(context_of("::ffff:192.0.2.9", "GET /", &[("host", "a")]).expect("sound").peer, context.peer);
}

#[test]
fn there_is_one_host_or_none_at_all() {
    for (line, lines, expected) in [
        ("GET /", &[][..], RequestFault::Head(HeadFault::HostMissing)),
        ("GET /", &[("host", "a"), ("host", "a")], RequestFault::Head(HeadFault::HostRepeated)),
        ("GET /", &[("host", "")], RequestFault::Host),
        ("GET /", &[("host", "a b")], RequestFault::Host),
        ("GET /", &[("host", "u@a")], RequestFault::Host),
        ("GET /", &[("host", "caf\u{e9}")], RequestFault::Host),
        ("GET http://a/", &[], RequestFault::Head(HeadFault::HostMissing)),
        ("GET http://a/", &[("host", "b")], RequestFault::Authority),
        ("GET http://a:80/", &[("host", "a")], RequestFault::Authority),
        ("GET http://u@a/", &[("host", "a")], RequestFault::Host),
        ("GET ftp://a/", &[("host", "a")], RequestFault::Target(TargetFault::Form)),
        ("GET a:80", &[("host", "a:80")], RequestFault::Target(TargetFault::Form)),
        ("OPTIONS *", &[("host", "a")], RequestFault::Target(TargetFault::Form)),
        ("GET /../", &[("host", "a")], RequestFault::Target(TargetFault::DotSegment)),
        ("TRACE /", &[("host", "a")], RequestFault::Head(HeadFault::MethodRefused)),
        ("Connect /", &[("host", "a")], RequestFault::Head(HeadFault::Method)),
        ("GET h2:http://a/", &[("host", "b")], RequestFault::Authority),
        ("GET h2:http://a/", &[("connection", "close")], RequestFault::Head(HeadFault::ConnectionField)),
        ("GET h2:http://a/", &[("keep-alive", "1")], RequestFault::Head(HeadFault::ConnectionField)),
        (
            "GET h2:http://a/",
            &[("transfer-encoding", "chunked")],
            RequestFault::Head(HeadFault::ConnectionField),
        ),
        ("GET h2:http://a/", &[("content_length", "1")], RequestFault::Head(HeadFault::FieldNameDisguised)),
        (
            "GET h2:http://a/",
            &[("content-length", "1"), ("content-length", "1")],
            RequestFault::Head(HeadFault::ContentLength),
        ),
    ] {
        assert_eq!(direct(line, lines).map(drop), Err(expected), "{line} {lines:?}");
    }
    for (line, lines, expected) in [
        ("GET http://A.test/x?y", &[("host", "a.test")][..], "/x?y"),
        ("GET https://a.test", &[("host", "a.test.")], "/"),
        ("GET h2:https://a.test/x", &[], "/x"),
        ("GET h2:https://a.test/x", &[("host", "a.test")], "/x"),
    ] {
        let context = direct(line, lines).expect(line);
        assert_eq!((&*context.host.name, context.target.as_str()), ("a.test", expected), "{line}");
    }
}

#[test]
fn only_a_trusted_peer_is_believed() {
    let told = [
        ("host", "inner:8080"),
        ("x-forwarded-for", "203.0.113.5, 192.0.2.1"),
        ("x-forwarded-host", "app.test"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-request-id", "from-the-proxy"),
    ];
    let context = proxied(&told).expect("sound");
    assert_eq!((context.client.to_string().as_str(), context.peer_trusted), ("192.0.2.1", true));
    assert_eq!((context.origin().as_str(), context.id.as_str()), ("https://app.test", "from-the-proxy"));

    let context = direct("GET /", &told).expect("sound");
    assert_eq!((context.client, context.origin().as_str()), (context.peer, "http://inner:8080"));
    assert_ne!(context.id.as_str(), "from-the-proxy");

    let contradictory = [("host", "a"), ("x-forwarded-host", "b"), ("x-forwarded-host", "c")];
    let expected = Err(RequestFault::Forwarded(ForwardedFault::Contradiction));
    assert_eq!(proxied(&contradictory).map(drop), expected);
    assert_eq!(direct("GET /", &contradictory).expect("not even read").host.name.as_ref(), "a");
}

#[test]
fn the_port_of_the_proxy_counts_where_the_host_has_none() {
    let origin = |host: &str, port: &str, scheme: &str| {
        let told = [("host", host), ("x-forwarded-port", port), ("x-forwarded-proto", scheme)];
        proxied(&told).expect("sound").origin()
    };
    assert_eq!(origin("a.test", "8443", "https"), "https://a.test:8443");
    assert_eq!(origin("a.test:8080", "80", "http"), "http://a.test:8080");
    assert_eq!(origin("a.test", "80", "https"), "https://a.test");
    assert_eq!(origin("a.test:443", "443", "https"), "https://a.test");
    assert_eq!(origin("[::1]", "8443", "https"), "https://[::1]:8443");
}

#[test]
fn a_described_request_keeps_the_question_s_id_and_peer() {
    let question = proxied(&[("host", "a"), ("x-request-id", "q")]).expect("sound");
    let (scheme, host, target) = read_url("https://App.test/x?y").expect("URL");
    let client = "::ffff:192.0.2.1".parse().expect("address");
    let original = OriginalRequest { client, host, method: Method::PUT, scheme, target };
    let context = Context::described(original.clone(), &question).expect("sound");
    assert_eq!((context.id.as_str(), context.peer), ("q", question.peer));
    assert_eq!(
        (context.origin().as_str(), context.client.to_string().as_str()),
        ("https://app.test", "192.0.2.1")
    );
    let traced = OriginalRequest { method: Method::TRACE, ..original };
    assert!(Context::described(traced, &question).is_err());
}

#[test]
fn a_url_is_read_as_strictly_as_a_request() {
    let read = |url: &str| {
        read_url(url).map(|(scheme, host, target)| format!("{scheme} {host} {}", target.as_str()))
    };
    assert_eq!(read("http://a.test:8080/b?c://d").as_deref(), Ok("http a.test:8080 /b?c://d"));
    assert_eq!(read("HTTPS://a").as_deref(), Ok("https a /"));
    assert_eq!(read("https://a?b/c").as_deref(), Ok("https a /?b/c"));
    for url in [
        "",
        "/a",
        "//a/b",
        "a",
        "http:/a",
        "http://",
        "http:///a",
        "ftp://a/",
        "http://u@a/",
        "http://a\\b/",
        "http://a#b",
        "http://a/#",
        "http://a/%2e%2e/",
        "http://a b/",
        " http://a/",
        "http://a/ b",
        "http://a:/",
    ] {
        assert!(read(url).is_err(), "{url:?}");
    }
}

#[test]
fn a_navigation_is_a_get_of_html_by_no_script() {
    const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    for (method, lines, expected) in [
        ("GET", &[HTML][..], true),
        ("HEAD", &[HTML], true),
        ("POST", &[HTML], false),
        ("GET", &[], false),
        ("GET", &[("accept", "*/*")], false),
        ("GET", &[("accept", "application/json"), ("accept", "Text/HTML;level=1")], true),
        ("GET", &[("accept", "text/html;q=0, */*")], false),
        ("GET", &[("accept", "text/html ; q=0.000")], false),
        ("GET", &[("accept", "text/html;q=0.1")], true),
        ("GET", &[("accept", "text/html5")], false),
        ("GET", &[HTML, ("x-requested-with", "xmlhttprequest")], false),
        ("GET", &[HTML, ("x-requested-with", "com.example.app")], true),
        ("GET", &[HTML, ("sec-fetch-mode", "navigate")], true),
        ("GET", &[HTML, ("sec-fetch-mode", "cors")], false),
        ("GET", &[HTML, ("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "no-cors")], false),
    ] {
        let context = direct(&format!("{method} /"), &[("host", "a")]).expect("sound");
        assert_eq!(context.navigates(&headers(lines)), expected, "{method} {lines:?}");
    }
}

#[test]
fn a_fault_is_told_by_its_cause() {
    let fault = RequestFault::from(TargetFault::TooLong);
    assert_eq!((fault.status().as_u16(), fault.code()), (414, "uri_too_long"));
    let fault = RequestFault::from(HeadFault::MethodRefused);
    assert_eq!((fault.status().as_u16(), fault.code()), (405, "method_not_allowed"));
    assert_eq!((RequestFault::Host.status().as_u16(), RequestFault::Host.code()), (400, "bad_request"));
}
