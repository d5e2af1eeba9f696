//! A request's head, kept in case it has to go out again.
//!
//! Nearly every copy is thrown away, so keeping one has to be cheap: the fields are written one behind
//! the other into a buffer that is used again, and read back only where they are needed. A copy of the
//! map costs three to five times as much, in counters of shared values that go up and down.
//!
//! Callers: `proxy::exchange`.

use std::cell::RefCell;
use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

/// Buffers kept for one server on one thread.
const BUFFERS: usize = 64;

/// A larger one is not kept.
const BUFFER_BYTES: usize = 16 << 10;

/// Buffers that wait for their next head.
#[derive(Debug, Default)]
pub(crate) struct Buffers(RefCell<Vec<Vec<u8>>>);

/// A head without a body.
#[derive(Debug)]
pub(crate) struct Spare {
    buffers: Rc<Buffers>,
    /// Each name and value with its length before it.
    fields: Vec<u8>,
    method: Method,
    uri: Uri,
    version: Version,
}

impl Spare {
    pub(crate) fn of<B>(request: &Request<B>, buffers: &Rc<Buffers>) -> Self {
        let mut fields = buffers.0.borrow_mut().pop().unwrap_or_default();
        for (name, value) in request.headers() {
            put(&mut fields, name.as_str().as_bytes());
            put(&mut fields, value.as_bytes());
        }
        Self {
            buffers: Rc::clone(buffers),
            fields,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
        }
    }

    /// The head as it was, around this body.
    pub(crate) fn restore<B>(&self, body: B) -> Option<Request<B>> {
        let mut headers = HeaderMap::new();
        let mut rest = self.fields.as_slice();
        while !rest.is_empty() {
            let name = HeaderName::from_bytes(take(&mut rest)?).ok()?;
            headers.append(name, HeaderValue::from_bytes(take(&mut rest)?).ok()?);
        }
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = headers;
        Some(request)
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        let mut buffers = self.buffers.0.borrow_mut();
        if fields.capacity() <= BUFFER_BYTES && buffers.len() < BUFFERS {
            fields.clear();
            buffers.push(fields);
        }
    }
}

fn put(fields: &mut Vec<u8>, bytes: &[u8]) {
    fields.extend_from_slice(&bytes.len().to_ne_bytes());
    fields.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (bytes, behind) = behind.split_at_checked(usize::from_ne_bytes(*length))?;
    *rest = behind;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_as_it_was_and_the_buffer_is_used_again() {
        let buffers = Rc::new(Buffers::default());
        let mut request = Request::put("/a?b").header("x", "1").header("y", "").header("x", "2").body(());
        let headers = request.as_mut().expect("a request").headers_mut();
        headers.insert("z", HeaderValue::from_bytes(b"caf\xe9\t!").expect("a value"));
        let request = request.expect("a request");
        for _ in 0..2 {
            let spare = Spare::of(&request, &buffers);
            assert!(buffers.0.borrow().is_empty());
            for _ in 0..2 {
                let back = spare.restore(()).expect("what was written can be read");
                assert_eq!((back.method(), back.uri()), (request.method(), request.uri()));
                assert_eq!(back.headers(), request.headers());
            }
            drop(spare);
            assert_eq!(buffers.0.borrow().len(), 1);
        }
        let large = Request::get("/").header("x", "a".repeat(BUFFER_BYTES + 1)).body(()).expect("a request");
        drop(Spare::of(&large, &buffers));
        assert!(buffers.0.borrow().is_empty(), "a large one is not kept");
    }
}
