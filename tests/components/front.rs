//! What holds behind every front proxy: the snippet from `config/`, the proxy itself, Foregate as it
//! answers its questions, and an application that records what reaches it.

use std::net::SocketAddr;

use crate::harness::{Connection, Gateway, PASSWORD, Reply, Upstream};
use crate::program::{Program, free_address};

/// A page load by a browser.
pub(crate) const BROWSER: &[(&str, &str)] =
    &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8"), ("sec-fetch-mode", "navigate")];

/// Names that an application could take for an identity, as a client would send them.
const SPOOFED: &[(&str, &str)] = &[
    ("Remote-User", "root"),
    ("remote-user", "root"),
    ("Remote_User", "root"),
    ("REMOTE_USER", "root"),
    ("Remote.User", "root"),
    ("Remote-Groups", "admin"),
    ("Remote_Groups", "admin"),
    ("Remote-Email", "root@example.com"),
    ("Remote-Name", "root"),
];

/// A front proxy with all that belongs to it.
pub(crate) struct Front {
    pub(crate) gateway: Gateway,
    pub(crate) proxy: Program,
    pub(crate) upstream: Upstream,
}

impl Front {
    /// `start` gets the addresses of the front, of Foregate and of the application.
    pub(crate) fn start(start: impl FnOnce(SocketAddr, SocketAddr, SocketAddr) -> Program) -> Self {
        let upstream = Upstream::answering(|request| {
            if request.to_lowercase().contains("\r\nupgrade: websocket\r\n") {
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                  sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                    .to_vec()
            } else {
                b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec()
            }
        });
        let address = free_address();
        let gateway = Gateway::start(&format!(
            "public_url: http://{address}\n\
             trusted_proxies: [127.0.0.1]\n\
             upstreams: {{}}\n\
             routes:\n\
             \x20 - {{ path: /public/**, access: public }}\n\
             \x20 - {{ path: /optional/**, access: optional }}\n\
             \x20 - {{ path: /admin/**, require: {{ roles: [admin] }} }}\n\
             \x20 - {{ path: /** }}\n"
        ));
        gateway.add_user("alice", &["staff", "news"]);
        let proxy = start(address, gateway.address, upstream.address);
        Self { gateway, proxy, upstream }
    }

    /// One request to the front, on a connection of its own that asks to be closed.
    pub(crate) fn get(&self, target: &str, headers: &[(&str, &str)]) -> Reply {
        self.request("GET", target, &[headers, &[("connection", "close")]].concat(), b"")
    }

    /// One request as it stands.
    pub(crate) fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        request(self.proxy.address, method, target, headers, body)
    }

    /// Signs in through the front as a browser does: the page, then its form. Gives the cookie, and the reply to
    /// the form.
    pub(crate) fn sign_in(&self, login: &str) -> (String, Reply) {
        let origin = format!("http://{}", self.proxy.address);
        let target = login.strip_prefix(&origin).unwrap_or_else(|| panic!("{login} is not at {origin}"));
        let page = self.get(target, BROWSER);
        assert_eq!(page.status, 200, "{page:?}");
        let form_cookie = page.cookie("foregate-csrf").unwrap_or_else(|| panic!("no cookie in {page:?}"));
        let field = |name: &str| hidden_field(&page.text(), name);
        let body = serde_urlencoded::to_string([
            ("csrf_token", field("csrf_token").as_str()),
            ("next", &field("next")),
            ("username", "alice"),
            ("password", PASSWORD),
        ]);
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", origin.as_str()),
            ("cookie", form_cookie.as_str()),
            ("connection", "close"),
        ];
        let body = body.expect("text can be encoded");
        let reply = self.request("POST", "/.auth/login", &headers, body.as_bytes());
        let cookie = reply.cookie("foregate").unwrap_or_else(|| panic!("no cookie: {reply:?}"));
        (cookie, reply)
    }

    /// A cookie, where how it was come by doesn't matter.
    pub(crate) fn cookie(&self) -> String {
        self.sign_in(&format!("http://{}/.auth/login", self.proxy.address)).0
    }

    /// A page load is led to the login page, through it, and back to the very page; then out again.
    pub(crate) fn leads_through_the_login_and_back(&self) {
        let wanted = "/reports/2026?from=1&to=2&next=//evil.test&x=%26";
        let reply = self.get(wanted, BROWSER);
        assert_eq!(reply.status, 303, "{reply:?}");
        let login = reply.header("location").expect("a way to the login page").to_owned();
        assert_eq!(self.upstream.count(), 0);

        let (cookie, reply) = self.sign_in(&login);
        let back = format!("http://{}{wanted}", self.proxy.address);
        assert_eq!((reply.status, reply.header("location")), (303, Some(back.as_str())), "{reply:?}");

        let reply = self.get(wanted, &[("cookie", &cookie)]);
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{reply:?}");
        let seen = self.upstream.last();
        assert!(seen.starts_with(&format!("GET {wanted} HTTP/1.1\r\n")), "{seen}");
        assert_eq!(values(&seen, "remote-user"), ["alice"], "{seen}");
        assert_eq!(values(&seen, "remote-groups"), ["news,staff"], "{seen}");
        let host = self.proxy.address.to_string();
        assert_eq!(values(&seen, "host"), [host.as_str()], "{seen}");

        let headers =
            [("cookie", cookie.as_str()), ("content-type", "application/json"), ("connection", "close")];
        let reply = self.request("POST", "/.auth/logout", &headers, b"{}");
        assert_eq!(reply.status, 204, "{reply:?}");
        let before = self.upstream.count();
        let reply = self.get(wanted, &[("cookie", &cookie)]);
        assert_eq!((reply.status, self.upstream.count()), (401, before), "{reply:?}");
    }

    /// The application sees its own cookies and not the one that would let it pass for the person.
    pub(crate) fn keeps_the_session_from_the_application(&self) {
        let cookie = self.cookie();
        for (cookies, kept) in [
            (cookie.clone(), &[][..]),
            (format!("theme=dark; {cookie}; lang=en"), &["theme=dark", "lang=en"]),
            (format!("{cookie}; notforegate=1; lang=en"), &["notforegate=1", "lang=en"]),
            (format!("theme=foregate=; {cookie}"), &["theme=foregate="]),
        ] {
            let reply = self.get("/reports", &[("cookie", &cookies)]);
            assert_eq!(reply.status, 200, "{cookies}: {reply:?}");
            let seen = self.upstream.last();
            assert!(!seen.contains(&cookie), "{seen}");
            assert!(kept.iter().all(|kept| seen.contains(kept)), "{cookies}: {seen}");
        }
    }

    /// Programs get a status; nobody else's method or media type gets a redirect.
    pub(crate) fn refuses_programs_with_a_status(&self) {
        for (method, headers) in [
            ("GET", &[("accept", "application/json")][..]),
            ("GET", &[("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")]),
            ("GET", &[("accept", "text/html"), ("sec-fetch-mode", "cors")]),
            ("POST", &[("accept", "text/html")]),
            ("GET", &[]),
        ] {
            let headers = [headers, &[("connection", "close")]].concat();
            let reply = self.request(method, "/reports", &headers, b"");
            assert_eq!(reply.status, 401, "{method} {headers:?}: {reply:?}");
            assert!(reply.header("www-authenticate").is_some(), "{method} {headers:?}: {reply:?}");
        }
        let wrong = [("authorization", "Bearer not-a-token")];
        assert_eq!(self.get("/reports", &wrong).status, 401);
        assert_eq!(self.upstream.count(), 0, "{:?}", self.upstream.seen());
    }

    /// The application sees our identity or none, never the client's.
    pub(crate) fn overwrites_what_the_client_says_of_itself(&self) {
        let cookie = self.cookie();
        for headers in SPOOFED.chunks(1).chain([SPOOFED]) {
            let signed_in = [headers, &[("cookie", cookie.as_str())]].concat();
            let reply = self.get("/reports", &signed_in);
            assert_eq!(reply.status, 200, "{headers:?}: {reply:?}");
            let seen = self.upstream.last();
            assert_eq!(as_an_application_reads(&seen, "remote_user"), ["alice"], "{headers:?}: {seen}");
            assert_eq!(
                as_an_application_reads(&seen, "remote_groups"),
                ["news,staff"],
                "{headers:?}: {seen}"
            );
            assert_eq!(as_an_application_reads(&seen, "remote_email"), ["alice@example.com"], "{seen}");
            assert!(!seen.contains("root"), "{headers:?}: {seen}");

            for target in ["/public/page", "/optional/page"] {
                let reply = self.get(target, headers);
                assert_eq!(reply.status, 200, "{headers:?}: {reply:?}");
                let seen = self.upstream.last();
                let users = as_an_application_reads(&seen, "remote_user");
                assert!(users.iter().all(String::is_empty), "{target} {headers:?}: {seen}");
                assert!(!seen.contains("root") && !seen.contains('{'), "{target} {headers:?}: {seen}");
            }
        }
    }

    /// Whoever is signed in and lacks a role is told so, however the path is written.
    pub(crate) fn refuses_whoever_lacks_a_role_by_every_spelling(&self) {
        let cookie = self.cookie();
        let headers = [("cookie", cookie.as_str())];
        let reply = self.get("/admin/users", &headers);
        assert_eq!(reply.status, 403, "{reply:?}");
        let before = self.upstream.count();
        for target in [
            "/%61dmin/users",
            "//admin/users",
            "/public/../admin/users",
            "/public/%2e%2e/admin/users",
            "/public/%2E%2E%2Fadmin/users",
            "/public/..;/admin/users",
            "/public/..%2fadmin/users",
            "/public/..%5cadmin/users",
            "/public/..\\admin/users",
            "/public//../admin/users",
            "/public/%252e%252e/admin/users",
            "/./admin/users",
            "/.auth/../admin/users",
            "/.auth/login/../../admin/users",
            "/%2eauth/../admin/users",
            "/admin/users#/public/",
            "/admin%00/users",
            "/admin;x/users",
            "/admin/users?/../../public/",
        ] {
            let reply = self.get(target, &headers);
            assert!(reply.status >= 400, "{target}: {reply:?}");
            assert_eq!(self.upstream.count(), before, "{target}: {:?}", self.upstream.last());
        }
    }

    /// Another description of the request than the proxy's own changes nothing.
    pub(crate) fn takes_no_description_from_the_client(&self) {
        for headers in [
            &[("x-original-url", "http://app.test/public/")][..],
            &[("x-original-uri", "/public/")],
            &[("x-original-method", "OPTIONS")],
            &[("x-forwarded-uri", "/public/")],
            &[("x-forwarded-uri", "/public/"), ("x-forwarded-uri", "/public/")],
            &[("x-forwarded-method", "OPTIONS")],
            &[("x-forwarded-host", "other.test")],
            &[("x-rewrite-url", "/public/")],
            &[("forwarded", "for=10.0.0.1;host=other.test;proto=https")],
        ] {
            let reply = self.get("/reports", headers);
            assert!((400..600).contains(&reply.status), "{headers:?}: {reply:?}");
            assert_eq!(self.upstream.count(), 0, "{headers:?}: {:?}", self.upstream.seen());
        }
        for question in
            ["/.auth/auth-request", "/.auth/forward-auth", "/.auth/ext-authz/", "/.auth/ext-authz"]
        {
            let headers = [
                ("x-original-url", "http://app.test/public/"),
                ("x-original-method", "GET"),
                ("x-forwarded-uri", "/public/"),
                ("x-forwarded-method", "GET"),
            ];
            let reply = self.get(question, &headers);
            assert!(matches!(reply.status, 401 | 404), "{question}: {reply:?}");
            assert_eq!(self.upstream.count(), 0, "{question}: {:?}", self.upstream.seen());
        }
    }

    /// An upgrade is asked about like anything else, and reaches the application when it may.
    pub(crate) fn asks_about_an_upgrade(&self) {
        let upgrade = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let reply = self.request("GET", "/socket", &upgrade, b"");
        assert_eq!((reply.status, self.upstream.count()), (401, 0), "{reply:?}");

        let cookie = self.cookie();
        let headers = [&upgrade[..], &[("cookie", cookie.as_str())]].concat();
        let mut connection = Connection::to(self.proxy.address);
        connection.write(&head(self.proxy.address, "GET", "/socket", &headers, b""));
        let reply = connection.head();
        assert_eq!(reply.status, 101, "{reply:?}");
        assert_eq!(values(&self.upstream.last(), "remote-user"), ["alice"], "{}", self.upstream.last());
    }

    /// Without Foregate there is no pass; every proxy has a status of its own for that.
    pub(crate) fn passes_nothing_when_foregate_is_down(self, status: u16) {
        let cookie = self.cookie();
        assert_eq!(self.get("/reports", &[("cookie", &cookie)]).status, 200);
        let Self { gateway, proxy, upstream } = self;
        let before = upstream.count();
        drop(gateway.kill());
        for target in ["/reports", "/public/page", "/"] {
            let reply =
                request(proxy.address, "GET", target, &[("cookie", &cookie), ("connection", "close")], b"");
            assert_eq!(reply.status, status, "{reply:?}");
            assert_eq!(upstream.count(), before);
        }
    }
}

/// The status of a plain GET.
pub(crate) fn status(address: SocketAddr, target: &str) -> u16 {
    request(address, "GET", target, &[("connection", "close")], b"").status
}

fn request(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut connection = Connection::to(address);
    connection.write(&head(address, method, target, headers, body));
    connection.reply(method == "HEAD")
}

fn head(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        head += &format!("content-length: {}\r\n", body.len());
    }
    head += "\r\n";
    [head.as_bytes(), body].concat()
}

/// The values of a header in a recorded request.
pub(crate) fn values<'r>(request: &'r str, name: &str) -> Vec<&'r str> {
    fields(request).filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// The values of every header that CGI, WSGI and PHP put into the same variable.
fn as_an_application_reads(request: &str, variable: &str) -> Vec<String> {
    let folded = |name: &str| name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    fields(request).filter(|(name, _)| folded(name) == variable).map(|(_, value)| value.to_owned()).collect()
}

fn fields(request: &str) -> impl Iterator<Item = (&str, &str)> {
    let head = request.split("\r\n\r\n").next().unwrap_or_default();
    head.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
}

/// The value of a hidden field of a page.
fn hidden_field(page: &str, name: &str) -> String {
    let start = page.find(&format!("name=\"{name}\" value=\""));
    let value = start.and_then(|at| page[at..].split('"').nth(3)).unwrap_or_default();
    value.replace("&amp;", "&").replace("&#x2f;", "/").replace("&#x27;", "'").replace("&quot;", "\"")
}
