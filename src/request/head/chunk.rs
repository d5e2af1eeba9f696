//! Chunked bodies, read along while they pass.
//!
//! Callers: `message`, between the head of a chunked request and the next one.

use memchr::memchr;

use super::{Framing, HeadFault, check_text, framing_field, split_field};

const EXTENSION_BYTES: usize = 256;
const SIZE_DIGITS: u8 = 16;
const TRAILER_BYTES: usize = 8 * 1024;
const TRAILER_FIELDS: usize = 32;

/// Follows one chunked body (RFC 9112 §7.1) to its end and lets nothing pass that has two readings: a size is
/// hexadecimal digits and nothing else, data ends in CR LF exactly, extensions and trailers are bounded.
#[derive(Clone, Debug, Default)]
pub struct ChunkReader {
    stage: Stage,
    trailer_bytes: usize,
    trailer_fields: usize,
    /// The trailer line that is not complete yet.
    trailer_line: Vec<u8>,
}

/// How much of what was fed belongs to the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chunked {
    /// Whether the body, trailers included, is over.
    pub end: bool,
    /// Bytes of the body, from the first on. All that was fed unless the end was reached.
    pub len: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Size { digits: u8, size: u64 },
    Extension { bytes: usize, size: u64 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataReturn,
    DataEnd,
    Trailers,
    Over,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Size { digits: 0, size: 0 }
    }
}

impl ChunkReader {
    /// Takes the next bytes of the connection. After the end or a fault it takes none.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Chunked, HeadFault> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match self.stage {
                Stage::Over => break,
                Stage::Data { left } => {
                    let here = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX).min(left);
                    at += usize::try_from(here).unwrap_or(usize::MAX);
                    self.stage =
                        if here == left { Stage::DataReturn } else { Stage::Data { left: left - here } };
                }
                Stage::Trailers => at += self.trailers(&bytes[at..])?,
                Stage::Size { .. }
                | Stage::Extension { .. }
                | Stage::SizeEnd { .. }
                | Stage::DataReturn
                | Stage::DataEnd => {
                    self.stage = self.stage.after(*byte).ok_or(HeadFault::Chunk)?;
                    at += 1;
                }
            }
        }
        Ok(Chunked { end: matches!(self.stage, Stage::Over), len: at })
    }

    /// Takes a trailer line, or the part of it that is there; returns how many bytes that were.
    fn trailers(&mut self, bytes: &[u8]) -> Result<usize, HeadFault> {
        let line_feed = memchr(b'\n', bytes);
        let taken = line_feed.map_or(bytes.len(), |at| at + 1);
        self.trailer_bytes = self.trailer_bytes.saturating_add(taken);
        if self.trailer_bytes > TRAILER_BYTES {
            return Err(HeadFault::TooLarge);
        }
        let part = &bytes[..line_feed.unwrap_or(taken)];
        check_text(part.strip_suffix(b"\r").unwrap_or(part))?;
        // The CR of the part before was no line end after all.
        if self.trailer_line.last() == Some(&b'\r') && !part.is_empty() {
            return Err(HeadFault::LineEnd);
        }
        self.trailer_line.extend_from_slice(part);
        if line_feed.is_none() {
            return Ok(taken);
        }
        let line = self.trailer_line.strip_suffix(b"\r").ok_or(HeadFault::LineEnd)?;
        if line.is_empty() {
            self.stage = Stage::Over;
            return Ok(taken);
        }
        self.trailer_fields += 1;
        if self.trailer_fields > TRAILER_FIELDS {
            return Err(HeadFault::TooManyFields);
        }
        match framing_field(split_field(line)?.0)? {
            Framing::Other => {}
            Framing::Connection
            | Framing::ContentLength
            | Framing::Expect
            | Framing::Host
            | Framing::TransferEncoding
            | Framing::Upgrade => return Err(HeadFault::Trailer),
        }
        self.trailer_line.clear();
        Ok(taken)
    }
}

impl Stage {
    /// One byte of what stands around the data; `None` where it doesn't belong.
    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Size { digits: 1.., size }, b'\r') => Some(Self::SizeEnd { size }),
            (Self::Size { digits: 1.., size }, b';') => Some(Self::Extension { bytes: 1, size }),
            (Self::Size { digits, size }, _) if digits < SIZE_DIGITS => {
                let digit = char::from(byte).to_digit(16)?;
                Some(Self::Size { digits: digits + 1, size: size << 4 | u64::from(digit) })
            }
            (Self::Extension { bytes: 2.., size }, b'\r') => Some(Self::SizeEnd { size }),
            (Self::Extension { bytes, size }, b'\t' | b' '..=b'~') if bytes < EXTENSION_BYTES => {
                Some(Self::Extension { bytes: bytes + 1, size })
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Some(Self::Trailers),
            (Self::SizeEnd { size }, b'\n') => Some(Self::Data { left: size }),
            (Self::DataReturn, b'\r') => Some(Self::DataEnd),
            (Self::DataEnd, b'\n') => Some(Self::default()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Chunked, HeadFault> {
        ChunkReader::default().feed(bytes)
    }

    #[test]
    fn a_sound_body_ends_where_it_ends() {
        for body in [
            "0\r\n\r\n",
            "00\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "00000000000000aB\r\n",
            "5;name=value\r\nhello\r\n0;last\r\n\r\n",
            "5;name=\"a b;\\\" c\"\r\nhello\r\n0\r\n\r\n",
            "1\r\n\n\r\n2\r\n\r\n\r\n0\r\n\r\n",
            "0\r\nX-Sum: 12\r\nx-other:\t\r\n\r\n",
        ] {
            let sent = format!("{body}GET /next");
            let read = read(sent.as_bytes()).expect(body);
            if body.ends_with("\r\n\r\n") {
                assert_eq!(read, Chunked { end: true, len: body.len() }, "{body:?}");
            } else {
                assert!(!read.end, "{body:?}");
            }
        }
    }

    #[test]
    fn a_chunk_with_two_readings_is_a_fault() {
        for (body, fault) in [
            ("\r\n", HeadFault::Chunk),
            ("+5\r\nhello\r\n", HeadFault::Chunk),
            ("-5\r\n", HeadFault::Chunk),
            ("0x5\r\nhello\r\n", HeadFault::Chunk),
            ("5 \r\nhello\r\n", HeadFault::Chunk),
            (" 5\r\nhello\r\n", HeadFault::Chunk),
            ("5\nhello\r\n", HeadFault::Chunk),
            ("5\rhello\r\n", HeadFault::Chunk),
            ("5_0\r\n", HeadFault::Chunk),
            ("g\r\n", HeadFault::Chunk),
            ("10000000000000000\r\n", HeadFault::Chunk),
            ("00000000000000005\r\n", HeadFault::Chunk),
            ("5;\r\nhello\r\n", HeadFault::Chunk),
            ("5;a\nb\r\nhello\r\n", HeadFault::Chunk),
            ("5;a\rb\r\nhello\r\n", HeadFault::Chunk),
            ("5;\u{0}\r\nhello\r\n", HeadFault::Chunk),
            ("5\r\nhello0\r\n\r\n", HeadFault::Chunk),
            ("5\r\nhelloXX0\r\n\r\n", HeadFault::Chunk),
            ("5\r\nhello\n0\r\n\r\n", HeadFault::Chunk),
            ("5\r\nhello\r\r\n0\r\n\r\n", HeadFault::Chunk),
            ("0\r\nContent-Length: 3\r\n\r\n", HeadFault::Trailer),
            ("0\r\ntransfer-encoding: chunked\r\n\r\n", HeadFault::Trailer),
            ("0\r\ncontent_length: 3\r\n\r\n", HeadFault::FieldNameDisguised),
            ("0\r\nHOST: a\r\n\r\n", HeadFault::Trailer),
            ("0\r\nConnection: close\r\n\r\n", HeadFault::Trailer),
            ("0\r\nno colon\r\n\r\n", HeadFault::FieldName),
            ("0\r\na : b\r\n\r\n", HeadFault::FieldName),
            ("0\r\na: b\r\n c\r\n\r\n", HeadFault::Fold),
            ("0\r\na: b\n\r\n", HeadFault::LineEnd),
            ("0\r\n\n", HeadFault::LineEnd),
            ("0\r\na: b\rc\r\n\r\n", HeadFault::LineEnd),
            ("0\r\n\r\r\n", HeadFault::LineEnd),
            ("0\r\na: \u{1}\r\n\r\n", HeadFault::Control),
        ] {
            assert_eq!(read(body.as_bytes()), Err(fault), "{body:?}");
            let mut dripping = ChunkReader::default();
            let dripped = body.bytes().try_for_each(|byte| dripping.feed(&[byte]).map(drop));
            assert_eq!(dripped, Err(fault), "{body:?} byte by byte");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        assert!(read(format!("1;{}\r\n", "e".repeat(255)).as_bytes()).is_ok());
        assert_eq!(read(format!("1;{}\r\n", "e".repeat(256)).as_bytes()), Err(HeadFault::Chunk));
        assert!(read(format!("0\r\na: {}\r\n\r\n", "v".repeat(8000)).as_bytes()).is_ok());
        let long = format!("0\r\na: {}", "v".repeat(9000));
        assert_eq!(read(long.as_bytes()), Err(HeadFault::TooLarge));
        assert!(read(format!("0\r\n{}\r\n", "a: b\r\n".repeat(32)).as_bytes()).is_ok());
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(33));
        assert_eq!(read(many.as_bytes()), Err(HeadFault::TooManyFields));
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_changes_nothing(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            junk in prop::collection::vec(any::<u8>(), 0..4),
            at in any::<prop::sample::Index>(),
            cut in 1_usize..9,
        ) {
            let mut body = Vec::new();
            for chunk in chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(&chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\nx: y\r\n\r\n");
            let len = body.len();
            prop_assert_eq!(read(&body), Ok(Chunked { end: true, len }));

            let at = at.index(len);
            body.splice(at..at, junk);
            let whole = read(&body);
            let mut reader = ChunkReader::default();
            let mut passed = 0;
            let mut parts = Ok(Chunked { end: false, len: 0 });
            for part in body.chunks(cut) {
                parts = reader.feed(part);
                let Ok(Chunked { end, len }) = parts else { break };
                passed += len;
                if end {
                    break;
                }
            }
            // Which of several faults is told may depend on the cut, whether there is one may not.
            let parts = parts.map(|parts| Chunked { len: passed, ..parts });
            prop_assert_eq!(parts.map_err(drop), whole.map_err(drop));
        }
    }
}
