//! Forwarding over real sockets: a raw client, a small server around `Proxy`, raw servers behind it.

mod bodies;
mod connections;
mod harness;
mod http2;
mod messages;
mod servers;
mod tunnels;
