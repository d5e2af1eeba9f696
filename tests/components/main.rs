//! Foregate with the programs that people run it with: front proxies, applications, a browser.
//!
//! `./tests/run` installs them. A program that is missing fails the test and never skips it: the
//! point of these tests is that nothing in them is made up.
//!
//! What takes long or much has a name that begins with `heavy_` and is ignored: `./tests/run --heavy`
//! runs those, and `.ci/run` does so once.

mod apache;
mod assertion;
mod browser;
mod caddy;
mod carriers;
mod envoy;
mod flask_jwt;
#[path = "../gateway/browser.rs"]
#[allow(dead_code, reason = "shared with the tests of the gateway, which use the rest")]
mod forms;
mod front;
mod git;
mod haproxy;
#[path = "../gateway/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the gateway, which use the rest")]
mod harness;
mod hashes;
mod http2;
mod issuers;
mod jupyter;
mod keys;
mod mail;
#[path = "../gateway/mailbox.rs"]
#[allow(dead_code, reason = "shared with the tests of the gateway, which use the rest")]
mod mailbox;
mod nginx;
mod openapi;
mod program;
mod prometheus;
#[path = "../gateway/requests.rs"]
#[allow(dead_code, reason = "shared with the tests of the gateway, which use the rest")]
mod requests;
mod smuggling;
mod tls;
mod tokens;
mod traefik;
mod webdav;
mod websocket;
mod wsgi;
