//! The gateway as a black box: the real program, real sockets, real upstreams.
//!
//! Each file is one subject; `harness` starts programs and speaks to them, `browser` keeps cookies
//! and reads forms. A test's name is the sentence that it proves.

mod admin;
mod basic;
mod browser;
mod config_files;
mod decisions;
mod durability;
#[allow(dead_code, reason = "files of tests are added as their subjects are")]
mod harness;
mod login;
mod secrets;
mod session;
mod throttle;
mod tokens;
