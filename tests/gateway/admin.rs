//! Administration on the command line, the admin socket, starting and stopping.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::{Browser, Form};
use crate::harness::{Gateway, PASSWORD, Upstream, foregate, run, wait_until};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// A folder with a configuration and no server.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(yaml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("foregate.yaml"), yaml).expect("it is written");
        Self(folder)
    }

    fn usual() -> Self {
        Self::new(
            "listen: 127.0.0.1:0\npassword: { argon2: { memory: 7MiB, iterations: 1 } }\n\
             upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, upstream: app }]\n",
        )
    }

    fn command(&self, arguments: &[&str], input: &str) -> Output {
        run(foregate().arg("--config").arg(self.0.path().join("foregate.yaml")).args(arguments), input)
    }
}

/// The whole life of an account, by whatever carries the commands out.
fn manage(command: &dyn Fn(&[&str], &str) -> Output) {
    let done = |arguments: &[&str], input: &str| {
        let output = command(arguments, input);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        stdout(&output)
    };
    let failed = |arguments: &[&str], input: &str, says: &str| {
        let output = command(arguments, input);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        let told = stderr(&output);
        assert!(told.starts_with("error: ") && told.lines().count() == 1, "{told}");
        assert!(told.contains(says), "{arguments:?}: {told}");
    };
    let wrong = |arguments: &[&str]| {
        let output = command(arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
    };
    assert_eq!(done(&["user", "list", "--json"], "").trim(), "[]");
    done(
        &[
            "user",
            "add",
            "alice",
            "--email",
            "alice@example.com",
            "--name",
            "Alice L",
            "--role",
            "b",
            "--role",
            "a",
            "--password-stdin",
        ],
        PASSWORD,
    );
    let link = done(&["user", "add", "bob"], "");
    assert!(link.contains("/.auth/reset?token=") && link.lines().count() == 1, "the link alone: {link}");
    let hash = "$argon2id$v=19$m=7168,t=1,p=1$c2FsdHNhbHRzYWx0$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ";
    done(&["user", "add", "carol", "--password-hash", hash], "");

    let list: Value = serde_json::from_str(&done(&["user", "list", "--json"], "")).expect("JSON");
    let names: Vec<_> =
        list.as_array().expect("an array").iter().map(|user| user["username"].clone()).collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    let shown: Value =
        serde_json::from_str(&done(&["user", "show", "ALICE@example.com", "--json"], "")).expect("JSON");
    assert_eq!(shown["roles"], json!(["a", "b"]));
    assert_eq!(
        (&shown["name"], &shown["disabled"], &shown["has_password"]),
        (&json!("Alice L"), &json!(false), &json!(true))
    );
    for text in [
        list.to_string(),
        shown.to_string(),
        done(&["user", "list"], ""),
        done(&["user", "show", "carol"], ""),
    ] {
        assert!(!text.contains("argon2") && !text.contains("$") && !text.contains("password_hash"), "{text}");
    }

    failed(&["user", "add", "Alice", "--password-stdin"], PASSWORD, "`Alice` is taken");
    failed(&["user", "add", "dave", "--email", "ALICE@example.com"], "", "belongs to another account");
    failed(&["user", "set", "bob", "--email", "alice@example.com"], "", "belongs to another account");
    failed(&["user", "add", "dave", "--password-stdin"], "short", "at least 8 characters");
    failed(&["user", "add", "dave", "--password-stdin"], "", "no password on standard input");
    failed(&["user", "set", "alice", "--password-stdin"], "x", "at least 8 characters");
    failed(&["user", "show", "alcie"], "", "did you mean `alice`?");
    failed(&["user", "delete", "nobody", "--yes"], "", "no account `nobody`");
    failed(&["user", "add", "dave", "--password-hash", "md5$abc"], "", "hash can't be used");
    for arguments in [
        &["user", "add"][..],
        &["user", "add", "a\nb"],
        &["user", "add", "dave", "--email", "nonsense"],
        &["user", "set", "alice"],
        &["user", "frobnicate"],
        &["user", "add", "dave", "--password", "secret"],
    ] {
        wrong(arguments);
    }

    done(&["user", "set", "alice", "--name", "Alice", "--role", "c"], "");
    done(&["user", "disable", "alice"], "");
    let shown: Value = serde_json::from_str(&done(&["user", "show", "alice", "--json"], "")).expect("JSON");
    assert_eq!(
        (&shown["roles"], &shown["disabled"], &shown["name"]),
        (&json!(["c"]), &json!(true), &json!("Alice"))
    );
    done(&["user", "enable", "alice"], "");
    for name in ["alice", "bob", "carol"] {
        done(&["user", "delete", name, "--yes"], "");
    }
    assert_eq!(done(&["user", "list", "--json"], "").trim(), "[]");
    done(&["user", "add", "alice", "--email", "alice@example.com", "--password-stdin"], PASSWORD);
}

#[test]
fn accounts_are_managed_through_the_running_server() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    manage(&|arguments, input| gateway.command(arguments, input));
    gateway.wait_for_log("administration");
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 200);
}

#[test]
fn accounts_are_managed_without_a_server() {
    let folder = Folder::usual();
    manage(&|arguments, input| folder.command(arguments, input));
    let directory = folder.0.path().join("data");
    let mode = directory.metadata().expect("a folder").permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else reads the store: {mode:o}");
    assert!(!directory.join("admin.sock").exists());
}

#[test]
fn a_one_time_link_sets_a_password_exactly_once() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "password: {{ min_score: 3 }}\nupstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    ));
    let link = stdout(&gateway.command(&["user", "add", "alice", "--name", "Alice Liddell"], ""));
    let link = link.trim();
    let origin = format!("http://{}/.auth/reset?token=", gateway.address);
    assert!(link.starts_with(&origin), "it leads to the public origin: {link}");
    let target = &link[link.find("/.auth/").expect("a path")..];
    let browser = Browser::new(&gateway);
    // Looking at it, as a mail scanner does, changes nothing.
    for _ in 0..3 {
        assert_eq!(browser.open(target).status, 200);
        assert_eq!(gateway.request("HEAD", target, &[], b"").status, 200);
    }
    let page = browser.open(target);
    assert!(page.text().contains("for <strong>alice</strong>"), "{}", page.text());
    let form = Form::read(&page);
    let fill = |form: &Form, password: &str, again: &str| {
        browser.submit(&form.clone().with("password", password).with("password_again", again))
    };
    for (password, sentence) in [
        ("short", "Use at least 8 characters."),
        ("aliceliddell", "too easy to guess"),
        ("password1", "too easy to guess"),
    ] {
        let weak = fill(&form, password, password);
        assert_eq!(weak.status, 400, "{password}: {weak:?}");
        assert!(weak.text().contains(sentence), "{}", weak.text());
        assert!(!weak.text().contains(password), "{}", weak.text());
    }
    assert_eq!(fill(&form, PASSWORD, "something else").status, 400);
    assert_eq!(browser.submit(&form.clone().with("csrf_token", "x").with("password", PASSWORD)).status, 403);
    let json = ("content-type", "application/json");
    let weak = gateway.request("POST", target, &[json], br#"{"password":"password1"}"#);
    assert_eq!((weak.status, weak.json()["code"].as_str()), (400, Some("weak_password")), "{weak:?}");
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 401, "nothing is set so far");

    // Two at once: one of them sets it.
    let set = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..4)
            .map(|_| {
                let body = json!({ "password": PASSWORD }).to_string();
                let gateway = &gateway;
                scope.spawn(move || gateway.request("POST", target, &[json], body.as_bytes()).status)
            })
            .collect();
        tries.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert_eq!(set.iter().filter(|&&status| status == 204).count(), 1, "{set:?}");
    assert_eq!(gateway.sign_in_with("alice", PASSWORD).status, 200);
    for used in [browser.open(target), fill(&form, "another horse battery", "another horse battery")] {
        assert_eq!(used.status, 400, "{used:?}");
        assert!(used.text().contains("not valid any more"), "{}", used.text());
    }
    assert_eq!(gateway.sign_in_with("alice", "another horse battery").status, 401);
}

#[test]
fn the_sockets_mode_is_ours_alone_and_a_stale_one_stops_nothing() {
    let folder = Folder::usual();
    assert_eq!(folder.command(&["user", "list"], "").status.code(), Some(0));
    let socket = folder.0.path().join("data/admin.sock");
    // Bound, and its process is gone.
    drop(UnixListener::bind(&socket).expect("a socket"));
    assert!(socket.exists());
    assert_eq!(folder.command(&["user", "add", "alice"], "").status.code(), Some(0));
    let upstream = Upstream::start();
    let yaml = format!(
        "upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    );
    let mut gateway = Gateway::start_in(folder.0, &yaml);
    let mode = socket.metadata().expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    assert!(stdout(&gateway.command(&["user", "list"], "")).contains("alice"));
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert!(!socket.exists(), "it goes at a clean end");
}

#[test]
fn a_store_in_use_without_a_socket_is_told() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    let socket = gateway.directory().join("data/admin.sock");
    std::fs::remove_file(&socket).expect("it was there");
    let output = gateway.command(&["user", "list"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = stderr(&output);
    assert!(
        told.contains("in use by another process") && told.contains(socket.to_str().expect("text")),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn a_second_server_on_the_same_store_or_port_says_so_and_ends() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    // Another port, and the very one: with the same configuration both are taken.
    for port in [0, gateway.address.port()] {
        let again = gateway.directory().join("again.yaml");
        let text = format!(
            "listen: 127.0.0.1:{port}\nupstreams: {{ app: \"http://127.0.0.1:9\" }}\nroutes: [{{ path: /**, upstream: app }}]\n"
        );
        std::fs::write(&again, text).expect("it is written");
        let output = foregate().args(["serve", "--config"]).arg(&again).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = stderr(&output);
        let sentence = told.lines().find(|line| line.starts_with("error: ")).expect("a sentence");
        assert!(sentence.contains("in use by another process") && sentence.contains("admin.sock"), "{told}");
    }
    assert!(gateway.directory().join("data/admin.sock").exists(), "the first one's socket stays");
    assert_eq!(gateway.get("/.auth/healthz", &[]).status, 200);

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    for address in [taken.local_addr().expect("an address"), gateway.address] {
        let folder = Folder::new(&format!(
            "listen: {address}\nupstreams: {{ app: \"http://127.0.0.1:9\" }}\nroutes: [{{ path: /**, upstream: app }}]\n"
        ));
        let output = folder.command(&["serve"], "");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = stderr(&output);
        assert!(
            told.contains(&format!("can't listen on {address}: another program has this port")),
            "{told}"
        );
    }
}

#[test]
fn a_store_that_can_not_be_used_is_told_in_a_sentence() {
    let folder = Folder::usual();
    std::fs::write(folder.0.path().join("data"), "no folder").expect("it is written");
    for command in [&["serve"][..], &["user", "list"]] {
        let output = folder.command(command, "");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains("is not a directory: name a directory"), "{output:?}");
        assert!(!stderr(&output).contains("panicked"), "{output:?}");
    }
    if rustix::process::geteuid().is_root() {
        println!("skipped: root can read every folder");
        return;
    }
    let folder = Folder::usual();
    let data = folder.0.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o000)).expect("a mode");
    let output = folder.command(&["serve"], "");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).expect("a mode");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("make sure that it exists"), "{output:?}");
}

#[test]
fn sigterm_finishes_what_is_running_and_takes_nothing_new() {
    let upstream = Upstream::answering(|request| {
        if request.starts_with("GET /slow ") {
            // The one wait that is the subject: an answer that takes its time.
            std::thread::sleep(Duration::from_millis(700));
        }
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec()
    });
    let mut gateway = Gateway::in_front_of(upstream.address, ", access: public");
    let mut running = gateway.connect();
    let mut idle = gateway.connect();
    idle.write(b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
    assert_eq!(idle.reply(false).status, 200);
    running.write(b"GET /slow HTTP/1.1\r\nhost: app.test\r\n\r\n");
    upstream.wait_for(2);
    let began = Instant::now();
    gateway.signal("TERM");
    gateway.wait_for_log("stopping");
    wait_until(
        || std::net::TcpStream::connect(gateway.address).is_err(),
        || "it takes new connections while it stops".to_owned(),
    );
    let reply = running.reply(false);
    assert_eq!((reply.status, reply.text().as_str(), reply.cut), (200, "hello", false), "{reply:?}");
    assert!(idle.is_closed());
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(!gateway.directory().join("data/admin.sock").exists());
    assert!(gateway.log().contains("stopped"), "{}", gateway.log());
}

#[test]
fn explain_says_what_the_gateway_does() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "public_url: http://app.test\ntrusted_proxies: [127.0.0.1]\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes:\n\
         \x20 - {{ name: open, path: /open/**, access: public, upstream: app }}\n\
         \x20 - {{ name: maybe, path: /maybe, access: optional, upstream: app }}\n\
         \x20 - {{ name: admins, path: /admin/**, require: {{ roles: [admin] }}, upstream: app }}\n\
         \x20 - {{ name: office, path: /office, require: {{ networks: [10.0.0.0/8] }}, upstream: app }}\n\
         \x20 - {{ name: api, path: /api/**, credentials: [bearer], unauthenticated: status, upstream: app }}\n\
         \x20 - {{ name: dav, path: /dav/**, credentials: [basic], upstream: app }}\n\
         \x20 - {{ name: reads, path: /reads, methods: [GET], upstream: app }}\n\
         \x20 - {{ name: shop, host: shop.test, path: /**, access: public, upstream: app }}\n\
         \x20 - {{ name: home, path: /home/**, upstream: app }}\n",
        upstream.address
    ));
    gateway.add_user("alice", &["admin"]);
    gateway.add_user("bob", &["user"]);
    let cookies = [("alice", gateway.sign_in("alice")), ("bob", gateway.sign_in("bob"))];
    let tokens = [("alice", gateway.token("alice")), ("bob", gateway.token("bob"))];
    let of = |all: &[(&str, String); 2], name: &str| {
        all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).expect("known")
    };
    // Method, URL, who, by what, from where; the route and the decision.
    let cases = [
        ("GET", "/open/a", "", "none", "192.0.2.1", Some("open"), "allow"),
        ("GET", "/maybe", "", "none", "192.0.2.1", Some("maybe"), "allow"),
        ("GET", "/maybe", "bob", "session", "192.0.2.1", Some("maybe"), "allow"),
        ("GET", "/admin/x", "", "none", "192.0.2.1", Some("admins"), "login"),
        ("GET", "/admin/x", "alice", "session", "192.0.2.1", Some("admins"), "allow"),
        ("GET", "/admin/x", "bob", "session", "192.0.2.1", Some("admins"), "forbidden"),
        ("GET", "/admin", "bob", "bearer", "192.0.2.1", Some("admins"), "forbidden"),
        ("POST", "/admin/x", "", "none", "192.0.2.1", Some("admins"), "unauthorized"),
        ("GET", "/office", "bob", "session", "10.1.1.1", Some("office"), "allow"),
        ("GET", "/office", "bob", "session", "192.0.2.1", Some("office"), "forbidden"),
        ("GET", "/api/x", "", "none", "192.0.2.1", Some("api"), "unauthorized"),
        ("GET", "/api/x", "bob", "bearer", "192.0.2.1", Some("api"), "allow"),
        ("GET", "/api/x", "bob", "session", "192.0.2.1", Some("api"), "unauthorized"),
        ("GET", "/dav/x", "bob", "basic", "192.0.2.1", Some("dav"), "allow"),
        ("GET", "/reads", "", "none", "192.0.2.1", Some("reads"), "login"),
        ("POST", "/reads", "bob", "session", "192.0.2.1", None, "not-found"),
        ("GET", "http://shop.test/x", "", "none", "192.0.2.1", Some("shop"), "allow"),
        ("GET", "/nothing", "alice", "session", "192.0.2.1", None, "not-found"),
        ("GET", "/open/..%2fadmin", "alice", "session", "192.0.2.1", None, "bad-request"),
        ("GET", "/open/../admin", "", "none", "192.0.2.1", None, "bad-request"),
        ("GET", "/home/%zz", "", "none", "192.0.2.1", None, "bad-request"),
    ];
    for (method, url, who, credential, from, route, decision) in cases {
        let mut arguments = vec!["explain", method, url, "--ip", from, "--credential", credential, "--json"];
        if !who.is_empty() {
            arguments.extend(["--user", who]);
        }
        let output = gateway.command(&arguments, "");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        let told: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        assert_eq!(
            (told["route"].as_str(), told["decision"].as_str()),
            (route, Some(decision)),
            "{arguments:?}: {told}"
        );

        let (host, target) = match url.strip_prefix("http://") {
            Some(rest) => rest.split_at(rest.find('/').expect("a path")),
            None => ("app.test", url),
        };
        let mut headers =
            vec![("host".to_owned(), host.to_owned()), ("x-forwarded-for".to_owned(), from.to_owned())];
        let pair =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{who}:{PASSWORD}"));
        match credential {
            "session" => headers.push(("cookie".to_owned(), of(&cookies, who))),
            "bearer" => headers.push(("authorization".to_owned(), format!("Bearer {}", of(&tokens, who)))),
            "basic" => headers.push(("authorization".to_owned(), format!("Basic {pair}"))),
            _ => {}
        }
        if matches!(credential, "none" | "session") {
            headers.push(("accept".to_owned(), "text/html".to_owned()));
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let reply = gateway.request(method, target, &headers, b"");
        let expected = match decision {
            "allow" => 200,
            "login" => 303,
            "unauthorized" => 401,
            "forbidden" => 403,
            "not-found" => 404,
            _ => 400,
        };
        assert_eq!(reply.status, expected, "{method} {url} {who} {credential}: {reply:?}");
    }
    // For people, with the routes that were passed over and why.
    let text = stdout(&gateway.command(&["explain", "post", "/reads"], ""));
    assert!(text.contains("decision: not-found"), "{text}");
    assert!(text.contains("passed over: reads (") && text.contains("passed over: open ("), "{text}");
    let text =
        stdout(&gateway.command(&["explain", "GET", "/admin/x", "--user", "bob", "--role", "admin"], ""));
    assert!(text.contains("decision: allow") && text.contains("route:    admins"), "{text}");
    let text = stdout(&gateway.command(&["explain", "GET", "/admin/x", "--role", "user"], ""));
    assert!(
        text.contains("decision: forbidden") && text.contains("has none of the required roles"),
        "{text}"
    );
    let output = gateway.command(&["explain", "GET", "/home", "--user", "nobody"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = gateway.command(&["explain", "GET", "home"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    gateway.command(&["user", "disable", "bob"], "");
    let text = stdout(&gateway.command(&["explain", "GET", "/home", "--user", "bob"], ""));
    assert!(text.contains("decision: login"), "nobody signs in to a disabled account: {text}");
}
