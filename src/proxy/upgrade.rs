//! WebSocket and other upgrades: asked for on both sides, and carried until one of them closes.
//!
//! Bytes flow only after the server answered 101. A protocol in which further HTTP requests would
//! pass unjudged (`h2c`, `HTTP/2`, `TLS/1.0`) is never offered to a server.
//!
//! Callers: `proxy`; `gateway` ends the tunnels at shutdown.

use std::future::Future;
use std::io;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Ended;
use super::headers::tokens;
use super::pool::Lease;
use crate::telemetry::metrics::Metrics;

/// After one side has closed, the other has this long to finish.
const CLOSING: Duration = Duration::from_secs(60);

/// A tunnel that has to end says so to a peer that takes it within this time.
const ENDING: Duration = Duration::from_millis(250);

/// The upgraded connections of a gateway, to be ended with it. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Tunnels {
    ended: CancellationToken,
    metrics: Option<Metrics>,
    tracker: TaskTracker,
}

impl Tunnels {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// None yet; they are counted while they are open.
    pub fn counted(metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..Self::default() }
    }

    /// Ends all of them and waits until they are gone. None that comes later lives either.
    pub async fn end(&self) {
        self.ended.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Done when `ended` is, or when all are ended: for streams of events, which would never finish either.
    pub(crate) fn or_all(&self, ended: Ended) -> Ended {
        let all_ended = self.ended.clone();
        Box::pin(async move {
            tokio::select! {
                () = ended => {}
                () = all_ended.cancelled() => {}
            }
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Carries bytes both ways until a side closes, `ended` is done, or all tunnels are ended.
    pub(crate) fn carry(&self, downstream: OnUpgrade, upstream: OnUpgrade, mut lease: Lease, ended: Ended) {
        let mut told_to_end = self.or_all(ended);
        let open = self.metrics.as_ref().map(Metrics::tunnel);
        self.tracker.spawn_local(async move {
            // The server has this to do until the tunnel ends, whatever becomes of the lease.
            let _flight = lease.flight.take();
            let opened = tokio::select! {
                opened = async { tokio::join!(downstream, upstream) } => opened,
                () = &mut told_to_end => return,
            };
            let (Ok(downstream), Ok(upstream)) = opened else { return };
            // hyper has given the socket out; what is left of the connection has no more to do.
            drop(lease);
            let (mut down_read, mut down_write) = tokio::io::split(TokioIo::new(downstream));
            let (mut up_read, mut up_write) = tokio::io::split(TokioIo::new(upstream));
            tokio::select! {
                () = both(pipe(&mut down_read, &mut up_write), pipe(&mut up_read, &mut down_write)) => {}
                () = &mut told_to_end => {
                    // TLS has an end of its own, without which a peer takes the connection for cut off.
                    let ending = async { tokio::join!(down_write.shutdown(), up_write.shutdown()) };
                    let _ = tokio::time::timeout(ENDING, ending).await;
                }
            }
            drop(open);
        });
    }
}

/// An error in one direction ends both at once; an end in one leaves the other a while.
async fn both(up: impl Future<Output = io::Result<()>>, down: impl Future<Output = io::Result<()>>) {
    tokio::pin!(up, down);
    let other: std::pin::Pin<&mut dyn Future<Output = io::Result<()>>> = tokio::select! {
        result = &mut up => match result { Ok(()) => down, Err(_) => return },
        result = &mut down => match result { Ok(()) => up, Err(_) => return },
    };
    let _ = tokio::time::timeout(CLOSING, other).await;
}

/// One direction: 8 KiB at a time, as fast as the receiver takes it.
async fn pipe<R: AsyncRead, W: AsyncWrite>(from: &mut ReadHalf<R>, to: &mut WriteHalf<W>) -> io::Result<()> {
    tokio::io::copy(from, to).await?;
    to.shutdown().await
}

/// The protocols that a client offers and a server may be offered; `None` where the request goes on
/// as an ordinary one.
pub(crate) fn offered(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let upgrade = headers.get_all(header::UPGRADE);
    if version != Version::HTTP_11 || upgrade.iter().next().is_none() || !asks(headers) {
        return None;
    }
    let passes = |protocol: &&str| {
        let name = protocol.split('/').next().unwrap_or_default();
        !["h2", "h2c", "http", "tls"].iter().any(|refused| name.eq_ignore_ascii_case(refused))
    };
    let protocols: Vec<_> = upgrade.iter().flat_map(tokens).filter(passes).collect();
    HeaderValue::try_from(protocols.join(", ")).ok().filter(|value| !value.is_empty())
}

/// The protocol that a server switches to, if it is one of those it was offered.
pub(crate) fn accepted(offered: &HeaderValue, answer: &HeaderMap) -> Option<HeaderValue> {
    let chosen = answer.get(header::UPGRADE)?;
    let is_offered =
        |protocol: &str| tokens(offered).any(|offered| offered.eq_ignore_ascii_case(protocol.trim()));
    chosen.to_str().is_ok_and(is_offered).then(|| chosen.clone())
}

fn asks(headers: &HeaderMap) -> bool {
    let mut options = headers.get_all(header::CONNECTION).iter().flat_map(tokens);
    options.any(|option| option.eq_ignore_ascii_case("upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_protocols_that_carry_no_further_requests_are_offered() {
        let cases = [
            ("Upgrade", "websocket", Some("websocket")),
            ("keep-alive, upgrade", "WebSocket", Some("WebSocket")),
            ("upgrade", "h2c", None),
            ("upgrade, http2-settings", "H2C", None),
            ("upgrade", "h2c, websocket", Some("websocket")),
            ("upgrade", "HTTP/2.0, TLS/1.0", None),
            ("upgrade", "IRC/6.9, foo", Some("IRC/6.9, foo")),
            ("keep-alive", "websocket", None),
            ("upgrade", "", None),
        ];
        for (connection, upgrade, expected) in cases {
            let fields = [(header::CONNECTION, connection), (header::UPGRADE, upgrade)];
            let headers = fields.map(|(n, v)| (n, HeaderValue::from_static(v))).into_iter().collect();
            let seen = offered(Version::HTTP_11, &headers);
            assert_eq!(
                seen.as_ref().map(|v| v.to_str().expect("ASCII")),
                expected,
                "{connection}: {upgrade}"
            );
            assert_eq!(offered(Version::HTTP_10, &headers), None);
        }
    }

    #[test]
    fn a_server_switches_to_nothing_that_it_was_not_offered() {
        let offered = HeaderValue::from_static("websocket, foo");
        for (answer, fine) in [("websocket", true), ("WebSocket", true), ("h2c", false), ("", false)] {
            let headers = HeaderMap::from_iter([(header::UPGRADE, HeaderValue::from_static(answer))]);
            assert_eq!(accepted(&offered, &headers).is_some(), fine, "{answer}");
        }
        assert_eq!(accepted(&offered, &HeaderMap::new()), None);
    }
}
