//! Foregate.

pub mod account;
pub mod admin;
pub mod authn;
pub mod cli;
pub mod config;
pub mod gate;
pub mod gateway;
pub mod identity;
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
