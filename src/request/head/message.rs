//! One connection's messages in a row: head, body, the next head.
//!
//! Callers: the wire in `gateway`, for every byte that a client sends.

use super::{BodyFraming, ChunkReader, Head, HeadFault, HeadLimits, HeadReader, HeadState};

/// Says of the bytes of one connection how many may pass on. Nothing passes that was not judged, and the bytes after
/// a request to upgrade wait until its answer says whether they are HTTP.
#[derive(Clone, Debug)]
pub struct MessageReader {
    limits: HeadLimits,
    stage: Stage,
}

/// What may pass, counted from the first byte that hasn't passed yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Passage {
    /// Nothing yet; more bytes are needed.
    Wait,
    /// A head is complete and sound; its `len` bytes pass.
    Head(Head),
    /// Bytes of the body pass; with `end` the message is over.
    Body {
        /// At least one.
        bytes: usize,
        /// Whether they are the last.
        end: bool,
    },
    /// Everything passes: the connection is a tunnel.
    Tunnel {
        /// At least one.
        bytes: usize,
    },
    /// Nothing passes until `tunnel` or `resume` is called: an upgrade was asked for and isn't answered.
    Held,
    /// Nothing passes any more: the last request said that it was the last.
    Over,
}

#[derive(Clone, Debug)]
enum Stage {
    Head(HeadReader),
    Length { left: u64, then: Then },
    Chunked { reader: ChunkReader, then: Then },
    Held { close: bool },
    Tunnel,
    Over,
    Faulty(HeadFault),
}

/// What follows the body.
#[derive(Clone, Copy, Debug)]
enum Then {
    NextHead,
    Held { close: bool },
    Over,
}

impl Then {
    fn stage(self) -> Stage {
        match self {
            Self::NextHead => Stage::Head(HeadReader::default()),
            Self::Held { close } => Stage::Held { close },
            Self::Over => Stage::Over,
        }
    }
}

impl MessageReader {
    /// At the start of a connection.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, stage: Stage::Head(HeadReader::default()) }
    }

    /// What a head may measure.
    pub fn limits(&self) -> HeadLimits {
        self.limits
    }

    /// Whether the connection is between two messages and not a byte of the next has been seen.
    pub fn is_idle(&self) -> bool {
        matches!(&self.stage, Stage::Head(reader) if reader.is_untouched())
    }

    /// Whether the connection carries no requests any more, but whatever both sides agreed on.
    pub fn is_tunnel(&self) -> bool {
        matches!(self.stage, Stage::Tunnel)
    }

    /// Judges the bytes that haven't passed yet. The caller takes off what passes and asks again with the rest, until the
    /// answer is `Wait`, `Held` or `Over`; while it is `Wait` the same bytes come again with more behind them.
    /// A fault is for ever.
    pub fn judge(&mut self, bytes: &[u8]) -> Result<Passage, HeadFault> {
        if bytes.is_empty() {
            return match &self.stage {
                Stage::Faulty(fault) => Err(*fault),
                Stage::Held { .. } => Ok(Passage::Held),
                Stage::Over => Ok(Passage::Over),
                Stage::Head(_) | Stage::Length { .. } | Stage::Chunked { .. } | Stage::Tunnel => {
                    Ok(Passage::Wait)
                }
            };
        }
        let judged = self.advance(bytes);
        if let Err(fault) = judged {
            self.stage = Stage::Faulty(fault);
        }
        judged
    }

    /// The upgrade was refused: what was held is read as the next request.
    pub fn resume(&mut self) {
        if let Stage::Held { close } = self.stage {
            self.stage = if close { Stage::Over } else { Then::NextHead.stage() };
        }
    }

    /// The upgrade was answered with 101: what was held and all that follows passes unread.
    pub fn tunnel(&mut self) {
        if let Stage::Held { .. } = self.stage {
            self.stage = Stage::Tunnel;
        }
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<Passage, HeadFault> {
        match &mut self.stage {
            Stage::Head(reader) => match reader.read(bytes, &self.limits) {
                HeadState::Partial => Ok(Passage::Wait),
                HeadState::Fault(fault) => Err(fault),
                HeadState::Complete(head) => {
                    let then = match (head.upgrade, head.close) {
                        (true, close) => Then::Held { close },
                        (false, true) => Then::Over,
                        (false, false) => Then::NextHead,
                    };
                    self.stage = match head.body {
                        BodyFraming::None | BodyFraming::Length(0) => then.stage(),
                        BodyFraming::Length(left) => Stage::Length { left, then },
                        BodyFraming::Chunked => Stage::Chunked { reader: ChunkReader::default(), then },
                    };
                    Ok(Passage::Head(head))
                }
            },
            Stage::Length { left, then } => {
                let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(*left);
                *left -= here;
                let end = *left == 0;
                if end {
                    self.stage = then.stage();
                }
                // `here` is at most `bytes.len()`, so it fits.
                Ok(Passage::Body { bytes: usize::try_from(here).unwrap_or(bytes.len()), end })
            }
            Stage::Chunked { reader, then } => {
                let read = reader.feed(bytes)?;
                if read.end {
                    self.stage = then.stage();
                }
                Ok(Passage::Body { bytes: read.len, end: read.end })
            }
            Stage::Held { .. } => Ok(Passage::Held),
            Stage::Tunnel => Ok(Passage::Tunnel { bytes: bytes.len() }),
            Stage::Over => Ok(Passage::Over),
            Stage::Faulty(fault) => Err(*fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, headers: 20, target_bytes: 1024 };

    /// Everything that passes in pieces of `size`, and how it stopped.
    fn pass(bytes: &[u8], size: usize) -> (Vec<u8>, usize, Result<Passage, HeadFault>) {
        let mut reader = MessageReader::new(LIMITS);
        let (mut passed, mut heads, mut start) = (Vec::new(), 0, 0);
        let mut last = Ok(Passage::Wait);
        for end in (1..=bytes.len()).filter(|end| end % size == 0 || *end == bytes.len()) {
            loop {
                last = reader.judge(&bytes[start..end]);
                let count = match last {
                    Ok(Passage::Head(head)) => {
                        heads += 1;
                        head.len
                    }
                    Ok(Passage::Body { bytes, .. } | Passage::Tunnel { bytes }) => bytes,
                    Ok(Passage::Wait | Passage::Held | Passage::Over) | Err(_) => break,
                };
                assert!(count > 0);
                passed.extend_from_slice(&bytes[start..start + count]);
                start += count;
            }
        }
        (passed, heads, last)
    }

    #[test]
    fn messages_in_a_row_pass_however_they_are_cut() {
        let sent = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n\
            POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello\r\n\
            POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
            GET /d HTTP/1.1\r\nHost: h\r\n\r\n";
        for size in 1..sent.len() {
            assert_eq!(pass(sent, size), (sent.to_vec(), 4, Ok(Passage::Wait)), "in pieces of {size}");
        }
    }

    #[test]
    fn a_fault_stops_all_that_follows_and_nothing_before() {
        let sound = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
        let sent = format!("{sound}GET /b HTTP/1.1\r\n\r\n{sound}");
        for size in 1..sent.len() {
            let expected = (sound.as_bytes().to_vec(), 1, Err(HeadFault::HostMissing));
            assert_eq!(pass(sent.as_bytes(), size), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn after_a_request_to_upgrade_bytes_wait_for_the_answer() {
        let upgrade = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut reader = MessageReader::new(LIMITS);
        assert!(matches!(reader.judge(upgrade), Ok(Passage::Head(Head { upgrade: true, .. }))));
        assert_eq!(reader.judge(b"\x81\x00"), Ok(Passage::Held));

        let mut tunnel = reader.clone();
        tunnel.tunnel();
        assert_eq!(tunnel.judge(b"\x81\x00"), Ok(Passage::Tunnel { bytes: 2 }));

        reader.resume();
        assert!(reader.is_idle());
        assert_eq!(reader.judge(b"\x81\x00"), Err(HeadFault::Control));
        assert_eq!(reader.judge(b""), Err(HeadFault::Control), "a fault is for ever");
    }

    #[test]
    fn nothing_follows_a_request_that_closes() {
        let first = "GET / HTTP/1.0\r\nHost: h\r\n\r\n";
        let sent = format!("{first}{first}");
        assert_eq!(pass(sent.as_bytes(), 7), (first.as_bytes().to_vec(), 1, Ok(Passage::Over)));
    }

    proptest! {
        #[test]
        fn damage_is_found_however_the_bytes_are_cut(
            junk in prop::sample::select(vec!["", "\r", "\n", "\r\n", "\r\n\r\n", " ", "\t", "0", "f", ":", "\0", ";", "x: y\r\n"]),
            at in any::<prop::sample::Index>(),
            gone in 0_usize..4,
            size in 1_usize..40,
        ) {
            let mut sent = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello\
                POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nt: u\r\n\r\n\
                GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: u\r\n\r\n\x01".to_vec();
            let at = at.index(sent.len());
            sent.splice(at..(at + gone).min(sent.len()), junk.bytes());
            let (whole, heads, end) = pass(&sent, sent.len());
            let (parts, parts_heads, parts_end) = pass(&sent, size);
            prop_assert_eq!(heads, parts_heads);
            prop_assert_eq!(end.is_err(), parts_end.is_err());
            // Up to a fault in a body, more passes where it comes in parts.
            prop_assert!(parts.starts_with(&whole) && (end.is_err() || parts == whole));
        }
    }
}
