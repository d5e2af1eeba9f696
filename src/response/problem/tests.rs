//! Every problem, as a program and as a person see it.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;

use super::*;
use crate::response::PageSettings;
use crate::response::look::Look;

fn pages() -> Pages {
    Pages::new(PageSettings { prefix: "/.auth".into(), look: Look::default() })
}

fn asker(accept: &'static str) -> Asker {
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
    Asker::new(&Method::GET, &headers, HeaderValue::from_static("id-1"))
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.into()).expect("UTF-8")
}

fn every_problem() -> Vec<(Problem, u16, &'static str)> {
    let wait = Duration::from_secs(5);
    vec![
        (Problem::bad_request(Text::verbatim("Broken.")), 400, "bad_request"),
        (Problem::unauthorized(Some("/a?b=1&c=2")), 401, "unauthorized"),
        (Problem::stale_login(None), 401, "insufficient_user_authentication"),
        (Problem::forbidden("alice", "app.test", None), 403, "forbidden"),
        (Problem::cross_site(), 403, "cross_site"),
        (Problem::not_found(), 404, "not_found"),
        (Problem::method_not_allowed("GET, HEAD"), 405, "method_not_allowed"),
        (Problem::request_timeout(), 408, "request_timeout"),
        (Problem::too_large(), 413, "too_large"),
        (Problem::uri_too_long(), 414, "uri_too_long"),
        (Problem::unsupported_media_type(), 415, "unsupported_media_type"),
        (Problem::too_many_requests(wait), 429, "too_many_requests"),
        (Problem::header_too_large(), 431, "header_too_large"),
        (Problem::internal(), 500, "internal"),
        (Problem::bad_gateway(), 502, "bad_gateway"),
        (Problem::unavailable(wait), 503, "unavailable"),
        (Problem::no_server(wait), 503, "no_healthy_upstream"),
        (Problem::gateway_timeout(), 504, "gateway_timeout"),
    ]
}

#[tokio::test]
async fn a_program_gets_problem_details() {
    for (problem, status, code) in every_problem() {
        let response = problem.respond(&asker("application/json"), &pages());
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-request-id"], "id-1");
        let json: serde_json::Value = serde_json::from_str(&text(response).await).expect("JSON");
        assert_eq!(json["status"], status);
        assert_eq!(json["code"], code);
        assert_eq!(json["request_id"], "id-1");
        assert!(json["title"].is_string() && json["detail"].is_string(), "{json}");
    }
}

#[tokio::test]
async fn a_person_gets_a_page_with_the_id_to_quote() {
    for (problem, status, code) in every_problem() {
        let response = problem.respond(&asker("text/html"), &pages());
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        let policy = response.headers()["content-security-policy"].to_str().expect("ASCII").to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let html = text(response).await;
        assert!(html.contains("id-1"), "{code}: {html}");
        assert_eq!(html.matches("<h1").count(), 1, "{code}");
    }
}

#[tokio::test]
async fn pages_offer_the_way_on() {
    let cases = [
        (Problem::unauthorized(Some("/a?b=1&c=2")), r#"href="/.auth/login?next=/a%3Fb%3D1%26c%3D2""#),
        (Problem::stale_login(Some("/a")), r#"href="/.auth/login?next=/a&amp;prompt=login""#),
        (Problem::forbidden("alice", "app.test", None), r#"href="/.auth/login?prompt=select_account""#),
        (Problem::forbidden("alice", "app.test", None), "signed in as alice"),
        (Problem::bad_gateway(), r#"href="""#),
    ];
    for (problem, expected) in cases {
        let html = text(problem.respond(&asker("text/html"), &pages())).await;
        assert!(html.contains(expected), "{expected} is not in {html}");
    }
}

#[tokio::test]
async fn markup_in_names_stays_text() {
    let problem = Problem::forbidden("<script>alert(1)</script>", "\"><img>", Some("/\"><b>"));
    let html = text(problem.respond(&asker("text/html"), &pages())).await;
    assert!(!html.contains("<script>alert") && !html.contains("<img>") && !html.contains("<b>"), "{html}");
}

#[test]
fn headers_of_the_caller_are_added() {
    let name = http::header::WWW_AUTHENTICATE;
    let problem = Problem::unauthorized(None)
        .with_header(name.clone(), HeaderValue::from_static("Bearer realm=\"foregate\""))
        .with_header(name.clone(), HeaderValue::from_static("Basic realm=\"foregate\""));
    let response = problem.respond(&asker("*/*"), &pages());
    assert_eq!(response.headers().get_all(name).iter().count(), 2);
}

#[test]
fn waits_are_rounded_up() {
    let cases = [
        (Duration::ZERO, "1", "in 1 second", "in 1 Sekunde"),
        (Duration::from_millis(1), "1", "in 1 second", "in 1 Sekunde"),
        (Duration::from_millis(39_001), "40", "in 40 seconds", "in 40 Sekunden"),
        (Duration::from_secs(121), "121", "in 3 minutes", "in 3 Minuten"),
        (Duration::from_secs(7201), "7201", "in 3 hours", "in 3 Stunden"),
    ];
    let texts = pages().texts().clone();
    for (wait, header, english, german) in cases {
        assert_eq!(retry_after_value(wait), header);
        assert_eq!(texts.say(Language::English, &in_words(wait)), english);
        assert_eq!(texts.say(Language::German, &in_words(wait)), german);
    }
}
