//! The composition: builds the rooms from the configuration, accepts connections, serves requests, stops.
//!
//! Callers: `cli`. Rules live in the rooms below; what is here is the order in which they are asked.

pub mod listener;
pub mod wire;
