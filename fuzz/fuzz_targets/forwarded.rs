//! What a client wrote never wins over the entry that the trusted proxy put behind it.
#![no_main]

use foregate::request::TrustedProxies;
use foregate::request::forwarded::Forwarding;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|written: &[u8]| {
    let peer = "10.0.0.1".parse().expect("address");
    let trusted = TrustedProxies(vec!["10.0.0.0/8".parse().expect("network")]);
    for (name, own) in [("x-forwarded-for", ", 192.0.2.1"), ("forwarded", ", for=192.0.2.1")] {
        let Ok(value) = HeaderValue::from_bytes(&[written, own.as_bytes()].concat()) else { return };
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value)]);
        if let Ok(read) = Forwarding::read(peer, &headers, &trusted) {
            assert_eq!(read.client.to_string(), "192.0.2.1");
        }
    }
});
