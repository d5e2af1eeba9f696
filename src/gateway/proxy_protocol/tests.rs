//! What counts as a PROXY header, byte for byte.

use super::*;

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn source(address: &str) -> Option<IpAddr> {
    Some(address.parse().expect("an address"))
}

/// A header of version 2 with this command, this family, and what follows.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [V2, &[command, family], &length, rest].concat()
}

fn inet(fields: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&[192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80], fields].concat())
}

fn inet6() -> Vec<u8> {
    let mut rest = [0; 36];
    rest[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    rest[15] = 9;
    v2(0x21, 0x21, &rest)
}

/// With its checksum as the last field.
fn checked() -> Vec<u8> {
    let mut header = inet(&[3, 0, 4, 0, 0, 0, 0]);
    let crc = crc32c(header.iter().copied()).to_be_bytes();
    let end = header.len();
    header[end - 4..].copy_from_slice(&crc);
    header
}

#[test]
fn a_sound_header_gives_its_source_and_its_length_however_it_is_cut() {
    let cases: Vec<(Vec<u8>, Option<IpAddr>)> = vec![
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n".to_vec(), source("192.0.2.7")),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(), source("255.255.255.255")),
        (b"PROXY TCP6 2001:db8::9 ::1 1 0\r\n".to_vec(), source("2001:db8::9")),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_vec(), source("192.0.2.7")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(), None),
        (inet(&[]), source("192.0.2.7")),
        (inet(&[4, 0, 2, 0, 0, 2, 0, 1, b'a']), source("192.0.2.7")),
        (checked(), source("192.0.2.7")),
        (inet6(), source("2001:db8::9")),
        (v2(0x20, 0, &[]), None),
        (v2(0x20, 0xff, &[9; 30]), None),
        (v2(0x21, 0, &[]), None),
        (v2(0x21, 0x31, &[b'/'; 216]), None),
    ];
    for (header, source) in cases {
        let expected = Ok(Some(Header { length: header.len(), source }));
        assert_eq!(parse(&header), expected, "{header:?}");
        assert_eq!(parse(&[&header[..], b"GET / HTTP/1.1\r\n"].concat()), expected, "{header:?}");
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Ok(None), "{cut} of {header:?}");
        }
    }
}

#[test]
fn what_is_no_sound_header_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    let wrong_sum = {
        let mut header = checked();
        header[17] ^= 1;
        header
    };
    let cases: Vec<Vec<u8>> = vec![
        b"G".to_vec(),
        b"GET / HTTP/1.1\r\n".to_vec(),
        b"\x16\x03\x01".to_vec(),
        b"PROXX".to_vec(),
        b"\r\nGET / HTTP/1.1".to_vec(),
        b"PROXYxTCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
        b"PROXY tcp4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
        b"PROXY UNKNOWNX\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n".to_vec(),
        b"PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 2\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::9 ::1 1 2\r\n".to_vec(),
        b"PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
        b"PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
        long.into_bytes(),
        vec![b'P'; LONGEST_V1],
        [b"PROXY ".as_slice(), &[b'x'; LONGEST_V1]].concat(),
        v2(0x11, 0x11, &[0; 12]),
        v2(0x22, 0x11, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x12, &[0; 12]),
        v2(0x21, 0x31, &[0; 215]),
        v2(0x21, 0x41, &[0; 300]),
        inet(&[4, 0]),
        inet(&[4, 0, 9, 1]),
        inet(&[3, 0, 3, 1, 2, 3]),
        wrong_sum,
        [V2, &[0x21, 0x11, 0xff, 0xff]].concat(),
    ];
    for bytes in cases {
        assert_eq!(parse(&bytes), Err(Unsound), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn the_checksum_is_that_of_rfc_4960() {
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
}
