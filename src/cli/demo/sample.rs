//! The sample application: a web server without a login, the "application that can't be changed".
//!
//! It believes the identity headers, as such applications do, and so it listens on the loopback
//! address alone, on a port that the kernel picks.
//!
//! Callers: `cli::demo`. It knows nothing of Foregate's rooms.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use minijinja::{Environment, context};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

const PAGE: &str = include_str!("page.html");
/// The headers in which the gateway says who it is; our own configuration has no others.
const IDENTITY: [&str; 4] = ["Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups"];
/// Connections at once: the gateway's, and a curious neighbour's.
const CONNECTIONS: usize = 256;
const HEAD_WAIT: Duration = Duration::from_secs(10);

/// The running application, on a thread of its own. It stops when the value goes.
#[derive(Debug)]
pub struct SampleApplication {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SampleApplication {
    /// Starts it on 127.0.0.1, on a port that the kernel picks.
    pub fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("sample-app".to_owned())
            .spawn(move || runtime.block_on(accept(listener, stopped)))?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SampleApplication {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed over there.
            drop(thread.join());
        }
    }
}

async fn accept(listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = &mut stopped => return,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(async move {
                converse(stream).await;
                drop(place);
            })),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(stream: TcpStream) {
    let answer = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answer(request.method(), request.uri().path(), request.uri(), request.headers()))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .serve_connection(TokioIo::new(stream), answer);
    // A client that goes away is no failure of a demo.
    drop(connection.await);
}

/// What the application says to one request.
fn answer(method: &Method, path: &str, target: &http::Uri, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let page = match path {
        "/" => "landing",
        "/private" | "/private/" => "private",
        "/admin" | "/admin/" => "admin",
        "/headers" => return as_received(method, target, headers),
        path if path == "/api" || path.starts_with("/api/") => return as_received(method, target, headers),
        _ => {
            return plain(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "There is no such page.\n".into(),
            );
        }
    };
    let links = [("/", "Public"), ("/private", "Private"), ("/admin", "Admin"), ("/headers", "Headers")]
        .map(|(path, text)| context! { path, text });
    let identity = IDENTITY
        .map(|name| context! { name, value => text(headers, name) })
        .into_iter()
        .zip(IDENTITY)
        .filter(|(_, name)| headers.contains_key(*name))
        .map(|(shown, _)| shown)
        .collect::<Vec<_>>();
    let rendered = Environment::new().render_named_str(
        "page.html",
        PAGE,
        context! {
            identity,
            links,
            page,
            name => text(headers, "Remote-Name"),
            origin => format!("http://{}", text(headers, HOST.as_str())),
            path => format!("/{}", path.trim_matches('/')),
            title => match page { "landing" => "Welcome", "private" => "Private page", _ => "Administration" },
            user => text(headers, "Remote-User"),
        },
    );
    match rendered {
        Ok(html) => plain(StatusCode::OK, "text/html; charset=utf-8", html),
        Err(error) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", format!("{error:#}\n"))
        }
    }
}

/// The request as it arrived here, so that one can see what the gateway did to it.
fn as_received(method: &Method, target: &http::Uri, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let mut fields = serde_json::Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        // A name that came twice must not look as if it had come once.
        let seen = if let [value] = values.as_slice() { json!(value) } else { json!(values) };
        fields.insert(name.to_string(), seen);
    }
    let seen = json!({ "method": method.as_str(), "target": target.to_string(), "headers": fields });
    plain(StatusCode::OK, "application/json", format!("{seen:#}\n"))
}

fn plain(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
        ),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().expect("a header value written here"));
    }
    response
}

/// A header's text. The gateway encodes what can't stand in a header as it is.
fn text(headers: &HeaderMap, name: &str) -> String {
    let raw = headers.get(name).map(|value| value.as_bytes()).unwrap_or_default();
    percent_decode_str(&String::from_utf8_lossy(raw)).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn get(path: &str, headers: &[(&'static str, &str)]) -> (StatusCode, String) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a header value"));
        }
        let target: http::Uri = path.parse().expect("a target");
        let response = answer(&Method::GET, target.path(), &target, &map);
        let status = response.status();
        let body = response.into_body().collect().await.expect("it is all there").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn pages_greet_who_the_headers_name() {
        let alice = [("remote-user", "alice"), ("remote-name", "Zo%C3%AB <b>"), ("remote-groups", "user")];
        let (status, page) = get("/private", &alice).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("Hello, Zoë &lt;b&gt;"), "{page}");
        assert!(page.contains("<dt>Remote-Groups</dt><dd><code>user</code>"), "{page}");
        assert!(!page.contains("Remote-Email"), "what did not arrive isn't listed: {page}");
        let (_, page) = get("/admin", &alice).await;
        assert!(page.contains("Administrators only"), "{page}");
    }

    #[tokio::test]
    async fn without_a_name_nobody_is_greeted() {
        let (status, page) = get("/", &[("host", "127.0.0.1:8080")]).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("127.0.0.1:8080/.auth/token"), "{page}");
        let (_, page) = get("/private/", &[]).await;
        assert!(page.contains("Nobody told me who you are"), "{page}");
        assert_eq!(get("/nowhere", &[]).await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn headers_are_shown_as_they_came() {
        let (_, body) = get("/headers?a=b", &[("x-one", "1"), ("x-two", "3"), ("x-one", "2")]).await;
        let seen: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(seen["target"], "/headers?a=b");
        assert_eq!(seen["headers"], json!({ "x-one": ["1", "2"], "x-two": "3" }));
    }

    #[test]
    fn it_stops_when_it_goes() {
        let application = SampleApplication::start().expect("it starts");
        let address = application.address();
        assert!(std::net::TcpStream::connect(address).is_ok());
        drop(application);
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}
