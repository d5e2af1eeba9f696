//! The gateway as a black box: the real program, real sockets, real upstreams.
//!
//! Each file is one subject; `harness` starts programs and speaks to them, `browser` keeps cookies
//! and reads forms, `edge` holds what the files about the HTTP edge share. A test's name is the
//! sentence that it proves.

mod account;
mod accounts_told;
mod admin;
mod assertion;
mod audit;
mod basic;
mod browser;
mod config_files;
mod decisions;
mod drain;
mod durability;
mod edge;
mod ending;
mod faults;
mod floods;
mod forged;
mod forwarding;
mod frames;
mod framing;
mod generated;
mod harness;
mod headers;
mod http2;
mod idp;
mod invitations;
mod issuers;
mod jwt_attacks;
mod keys;
mod limits;
mod listeners;
mod log;
mod login;
mod mail;
mod mailbox;
mod metrics;
mod names;
mod openapi;
mod personal_tokens;
mod races;
mod recover;
mod register;
mod reload;
mod requests;
mod rewrite;
mod secrets;
mod session;
mod sessions;
mod smuggling;
mod store_backup;
mod subrequests;
mod targets;
mod theme;
mod throttle;
mod tls;
mod token_locations;
mod tokens;
mod tokens_introspect;
mod tokens_refresh;
mod tokens_revoke;
mod transfer;
mod upstreams_connect;
mod upstreams_health;
