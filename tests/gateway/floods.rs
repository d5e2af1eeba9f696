//! Clients that attack over HTTP/2: their connections end, memory stays bounded, and others are served meanwhile.

use std::time::{Duration, Instant};

use crate::edge::memory;
use crate::frames::{
    ACK, CALM, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, NO_TABLE, PING, PREFACE,
    PRIORITY, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, block, frame, integer,
};
use crate::harness::{Gateway, Upstream};

/// What the process may grow by while it is attacked, in kilobytes.
const GROWTH: usize = 16 * 1024;

fn gateway() -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, ", access: public");
    // What is made at the first request is no growth.
    for _ in 0..10 {
        assert_eq!(gateway.get("/", &[]).status, 200);
    }
    (gateway, upstream)
}

fn head() -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "app.test")])
}

/// Sends pieces until the connection ends, at most so many, while others are served. Gives the code of the GOAWAY.
#[track_caller]
fn flood(gateway: &Gateway, most: usize, piece: impl Fn(u32) -> Vec<u8> + Send + 'static) -> Option<u32> {
    let before = memory(gateway, "VmRSS");
    let mut raw = Raw::to(gateway.address);
    // The acknowledgements would get between frames that belong together.
    raw.acknowledges = false;
    let mut writing = raw.try_clone();
    let attack = std::thread::spawn(move || {
        let mut sent = 0;
        while sent < most {
            let number = u32::try_from(sent).expect("it fits");
            let pieces: Vec<u8> = (0..50).flat_map(|more| piece(number + more)).collect();
            if !writing.write(&pieces) {
                break;
            }
            sent += 50;
        }
        writing.shutdown();
        sent
    });
    let reading = std::thread::spawn(move || raw.goaway());
    let mut slowest = Duration::ZERO;
    while !attack.is_finished() {
        let began = Instant::now();
        assert_eq!(gateway.get("/", &[]).status, 200);
        slowest = slowest.max(began.elapsed());
    }
    let sent = attack.join().expect("it ends");
    let code = reading.join().expect("it ends");
    assert!(slowest < Duration::from_secs(3), "another client waited for {slowest:?}");
    let after = memory(gateway, "VmHWM");
    assert!(after < before + GROWTH, "{before} kB before, {after} kB at most");
    assert_eq!(gateway.get("/", &[]).status, 200);
    if code.is_some() {
        assert!(sent < most, "all of it was taken");
    }
    code
}

#[test]
fn requests_that_are_reset_at_once() {
    let (gateway, upstream) = gateway();
    let code = flood(&gateway, 100_000, |number| {
        let stream = number * 2 + 1;
        let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head()), reset].concat()
    });
    assert_eq!(code, Some(CALM));
    assert!(upstream.count() < 3000, "{}", upstream.count());
}

#[test]
fn requests_that_are_reset_a_little_later() {
    let (gateway, _upstream) = gateway();
    let mut raw = Raw::to(gateway.address);
    let mut reading = raw.try_clone();
    let reading = std::thread::spawn(move || reading.goaway());
    let mut sent = 0;
    for number in 0..100_000_u32 {
        let stream = number * 2 + 1;
        let mut taken = raw.write(&frame(HEADERS, END_HEADERS, stream, &head()));
        // Late enough to be looked at, so that each costs us something.
        std::thread::sleep(Duration::from_micros(200));
        taken &= raw.write(&frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
        if !taken {
            break;
        }
        sent = number;
    }
    assert_eq!(reading.join().expect("it ends"), Some(CALM));
    assert!(sent < 20_000, "{sent}");
}

#[test]
fn frames_that_make_the_server_reset() {
    let (gateway, upstream) = gateway();
    for (name, fault) in [
        ("an increment of zero", frame(WINDOW_UPDATE, 0, 0, &0_u32.to_be_bytes())),
        ("a window that overflows", frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())),
        ("data after the end", frame(DATA, 0, 0, b"x")),
        ("a stream that depends on itself", frame(PRIORITY, 0, 0, &[0; 5])),
    ] {
        let code = flood(&gateway, 100_000, move |number| {
            let stream = number * 2 + 1;
            let mut fault = fault.clone();
            fault[5..9].copy_from_slice(&stream.to_be_bytes());
            if fault[3] == PRIORITY {
                fault[9..13].copy_from_slice(&stream.to_be_bytes());
            }
            [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head()), fault].concat()
        });
        assert!(code.is_some(), "{name}");
    }
    assert!(upstream.count() < 10_000, "{}", upstream.count());
}

#[test]
fn bodies_that_are_not_as_long_as_they_say() {
    let (gateway, _upstream) = gateway();
    let code = flood(&gateway, 100_000, |number| {
        let stream = number * 2 + 1;
        let usual = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "app.test"),
            ("content-length", "9"),
        ];
        [frame(HEADERS, END_HEADERS, stream, &block(&usual)), frame(DATA, END_STREAM, stream, b"x")].concat()
    });
    assert_eq!(code, Some(CALM));
}

#[test]
fn a_head_that_goes_on_and_on() {
    let (gateway, upstream) = gateway();
    let before = upstream.count();
    let code = flood(&gateway, 100_000, |number| match number {
        0 => frame(HEADERS, END_STREAM, 1, &head()),
        _ => frame(CONTINUATION, 0, 1, b""),
    });
    assert_eq!(code, Some(CALM));
    let code = flood(&gateway, 100_000, |number| match number {
        0 => frame(HEADERS, END_STREAM, 1, &head()),
        _ => frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(1000))])),
    });
    assert!(code.is_some());
    assert!(upstream.count() > before, "others were served");
}

#[test]
fn fields_that_are_small_to_send_and_large_to_hold() {
    let (gateway, _upstream) = gateway();
    let code = flood(&gateway, 20_000, |number| {
        let stream = number * 2 + 1;
        let mut block = head();
        if number == 0 {
            // Into the table, and from then on four thousand bytes for one.
            block.push(0x40);
            integer(&mut block, 0, 7, 1);
            block.push(b'x');
            integer(&mut block, 0, 7, 3900);
            block.extend_from_slice(&[b'y'; 3900]);
        }
        block.extend_from_slice(&[0xbe; 10_000]);
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
    });
    assert!(code.is_some());
}

#[test]
fn frames_that_carry_nothing() {
    let (gateway, _upstream) = gateway();
    let floods: [(&str, Vec<u8>); 7] = [
        ("pings", frame(PING, 0, 0, b"12345678")),
        ("answers to no ping", frame(PING, ACK, 0, b"12345678")),
        ("settings", frame(SETTINGS, 0, 0, NO_TABLE)),
        ("priorities", frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 1])),
        ("windows", frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())),
        ("empty data", frame(DATA, 0, 1, b"")),
        ("unknown frames", frame(0xf0, 0, 0, b"")),
    ];
    for (name, bytes) in floods {
        let code = flood(&gateway, 1_000_000, move |number| match number {
            0 => {
                let usual =
                    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "app.test")];
                frame(HEADERS, END_HEADERS, 1, &block(&usual))
            }
            _ => bytes.clone(),
        });
        assert_eq!(code, Some(CALM), "{name}");
    }
}

#[test]
fn a_body_of_single_bytes_costs_the_others_nothing() {
    // It is no fault: it goes on as fast as it is taken, and no faster.
    let (gateway, _upstream) = gateway();
    flood(&gateway, 300_000, |number| match number {
        0 => {
            let usual =
                [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "app.test")];
            frame(HEADERS, END_HEADERS, 1, &block(&usual))
        }
        _ => frame(DATA, 0, 1, b"x"),
    });
}

#[test]
fn thousands_of_streams_at_once() {
    let (gateway, _upstream) = gateway();
    let code = flood(&gateway, 50_000, |number| frame(HEADERS, END_HEADERS, number * 2 + 1, &head()));
    assert_eq!(code, Some(CALM));
}

#[test]
fn answers_that_nobody_takes() {
    let body = "x".repeat(1 << 20);
    let upstream = Upstream::answering(move |_| {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let gateway = Gateway::in_front_of(upstream.address, ", access: public");
    assert_eq!(gateway.get("/", &[]).status, 200);
    let before = memory(&gateway, "VmRSS");
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::silent(gateway.address);
        raw.write(PREFACE);
        raw.write(&frame(SETTINGS, 0, 0, &[NO_TABLE, &[0, 4, 0, 0, 0, 0]].concat()));
        for number in 0..100_u32 {
            raw.get(number * 2 + 1, "/");
        }
        held.push(raw);
    }
    crate::harness::wait_until(|| upstream.count() > 400, || format!("{} requests", upstream.count()));
    std::thread::sleep(Duration::from_millis(500));
    let after = memory(&gateway, "VmHWM");
    // 400 answers of a mebibyte each are asked for.
    assert!(after < before + 128 * 1024, "{before} kB before, {after} kB at most");
    let began = Instant::now();
    assert_eq!(gateway.get("/", &[]).status, 200);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
