//! A connection reads the same in one piece and byte by byte, and a sound head has no loose line end.
#![no_main]

use foregate::request::head::{HeadFault, HeadLimits, HeadState, MessageReader, Passage, read_head};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, headers: 20, target_bytes: 1024 };

/// How many bytes pass, and how it ends.
fn pass(bytes: &[u8], step: usize) -> (usize, Result<(), HeadFault>) {
    let mut reader = MessageReader::new(LIMITS);
    let (mut start, mut end) = (0, 0);
    while end < bytes.len() {
        end = (end + step).min(bytes.len());
        loop {
            start += match reader.judge(&bytes[start..end]) {
                Ok(Passage::Head(head)) => head.len,
                Ok(Passage::Body { bytes, .. } | Passage::Tunnel { bytes }) => bytes,
                Ok(Passage::Wait | Passage::Held | Passage::Over) => break,
                Err(fault) => return (start, Err(fault)),
            };
            assert!(start <= end);
        }
    }
    (start, Ok(()))
}

fuzz_target!(|bytes: &[u8]| {
    let (whole, whole_end) = pass(bytes, bytes.len().max(1));
    let (dripped, dripped_end) = pass(bytes, 1);
    // Of a chunked body more may pass before its fault shows; whether there is one is the same.
    assert_eq!(whole_end.is_err(), dripped_end.is_err());
    assert!(whole_end.is_err() || whole == dripped);

    if let HeadState::Complete(head) = read_head(bytes, &LIMITS) {
        let head = &bytes[..head.len];
        assert!(head.ends_with(b"\r\n\r\n"));
        let returns = head.iter().filter(|byte| **byte == b'\r').count();
        assert_eq!(head.windows(2).filter(|pair| pair == b"\r\n").count(), returns);
        assert_eq!(head.iter().filter(|byte| **byte == b'\n').count(), returns);
    }
});
