//! The portal on real rooms: a browser signs in, is refused, signs out, sets a password.

use std::net::IpAddr;
use std::time::SystemTime;

use http::header::{CONTENT_TYPE, COOKIE, LOCATION};
use http_body_util::{BodyExt, Full};
use secrecy::ExposeSecret;

use super::*;
use crate::account::{NewAccount, NewPassword, RegistrationSettings};
use crate::authn::{
    Algorithm, CacheSettings, LoginLimits, PasswordLogin, Rate, SameSite, TokenSettings, Tokens, bearer,
    throttle::Throttle,
};
use crate::mail::{Links, Mailer};
use crate::password::{PasswordSettings, Passwords};
use crate::request::{Arrival, Scheme, TrustedProxies};
use crate::response::PageSettings;
use crate::response::look::Look;
use crate::store::{SESSIONS_PER_ACCOUNT, Store, StoreSettings};
use crate::telemetry::metrics::Metrics;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const PASSWORD: &str = "correct horse battery";

/// A portal with one account, and one browser's cookies.
struct Browser {
    _directory: tempfile::TempDir,
    cookies: std::collections::BTreeMap<String, String>,
    link: String,
    portal: Portal,
}

/// An answer, read whole.
struct Answer {
    headers: HeaderMap,
    status: u16,
    text: String,
}

impl Answer {
    fn location(&self) -> &str {
        self.headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("JSON: {}", self.text))
    }

    /// The token in the page's form.
    fn csrf_token(&self) -> &str {
        let (_, rest) = self.text.split_once("name=\"csrf_token\" value=\"").expect("a form");
        rest.split('"').next().expect("a value")
    }
}

impl Browser {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let store = Store::open(StoreSettings::at(directory.path())).expect("a store");
        let session = SessionSettings {
            cookie_domain: None,
            cookie_name: "foregate".into(),
            idle_timeout: Duration::from_secs(3600),
            lifetime: Duration::from_secs(86_400),
            remember: Some(Duration::from_secs(30 * 86_400)),
            same_site: SameSite::Lax,
            secure: false,
        };
        let passwords = Passwords::start(PasswordSettings {
            iterations: 1,
            memory_kib: 8,
            min_length: 8,
            min_score: 0,
            parallelism: 1,
            workers: 1,
        });
        let rate = Rate { count: 3, period: Duration::from_secs(900) };
        let throttle = Throttle::new(LoginLimits { per_account: rate, per_ip: Rate { count: 100, ..rate } });
        let now = SystemTime::now();
        let key = bearer::generate_key(Algorithm::EdDsa, now);
        let tokens = TokenSettings {
            access_ttl: Duration::from_secs(900),
            algorithm: Algorithm::EdDsa,
            audience: "http://app.test".into(),
            cookies: false,
            errors: Default::default(),
            issuer: "http://app.test".into(),
            key_rotation: None,
            keys: Vec::new(),
            refresh_grace: Duration::from_secs(10),
            refresh_ttl: Some(Duration::from_secs(3600)),
        };
        let tokens = Tokens::new(tokens, &[key]).expect("a key");
        let login = PasswordLogin::new(store.clone(), passwords, throttle, Metrics::new(SystemTime::now()));
        let cache = CacheSettings { capacity: 100, ttl: Duration::from_secs(30) };
        let authenticator =
            Arc::new(Authenticator::new(store.clone(), login, tokens, session.clone(), cache));
        let mailer = Mailer::new(store.clone(), None, Links::new("http://app.test", "/.auth"));
        let registration = RegistrationSettings {
            confirm_email: false,
            members_invite: None,
            email_domains: BTreeSet::new(),
            mode: RegistrationMode::Closed,
            per_ip: rate,
            roles: BTreeSet::new(),
        };
        let mailer = mailer.await.expect("an outbox");
        let accounts = Accounts::new(store, Arc::clone(&authenticator), mailer, registration, "app.test");
        let mut link = None;
        for (name, password) in
            [("alice", NewPassword::Plain(PASSWORD.to_owned().into())), ("bob", NewPassword::Link)]
        {
            let account = NewAccount {
                email: format!("{name}@app.test").parse().ok(),
                name: name.parse().expect("a name"),
                password,
                roles: BTreeSet::new(),
                username: name.parse().expect("a username"),
            };
            link = accounts.add(account, now).await.expect("an account").1.or(link);
        }
        let settings = PortalSettings {
            account_deletion: false,
            after_login: "/".into(),
            after_logout: "/.auth/login".into(),
            allowed_redirects: vec![HostPattern::Exact("other.test".into())],
            prefix: "/.auth".into(),
            look: Look::default(),
        };
        let pages = Pages::new(PageSettings { prefix: "/.auth".into(), look: Look::default() });
        let doors = PortalDoors {
            accounts,
            authenticator,
            csrf_key: [7; 32],
            pages: Arc::new(pages),
            ready: Arc::new(|| false),
            token_routes: Vec::new(),
        };
        let public_url = "http://app.test".parse().expect("an origin");
        let portal = Portal::new(settings, &session, public_url, Vec::new(), doors);
        let link = link.expect("bob's link").expose_secret().to_owned();
        Self { _directory: directory, cookies: Default::default(), link, portal }
    }

    async fn send(&mut self, request: http::request::Builder, body: &str) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header("host", "app.test").header(COOKIE, cookies.join("; "));
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
        let arrival = Arrival {
            certificate: None,
            now: SystemTime::now(),
            peer: IpAddr::from([192, 0, 2, 1]),
            scheme: Scheme::Http,
            trusted: &TrustedProxies::default(),
        };
        let context = Context::new(&request, &arrival).expect("a sound request");
        let response = self.portal.handle(&context, request).await;
        let (parts, body) = response.into_parts();
        for cookie in parts.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().expect("ASCII");
            let (name, value) =
                cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair");
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(bytes.into()).expect("UTF-8");
        Answer { headers: parts.headers, status: parts.status.as_u16(), text }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path).header("accept", "text/html"), "").await
    }

    async fn post(&mut self, path: &str, content_type: &str, body: &str) -> Answer {
        self.send(Request::post(path).header("accept", "text/html").header(CONTENT_TYPE, content_type), body)
            .await
    }

    /// Fills in the login form as a person does.
    async fn sign_in(&mut self, page: &str, fields: &str) -> Answer {
        let page = self.get(page).await;
        let body = format!("csrf_token={}&{fields}", page.csrf_token());
        self.post("/.auth/login", FORM, &body).await
    }
}

#[tokio::test]
async fn a_person_signs_in_goes_on_and_signs_out() {
    let mut browser = Browser::start().await;
    let good = "username=+Alice+&password=correct+horse+battery&next=%2Fa%3Fb";
    let answer = browser.sign_in("/.auth/login?next=/a%3Fb", good).await;
    assert_eq!((answer.status, answer.location()), (303, "/a?b"));
    let cookie = browser.cookies["foregate"].clone();

    // Signed in already: straight on, unless the password is asked for.
    let answer = browser.get("/.auth/login?rd=http://other.test/x").await;
    assert_eq!((answer.status, answer.location()), (303, "http://other.test/x"));
    let answer = browser.get("/.auth/login?next=//evil.test").await;
    assert_eq!((answer.status, answer.location()), (303, "/"));
    let page = browser.get("/.auth/login?prompt=login&next=/a").await;
    assert!(
        page.status == 200
            && page.text.contains("Confirm your password")
            && page.text.contains("value=\"alice\"")
    );
    let answer =
        browser.sign_in("/.auth/login?prompt=login", "username=alice&password=correct+horse+battery").await;
    assert_eq!(answer.status, 303);
    assert_ne!(browser.cookies["foregate"], cookie, "a new session at each login");

    let me = browser.get("/.auth/me").await;
    assert_eq!((me.status, me.json()["username"].as_str()), (200, Some("alice")));

    let page = browser.get("/.auth/logout").await;
    let answer = browser.post("/.auth/logout", FORM, "").await;
    assert!(
        answer.status == 403 && browser.cookies.contains_key("foregate"),
        "without its token nothing ends"
    );
    let old = browser.cookies["foregate"].clone();
    let answer = browser.post("/.auth/logout", FORM, &format!("csrf_token={}", page.csrf_token())).await;
    assert_eq!((answer.status, answer.location()), (303, "/.auth/login"));
    assert!(!browser.cookies.contains_key("foregate"));
    assert!(browser.get("/.auth/login").await.text.contains("You are signed out."));
    assert!(!browser.get("/.auth/login").await.text.contains("You are signed out."), "it is said once");
    browser.cookies.insert("foregate".into(), old);
    assert_eq!(browser.get("/.auth/me").await.status, 401, "the session is over, whoever kept the cookie");
}

#[tokio::test]
async fn a_person_is_spoken_to_in_the_language_of_the_browser_or_of_choice() {
    let mut browser = Browser::start().await;
    let german = |path: &str| {
        Request::get(path).header("accept", "text/html").header("accept-language", "de-AT, en;q=0.5")
    };
    let page = browser.send(german("/.auth/login?next=/a%3Fb"), "").await;
    assert_eq!((&page.headers["content-language"], page.status), (&"de".parse().expect("a value"), 200));
    assert!(page.headers.get_all("vary").iter().any(|vary| vary == "accept-language, cookie"));
    assert!(
        page.text.contains("<html lang=\"de\">") && page.text.contains("<h1>Anmelden</h1>"),
        "{}",
        page.text
    );
    assert!(page.text.contains("weiter zu <strong>app.test</strong>"), "{}", page.text);
    // The same page in another language, and what it was asked for with it.
    assert!(page.text.contains("href=\"/.auth/login?next=/a%3Fb&amp;lang=en\" lang=\"en\""), "{}", page.text);

    let page = browser.send(german("/.auth/login?next=/a%3Fb&lang=en"), "").await;
    assert!(page.text.contains("<html lang=\"en\">"), "{}", page.text);
    assert_eq!(browser.cookies["foregate-language"], "en");
    let page = browser.send(german("/.auth/nothing"), "").await;
    assert!(page.status == 404 && page.text.contains("Page not found"), "remembered: {}", page.text);
    browser.get("/.auth/login?lang=xx").await;
    assert_eq!(browser.cookies["foregate-language"], "en", "what we don't speak is no choice");
    let page = browser.get("/.auth/login?lang=de").await;
    let answer = browser
        .post("/.auth/login", FORM, &format!("csrf_token={}&username=alice&password=x", page.csrf_token()))
        .await;
    assert!(
        answer.status == 401 && answer.text.contains("Benutzername oder Passwort falsch."),
        "{}",
        answer.text
    );
    let answer = browser.post("/.auth/login", JSON, r#"{"username":"alice","password":"x"}"#).await;
    assert_eq!(
        answer.json()["detail"].as_str(),
        Some("Incorrect username or password."),
        "programs read English"
    );
}

#[tokio::test]
async fn the_session_that_a_further_one_ends_is_over_at_once() {
    let mut browser = Browser::start().await;
    let body = format!(r#"{{"username":"alice","password":"{PASSWORD}"}}"#);
    assert_eq!(browser.post("/.auth/login", JSON, &body).await.status, 200);
    let first = browser.cookies["foregate"].clone();
    for _ in 1..SESSIONS_PER_ACCOUNT {
        // Another browser, or the one before would end.
        browser.cookies.clear();
        assert_eq!(browser.post("/.auth/login", JSON, &body).await.status, 200);
    }
    browser.cookies.insert("foregate".into(), first.clone());
    assert_eq!(browser.get("/.auth/me").await.status, 200, "as many as there may be");
    browser.cookies.clear();
    assert_eq!(browser.post("/.auth/login", JSON, &body).await.status, 200);
    browser.cookies.insert("foregate".into(), first);
    assert_eq!(browser.get("/.auth/me").await.status, 401, "one more");
}

#[tokio::test]
async fn every_wrong_pair_gets_the_same_page_and_then_a_wait() {
    let mut browser = Browser::start().await;
    // bob has no password yet; nobody is called carl.
    let mut seen = BTreeSet::new();
    for name in ["alice", "carla", "bobby"] {
        let answer = browser.sign_in("/.auth/login", &format!("username={name}&password=wrong")).await;
        assert_eq!(answer.status, 401);
        assert!(
            answer.text.contains("Incorrect username or password.") && answer.text.contains("<title>Error: ")
        );
        assert!(answer.text.contains(&format!("value=\"{name}\"")), "the name is kept");
        let token = answer.csrf_token().to_owned();
        seen.insert(answer.text.replace(&token, "").replace(name, ""));
    }
    assert_eq!(seen.len(), 1, "apart from the name, the same bytes");

    let mut limited = None;
    for _ in 0..5 {
        let answer = browser.sign_in("/.auth/login", "username=alice&password=wrong").await;
        limited = (answer.status == 429).then_some(answer);
    }
    let limited = limited.expect("a wait");
    assert!(limited.headers.contains_key(RETRY_AFTER) && limited.text.contains("Please try again in "));
    let body = format!(r#"{{"username":"alice@app.test","password":"{PASSWORD}"}}"#);
    let answer = browser.post("/.auth/login", JSON, &body).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (429, Some("too_many_requests")));
    assert_eq!(browser.post("/.auth/token", JSON, &body).await.status, 429, "at every door");
}

#[tokio::test]
async fn a_form_that_is_not_from_here_changes_nothing() {
    let mut browser = Browser::start().await;
    let pair = "username=alice&password=correct+horse+battery";
    let stale = browser.post("/.auth/login", FORM, pair).await;
    assert!(stale.status == 403 && stale.text.contains("value=\"alice\"") && !stale.text.contains("Error:"));
    let page = browser.get("/.auth/login").await;
    let body = format!("{pair}&csrf_token={}", page.csrf_token());
    let cases = [
        ("origin", "null", "text/html"),
        ("origin", "http://evil.test", "*/*"),
        ("sec-fetch-site", "cross-site", "application/json"),
        ("sec-fetch-site", "same-site", "application/json"),
    ];
    for (name, value, accept) in cases {
        for path in ["/.auth/login", "/.auth/logout", "/.auth/reset?token=x", "/.auth/token"] {
            let request =
                Request::post(path).header(name, value).header("accept", accept).header(CONTENT_TYPE, FORM);
            let answer = browser.send(request, &body).await;
            assert_eq!(answer.status, 403, "{path} {name}: {value}");
        }
    }
    assert!(!browser.cookies.contains_key("foregate"));
    let here = Request::post("/.auth/login")
        .header("origin", "http://app.test")
        .header("sec-fetch-site", "same-origin");
    assert_eq!(browser.send(here.header(CONTENT_TYPE, FORM), &body).await.status, 303);
}

#[tokio::test]
async fn programs_speak_json() {
    let mut browser = Browser::start().await;
    let body = format!(r#"{{"username":"alice@app.test","password":"{PASSWORD}","remember":true}}"#);
    let answer = browser.post("/.auth/login", JSON, &body).await;
    assert_eq!((answer.status, answer.json()["user"]["username"].as_str()), (200, Some("alice")));
    assert!(answer.headers[SET_COOKIE].to_str().expect("ASCII").contains("Max-Age=2592000"));
    let answer = browser.post("/.auth/login", JSON, r#"{"username":"alice","password":"x"}"#).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("incorrect_credentials")));
    for body in ["{", "[]", r#"{"username":"a"}"#, r#"{"username":"a","username":"b","password":"c"}"#] {
        assert_eq!(browser.post("/.auth/login", JSON, body).await.status, 400, "{body}");
    }
    assert_eq!(browser.post("/.auth/logout", JSON, "{}").await.status, 204);

    let token =
        browser.post("/.auth/token", FORM, "email=alice%40app.test&password=correct+horse+battery").await;
    assert_eq!((token.status, token.json()["token_type"].as_str()), (200, Some("Bearer")));
    let bearer = format!("Bearer {}", token.json()["access_token"].as_str().expect("a token"));
    let me = browser.send(Request::get("/.auth/me").header("authorization", &bearer), "").await;
    assert_eq!((me.status, me.json()["credential"].as_str()), (200, Some("bearer")));
    let bad = browser.send(Request::get("/.auth/me").header("authorization", "Bearer x"), "").await;
    let challenge = bad.headers[WWW_AUTHENTICATE].to_str().expect("ASCII");
    assert!(bad.status == 401 && challenge.contains("error=\"invalid_token\""), "{challenge}");
    let keys = browser.get("/.auth/jwks.json").await;
    assert!(
        keys.headers[http::header::CACHE_CONTROL] == "public, max-age=300"
            && keys.json()["keys"][0]["kid"].is_string()
    );
}

#[tokio::test]
async fn a_link_sets_a_password_once() {
    let mut browser = Browser::start().await;
    let path = format!("/.auth/reset?token={}", browser.link);
    for _ in 0..2 {
        assert_eq!(browser.get(&path).await.status, 200, "looking changes nothing");
    }
    let page = browser.get(&path).await;
    let token = page.csrf_token().to_owned();
    for (fields, sentence) in [
        ("password=short", "Use at least 8 characters."),
        ("password=long+enough+1&password_again=other", "The two passwords are not the same."),
        ("password=", "Enter a password."),
    ] {
        let answer = browser.post(&path, FORM, &format!("csrf_token={token}&{fields}")).await;
        assert!(answer.status == 400 && answer.text.contains(sentence), "{fields}: {}", answer.text);
    }
    let good = "password=a+new+pass+phrase&password_again=a+new+pass+phrase";
    let answer = browser.post(&path, FORM, &format!("csrf_token={token}&{good}")).await;
    assert_eq!((answer.status, answer.location()), (303, "/.auth/login"));
    assert!(browser.get("/.auth/login").await.text.contains("Your password is set."));
    let again = browser.post(&path, JSON, r#"{"password":"another new one"}"#).await;
    assert_eq!((again.status, again.json()["code"].as_str()), (400, Some("invalid_link")));
    let answer = browser.sign_in("/.auth/login", "username=bob&password=a+new+pass+phrase").await;
    assert_eq!(answer.status, 303);
}

#[tokio::test]
async fn paths_and_methods() {
    let mut browser = Browser::start().await;
    let cases = [
        ("GET", "/.auth/healthz", 200, ""),
        ("HEAD", "/.auth/login", 200, ""),
        ("GET", "/.auth/readyz", 503, ""),
        ("GET", "/.auth/nothing", 404, ""),
        ("GET", "/.auth", 303, ""),
        ("PUT", "/.auth/login", 405, "GET, HEAD, POST"),
        ("GET", "/.auth/token", 405, "POST"),
        ("POST", "/.auth/me", 405, "GET, HEAD"),
        ("GET", "/.auth/reset", 400, ""),
        ("GET", "/.auth/reset?token=x", 400, ""),
    ];
    for (method, path, status, allow) in cases {
        let answer = browser.send(Request::builder().method(method).uri(path), "").await;
        let allowed = answer.headers.get("allow").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!((answer.status, allowed), (status, allow), "{method} {path}");
        assert!(method != "HEAD" || answer.text.is_empty());
    }
}
