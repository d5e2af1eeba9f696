//! Foregate stands in front of applications that can't be changed: it signs people in, checks every
//! request, and forwards what it lets through with headers that say who it is.
//!
//! # The rooms
//!
//! One crate, one level of folders, rooms along the path of a request. Higher lines import lower
//! ones, never the other way and never along a line; `tests/rooms.rs` holds this and is the rule.
//!
//! | line | room | what for |
//! | --- | --- | --- |
//! | 1 | `main` | the process shell |
//! | 2 | [`cli`] | the command line: parse, call a room, print |
//! | 3 | [`gateway`] | composition: threads, sockets, PROXY headers, TLS, the wire in front of hyper, a request's way, reload, the stop |
//! | 4 | [`config`] | the file, read into every room's settings, with all faults and their places |
//! | 5 | [`portal`] | our own pages and endpoints, under one prefix |
//! | 5 | [`subrequest`] | nginx, Traefik, Caddy, HAProxy and Envoy ask about a request that they hold |
//! | 5 | [`proxy`] | forwarding: headers, choice and health of servers, connections to them, bodies, tunnels |
//! | 5 | [`admin`] | the admin socket: the same calls on accounts for a running server; the listener for metrics and health |
//! | 6 | [`gate`] | the decision; the only maker of a [`gate::Permit`] |
//! | 6 | [`account`] | what changes accounts and sessions, and says what it ended |
//! | 7 | [`authn`] | whose credential is this and does it hold: sessions, tokens of ours and of other issuers, Basic, throttle, cache |
//! | 7 | [`mail`] | mails: what they say, the outbox, the worker that sends them |
//! | 7 | [`request`] | one request described without doubt: head, target, host, client |
//! | 7 | [`route`] | host, path and method to a route, by an index |
//! | 8 | [`password`] | hashing on threads of its own; what a good password is |
//! | 8 | [`policy`] | identity and facts to a verdict; pure |
//! | 8 | [`store`] | accounts, sessions, tokens, keys and mails on disk; hides the engine |
//! | 9 | [`identity`] | names, roles and the authenticated principal; what a certificate says |
//! | – | [`response`] | body type, problem details and their page twin; a leaf from line 7 upwards |
//! | – | [`telemetry`] | the log, the audit trail and the figures; a leaf from line 7 upwards |
//!
//! # One request, end to end
//!
//! ```text
//! accept     gateway   a place among the connections; TLS, if it is set; ALPN or the first bytes tell HTTP/2 from
//!                      HTTP/1, whose every byte the wire judges before hyper reads it; HTTP/2 is counted, timed
//!                      and put as HTTP/1.1
//! describe   request   Context::new: one host, every reading of the target, the client's address; doubt is a 400
//! ours?      portal    paths under the prefix: parse, call account, render
//!            subrequest   ... or take the original request from a trusted peer's headers, and go on to decide
//! decide     gate      the route of every reading -> none is 404, a disagreement 400
//!                      public: no authentication work at all
//!                      Authenticator: digest -> cache -> store | JWT | password -> Arc<Identity>
//!                      Policy::evaluate -> Allow(Permit) | Challenge | Forbid; a failure of ours is 503
//! forward    proxy     hop-by-hop off, our cookies and Authorization off, identity names off, the route's on, ours last;
//!                      one of the servers that are well, and another where the first failed and no harm is done;
//!                      the target byte for byte, but for a prefix that the route cuts off; bodies streamed both ways;
//!                      101 hands both halves on
//! otherwise  response  303 to the login page, or a problem: a page for a person, RFC 9457 for a program
//! answer     gateway   request id, one access line, counted for its route
//! ```
//!
//! A sub-request enters at *describe* with a description of another request, `foregate explain` at
//! *decide* with a made-up one. One decision, many doors.
//!
//! # Invariants
//!
//! 1. [`proxy::Proxy::forward`] takes a [`gate::Permit`], and only [`gate::Gate::decide`] makes one.
//! 2. Identity headers reach an upstream from us or not at all; hop-by-hop removal comes before they are added.
//! 3. A target is forwarded only if every reading of it leads to the same route, and then unchanged, or with
//!    another beginning under which nobody reads anything that he could not read before.
//! 4. A credential is never in a log line, an error or a `Debug`, and ours is never forwarded.
//! 5. A failure of ours is 5xx. It never becomes a challenge, and never a pass.
//! 6. A cached identity is checked against the clock and the revocation epoch on every hit; the cache's own
//!    expiry is housekeeping. Whoever ends a session, token or account says so in the same call.
//! 7. Nothing above `gate` decides who may pass; nothing under `authn` knows routes; nothing in `portal` or
//!    `cli` changes an account except through `account`.
//! 8. Every wait has a deadline and every queue, cache and body has a bound.

pub mod account;
pub mod admin;
pub mod authn;
pub mod cli;
pub mod config;
pub mod gate;
pub mod gateway;
pub mod identity;
pub mod mail;
pub mod password;
pub mod policy;
pub mod portal;
pub mod proxy;
pub mod request;
pub mod response;
pub mod route;
pub mod store;
pub mod subrequest;
pub mod telemetry;
