//! Foregate with the programs that people run it with: front proxies, applications, a browser.
//!
//! `./tests/run` installs them. A program that is missing fails the test and never skips it: the
//! point of these tests is that nothing in them is made up.

mod browser;
mod caddy;
mod envoy;
mod front;
mod haproxy;
#[path = "../gateway/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the gateway, which use the rest")]
mod harness;
mod http2;
mod nginx;
mod program;
mod prometheus;
mod traefik;
mod wsgi;
