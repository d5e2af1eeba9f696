//! The wire over scripted and connected sockets: what passes, what waits, and when a wait is over.

use std::collections::VecDeque;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::linger::LINGER;
use super::*;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, headers: 20, target_bytes: 1024 };
const TIMEOUTS: WireTimeouts = WireTimeouts { head: Duration::from_secs(10), idle: Duration::from_secs(75) };
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";

/// A client that sends these pieces, one for each read, and then no more.
struct Script(VecDeque<Vec<u8>>);

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(piece) = self.0.front_mut() {
            let now = piece.len().min(buf.remaining());
            buf.put_slice(&piece[..now]);
            piece.drain(..now);
            if piece.is_empty() {
                self.0.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn scripted(pieces: impl Iterator<Item = Vec<u8>>) -> (Wire<Script>, Arc<WireControl>) {
    let control = Arc::new(WireControl::new(None));
    (Wire::new(Script(pieces.collect()), LIMITS, TIMEOUTS, Arc::clone(&control)), control)
}

/// Everything that passes when it is read in pieces of `room`; an error ends it.
async fn passed(wire: &mut Wire<Script>, room: usize) -> (Vec<u8>, Option<io::Error>) {
    let (mut all, mut buffer) = (Vec::new(), vec![0; room]);
    loop {
        match wire.read(&mut buffer).await {
            Ok(0) => return (all, None),
            Ok(read) => all.extend_from_slice(&buffer[..read]),
            Err(error) => return (all, Some(error)),
        }
    }
}

fn cut(bytes: &[u8], mut sizes: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(sizes.next().unwrap_or(usize::MAX).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(test)
}

/// A connection, and the client's end of it.
fn connected() -> (Wire<DuplexStream>, DuplexStream, Arc<WireControl>) {
    let (client, server) = duplex(64 * 1024);
    let control = Arc::new(WireControl::new(None));
    (Wire::new(server, LIMITS, TIMEOUTS, Arc::clone(&control)), client, control)
}

async fn read(wire: &mut Wire<DuplexStream>) -> Vec<u8> {
    let mut buffer = vec![0; 8192];
    let read = wire.read(&mut buffer).await.expect("no error");
    buffer.truncate(read);
    buffer
}

/// Whether a read waits for something else than the clock.
async fn waits(wire: &mut Wire<DuplexStream>) -> bool {
    let mut buffer = [0; 8192];
    let mut buffer = ReadBuf::new(&mut buffer);
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *wire).poll_read(cx, &mut buffer).is_pending())).await
}

proptest! {
    #[test]
    fn sound_messages_pass_whole_however_they_are_cut(
        order in prop::collection::vec(0_usize..5, 1..6),
        sizes in prop::collection::vec(1_usize..60, 1..30),
        room in 64_usize..300,
    ) {
        let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(900), "y".repeat(2000));
        let messages: [&[u8]; 5] = [
            GET,
            b"\r\nPOST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\nhello\r\n\r\n\0G",
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\na\r\n\r\n10\r\n0123456789abcdef\r\n0\r\nx: y\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
            long.as_bytes(),
        ];
        let sent: Vec<u8> = order.iter().flat_map(|at| messages[*at].to_vec()).collect();
        let (mut wire, control) = scripted(cut(&sent, sizes.iter().copied().cycle()).into_iter());
        let (all, error) = run(passed(&mut wire, room));
        prop_assert!(error.is_none());
        prop_assert_eq!(String::from_utf8_lossy(&all), String::from_utf8_lossy(&sent));
        prop_assert_eq!(control.fault(), None);
        prop_assert_eq!(control.unanswered.load(Ordering::Relaxed), order.len());
    }

    #[test]
    fn a_fault_passes_what_was_sound_before_it_and_the_marker_once(
        before in 0_usize..3,
        bad in prop::sample::select(vec![
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nhost: a\n\n",
            "GET /\r\n\r\n",
            "\u{1}",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        ]),
        sizes in prop::collection::vec(1_usize..60, 1..30),
        room in 64_usize..300,
    ) {
        let sound = GET.repeat(before);
        let sent = [&sound, bad.as_bytes(), GET, GET].concat();
        let (mut wire, control) = scripted(cut(&sent, sizes.iter().copied().cycle()).into_iter());
        let all = run(async {
            // After the marker nothing ever comes, not even an end: hyper answers it and closes.
            let mut all = Vec::new();
            let mut buffer = vec![0; room];
            while let Ok(Ok(read)) = tokio::time::timeout(Duration::from_secs(300), wire.read(&mut buffer)).await {
                if read == 0 {
                    break;
                }
                all.extend_from_slice(&buffer[..read]);
            }
            all
        });
        let expected = [&sound, FAULT_HEAD].concat();
        prop_assert_eq!(String::from_utf8_lossy(&all), String::from_utf8_lossy(&expected));
        prop_assert!(matches!(control.fault(), Some(WireFault::Head(_))));
    }
}

#[test]
fn a_fault_within_a_body_is_an_error_and_no_marker() {
    let sent =
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n+1\r\nx\r\n0\r\n\r\n";
    for size in 1..sent.len() {
        let (mut wire, control) = scripted(cut(sent, std::iter::repeat(size)).into_iter());
        let (all, error) = run(passed(&mut wire, 512));
        assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::InvalidData), "in pieces of {size}");
        assert!(sent.starts_with(&all) && !all.contains(&b'+'), "{}", String::from_utf8_lossy(&all));
        assert_eq!(control.fault(), None);
    }
}

#[test]
fn after_an_upgrade_bytes_wait_for_its_answer() {
    for (status, next, expected) in [
        (StatusCode::SWITCHING_PROTOCOLS, &b"\x81\0any"[..], &b"\x81\0any"[..]),
        (StatusCode::OK, GET, GET),
        (StatusCode::OK, b"\x81\0any", FAULT_HEAD),
    ] {
        run(async {
            let (mut wire, mut client, control) = connected();
            client.write_all(&[UPGRADE, next].concat()).await.expect("it is taken");
            assert_eq!(read(&mut wire).await, UPGRADE);
            let in_flight = control.begin();
            assert!(waits(&mut wire).await);
            control.answered(status);
            drop(in_flight);
            assert_eq!(read(&mut wire).await, expected);
        });
    }
}

#[test]
fn the_answer_to_an_earlier_request_decides_nothing_about_an_upgrade() {
    run(async {
        let (mut wire, mut client, control) = connected();
        client.write_all(&[GET, GET, UPGRADE, b"\x81\0"].concat()).await.expect("it is taken");
        assert_eq!(read(&mut wire).await, [GET, GET, UPGRADE].concat());
        for _ in 0..2 {
            let in_flight = control.begin();
            control.answered(StatusCode::OK);
            drop(in_flight);
            assert!(waits(&mut wire).await);
        }
        let _in_flight = control.begin();
        control.answered(StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(read(&mut wire).await, b"\x81\0");
    });
}

#[test]
fn the_answer_to_an_upgrade_wakes_who_waits_to_read() {
    run(async {
        let (mut wire, mut client, control) = connected();
        client.write_all(&[UPGRADE, b"x"].concat()).await.expect("it is taken");
        assert_eq!(read(&mut wire).await, UPGRADE);
        let reading = async { read(&mut wire).await };
        let answering = async {
            tokio::task::yield_now().await;
            control.answered(StatusCode::SWITCHING_PROTOCOLS);
        };
        assert_eq!(tokio::join!(reading, answering).0, b"x");
    });
}

#[test]
fn a_client_that_leaves_before_its_upgrade_is_answered_is_noticed() {
    for early in [&b""[..], b"\x81\0", GET] {
        run(async {
            let (mut wire, mut client, control) = connected();
            client.write_all(&[UPGRADE, early].concat()).await.expect("it is taken");
            assert_eq!(read(&mut wire).await, UPGRADE);
            let _in_flight = control.begin();
            assert!(waits(&mut wire).await);
            drop(client);
            let end = tokio::time::timeout(TIMEOUTS.idle, read(&mut wire)).await;
            assert_eq!(end.expect("it is noticed at once"), b"", "the end, and nothing of what was held");
        });
    }
}

#[test]
fn what_comes_before_an_upgrade_is_answered_is_held_within_bounds_and_arrives_whole() {
    run(async {
        let (mut wire, mut client, control) = connected();
        client.write_all(UPGRADE).await.expect("it is taken");
        assert_eq!(read(&mut wire).await, UPGRADE);
        let sent: Vec<u8> = (0..200_000_u32).map(|at| (at / 7) as u8).collect();
        let _in_flight = control.begin();
        let writing = async { client.write_all(&sent).await.expect("it is taken") };
        let reading = async {
            // The client would write as much as it could.
            for _ in 0..100 {
                assert!(waits(&mut wire).await);
                tokio::task::yield_now().await;
            }
            assert!(wire.held.len() >= HELD_BYTES, "{} bytes are held", wire.held.len());
            assert!(wire.held.len() <= HELD_BYTES + CHUNK, "{} bytes are held", wire.held.len());
            control.answered(StatusCode::SWITCHING_PROTOCOLS);
            let mut seen = Vec::new();
            while seen.len() < sent.len() {
                seen.extend(read(&mut wire).await);
            }
            seen
        };
        assert!(tokio::join!(writing, reading).1 == sent);
    });
}

#[test]
fn after_the_last_request_nothing_passes_but_the_end() {
    run(async {
        let (mut wire, mut client, _control) = connected();
        let last = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client.write_all(&[last, GET].concat()).await.expect("it is taken");
        assert_eq!(read(&mut wire).await, last);
        assert!(waits(&mut wire).await);
        drop(client);
        assert_eq!(read(&mut wire).await, b"");
    });
}

/// How long a read takes by the paused clock.
async fn timed(wire: &mut Wire<DuplexStream>) -> (Vec<u8>, Duration) {
    let started = Instant::now();
    let bytes = read(wire).await;
    (bytes, started.elapsed())
}

/// Within a tenth of a second of it.
fn is_about(took: Duration, expected: Duration) -> bool {
    took >= expected && took < expected + Duration::from_millis(100)
}

#[test]
fn a_head_has_its_time_from_its_first_byte_however_it_drips() {
    run(async {
        let (mut wire, mut client, control) = connected();
        // Nothing at all: the connection ends without a word.
        let (bytes, took) = timed(&mut wire).await;
        assert!(bytes.is_empty() && is_about(took, TIMEOUTS.head), "{took:?}");

        let (mut other, mut dripping, other_control) = connected();
        let drip = async {
            for byte in GET.iter().take(GET.len() - 1) {
                dripping.write_all(&[*byte]).await.expect("it is taken");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let (_, (bytes, took)) = tokio::join!(drip, timed(&mut other));
        assert_eq!(bytes, FAULT_HEAD);
        assert!(is_about(took, TIMEOUTS.head), "{took:?}");
        assert_eq!(other_control.fault(), Some(WireFault::TimedOut));
        assert_eq!(control.fault(), None);
        client.shutdown().await.expect("it can be ended");
    });
}

#[test]
fn the_idle_limit_counts_from_the_end_of_the_answer_and_not_while_it_is_made() {
    run(async {
        let (mut wire, mut client, control) = connected();
        client.write_all(GET).await.expect("it is taken");
        assert_eq!(read(&mut wire).await, GET);
        let in_flight = control.begin();
        // As hyper does while it waits for the service: it asks once, and not again until it is woken.
        let answering = async {
            tokio::time::sleep(Duration::from_secs(200)).await;
            drop(in_flight);
        };
        let ((), (bytes, took)) = tokio::join!(answering, timed(&mut wire));
        assert!(bytes.is_empty() && control.fault().is_none());
        assert!(is_about(took, Duration::from_secs(200) + TIMEOUTS.idle), "{took:?}");
    });
}

#[test]
fn each_wait_has_its_own_time() {
    run(async {
        let (mut wire, mut client, control) = connected();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            client.write_all(&GET[..10]).await.expect("it is taken");
            assert!(waits(&mut wire).await);
            tokio::time::sleep(Duration::from_secs(9)).await;
            client.write_all(&GET[10..]).await.expect("it is taken");
            assert_eq!(read(&mut wire).await, GET);
            drop(control.begin());
            assert!(waits(&mut wire).await);
        }
        let (bytes, took) = timed(&mut wire).await;
        assert!(bytes.is_empty() && is_about(took, TIMEOUTS.idle), "{took:?}");
    });
}

#[test]
fn a_tunnel_may_be_quiet_for_as_long_as_it_likes() {
    run(async {
        let (mut wire, mut client, control) = connected();
        client.write_all(UPGRADE).await.expect("it is taken");
        assert_eq!(read(&mut wire).await, UPGRADE);
        let in_flight = control.begin();
        control.answered(StatusCode::SWITCHING_PROTOCOLS);
        drop(in_flight);
        let late = async {
            tokio::time::sleep(100 * TIMEOUTS.idle).await;
            client.write_all(b"x").await.expect("it is taken");
        };
        assert_eq!(tokio::join!(late, read(&mut wire)).1, b"x");
    });
}

#[test]
fn a_client_that_takes_nothing_of_an_answer_is_left() {
    run(async {
        let (mut wire, _client, _control) = connected();
        let started = Instant::now();
        let error = wire.write_all(&[b'x'; 128 * 1024]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(is_about(started.elapsed(), TIMEOUTS.idle), "{:?}", started.elapsed());
    });
}

#[test]
fn the_end_waits_a_while_for_the_rest_of_a_body_and_never_for_long() {
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n";
    run(async {
        // Quiet, but there.
        let (mut wire, mut client, _control) = connected();
        client.write_all(head).await.expect("it is taken");
        assert_eq!(read(&mut wire).await, head);
        let started = Instant::now();
        wire.shutdown().await.expect("it ends");
        assert!(is_about(started.elapsed(), LINGER), "{:?}", started.elapsed());

        // Sending on and on.
        let (mut wire, mut client, _control) = connected();
        client.write_all(head).await.expect("it is taken");
        assert_eq!(read(&mut wire).await, head);
        let sending = async {
            let mut sent = 0;
            while client.write_all(&[b'x'; 1024]).await.is_ok() {
                sent += 1024;
            }
            sent
        };
        let ending = async {
            let mut wire = wire;
            wire.shutdown().await.expect("it ends");
        };
        let (sent, ()) = tokio::join!(sending, ending);
        assert!((LINGER_BYTES..LINGER_BYTES + 128 * 1024).contains(&sent), "{sent}");

        // A message that is whole needs no waiting.
        let (mut wire, mut client, _control) = connected();
        client.write_all(GET).await.expect("it is taken");
        assert_eq!(read(&mut wire).await, GET);
        let started = Instant::now();
        wire.shutdown().await.expect("it ends");
        assert_eq!(started.elapsed(), Duration::ZERO);
    });
}

/// One step of an answer: what is written is taken, or not.
async fn step(wire: &mut Wire<DuplexStream>, taken: bool) -> Poll<()> {
    let step = poll_fn(|cx| {
        Poll::Ready(match taken {
            true => Pin::new(&mut *wire).poll_flush(cx),
            false => Pin::new(&mut *wire).poll_write(cx, b"x").map_ok(|_| ()),
        })
    });
    step.await.map(|step| step.expect("no error"))
}

#[tokio::test(start_paused = true)]
async fn what_comes_during_an_answer_is_read_whether_or_not_the_answer_is_taken() {
    for taken in [true, false] {
        let (mut client, server) = duplex(64);
        let control = Arc::new(WireControl::new(None));
        let mut wire = Wire::new(server, LIMITS, TIMEOUTS, Arc::clone(&control));
        client.write_all(GET).await.expect("it is taken");
        assert_eq!(read(&mut wire).await, GET);
        let _answering = control.begin();
        if !taken {
            wire.write_all(&[b'x'; 64]).await.expect("so much fits");
        }
        let expected = if taken { Poll::Ready(()) } else { Poll::Pending };
        for next in [&b""[..], GET] {
            client.write_all(next).await.expect("there is room");
            assert_eq!(step(&mut wire, taken).await, expected, "taken={taken}");
        }
        let more = tokio::time::timeout(Duration::from_secs(1), client.write_all(&[b'G'; 60]));
        more.await.expect("the next request was read, so there is room").expect("it is taken");
        assert_eq!(read(&mut wire).await, GET, "taken={taken}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_during_an_answer_is_seen_at_its_next_step() {
    let (mut wire, mut client, control) = connected();
    client.write_all(GET).await.expect("it is taken");
    assert_eq!(read(&mut wire).await, GET);
    let answering = control.begin();
    wire.flush().await.expect("it is there");
    drop(client);
    let left = wire.flush().await.expect_err("nobody waits for the answer");
    assert_eq!(left.kind(), io::ErrorKind::ConnectionAborted);
    drop(answering);
    wire.flush().await.expect("nothing is under way: the next read tells");
}

/// As TLS over a client that takes nothing: its close can't be sent.
struct Deaf;

impl AsyncRead for Deaf {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_even_take_the_close_is_left() {
    let control = Arc::new(WireControl::new(None));
    let mut wire = Wire::new(Deaf, LIMITS, TIMEOUTS, control);
    let ended = tokio::time::timeout(TIMEOUTS.idle * 2, wire.shutdown()).await.expect("in time");
    assert_eq!(ended.expect_err("it was not sent").kind(), io::ErrorKind::TimedOut);
}
