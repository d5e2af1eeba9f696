//! The number that a request goes by in logs, answers and at the backend.
//!
//! Callers: `request` makes or takes one for each context; whoever answers or forwards shows it.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The value of `X-Request-Id`: taken from a trusted proxy, or made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestId(HeaderValue); // Invariant: 1 to 128 characters out of A-Z a-z 0-9 - _ . ~ + / = : @

const HEX: &[u8; 16] = b"0123456789abcdef";

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

thread_local! {
    /// Counted up from a random start, so that threads and processes don't meet. Two hashes under keys of the operating
    /// system's; the numbers are to be unique, not secret.
    static NEXT: Cell<u128> = {
        let random = || u128::from(RandomState::new().hash_one("request id"));
        Cell::new(random() << 64 | random())
    };
}

impl RequestId {
    /// A new one, 32 hexadecimal digits; costs no call of the operating system.
    pub fn generate() -> Self {
        let number = NEXT.replace(NEXT.get().wrapping_add(1));
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        Self(HeaderValue::from_bytes(&digits).expect("hexadecimal digits may stand in a header"))
    }

    /// What the headers of a trusted peer give; `None` if there is none, more than one, or one that is not sound.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(X_REQUEST_ID).iter();
        let value = values.next()?;
        let is_character = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~+/=:@".contains(byte);
        let is_sound = (1..=128).contains(&value.len()) && value.as_bytes().iter().all(is_character);
        (is_sound && values.next().is_none()).then(|| Self(value.clone()))
    }

    /// A known one, for the tests of rooms that hand it on.
    #[cfg(test)]
    pub(crate) fn for_tests(id: &'static str) -> Self {
        Self(HeaderValue::from_static(id))
    }

    /// For logs and pages.
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("a request id is ASCII")
    }

    /// For headers; cheap to clone.
    pub fn header_value(&self) -> &HeaderValue {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_id_is_new_on_every_thread() {
        let make = || (0..100).map(|_| RequestId::generate().as_str().to_owned()).collect::<Vec<_>>();
        let mut ids = make();
        ids.extend(std::thread::spawn(make).join().expect("no panic"));
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 200);
    }

    #[test]
    fn an_id_is_taken_only_if_it_is_sound() {
        let from = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-request-id", HeaderValue::from_bytes(value.as_bytes()).expect("value"));
            }
            RequestId::from_headers(&headers).map(|id| id.as_str().to_owned())
        };
        assert_eq!(from(&["1-2_3.~+/=:@aZ"]).as_deref(), Some("1-2_3.~+/=:@aZ"));
        assert_eq!(from(&[&"x".repeat(128)]).map(|id| id.len()), Some(128));
        for unsound in
            [&[][..], &[""], &["a b"], &["a", "b"], &["a", "a"], &["\u{e9}"], &["<x>"], &[&"x".repeat(129)]]
        {
            assert_eq!(from(unsound), None, "{unsound:?}");
        }
    }
}
