//! The admin socket: what an administrator does to accounts, through the running server. And the
//! admin listener, in `admin/http.rs`: figures and health, for those who watch it.
//!
//! The store belongs to one process. While the server has it, the command line sends its commands
//! here: one JSON line for each request and each reply, over a Unix socket that only our own user
//! and root may talk to. Without a server the command line opens the store and calls `perform`
//! itself, so a command does the same thing either way.
//!
//! Callers: `gateway` runs the server; `cli` connects, or calls `perform`. Accounts are changed by
//! `account` alone; how a reply looks on a terminal is `cli`'s.

mod client;
mod failure;
mod http;
mod invitation;
mod line;
mod message;
mod perform;
mod personal;
mod server;
mod session;
pub mod socket;
mod transfer;

pub use client::{Client, ClientError, connect};
pub use failure::Failure;
pub use http::{AdminHttp, AdminListenError, AdminSources, NotReady};
pub use invitation::{InvitationView, RevokeInvitations};
pub use message::{
    AccountView, AddUser, Command, DamagedView, KeyView, LinkBase, Moment, Password, ReloadStatus, Reply,
    Secret, ServerStatus, SetUser, UpstreamServer,
};
pub use perform::perform;
pub use personal::{CreateToken, TokenCommand, TokenReply, TokenView};
pub use server::AdminServer;
pub use session::{RevokeSessions, SessionMark, SessionSummary, SessionView};
pub use transfer::{AccountRecord, Awaited, ImportUsers, Imported, Refusal, SchemeCounts};
