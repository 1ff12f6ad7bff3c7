//! The control plane over a unix socket: HTTP/1.1 for this user alone.
//!
//! One table, [`routes`], names every call with its method, path and bodies; client and server are both written against
//! its entries, so that they cannot drift apart.

mod body;
mod client;
mod routes;
mod server;
mod socket;

pub use client::{AdminClient, connect};
pub use routes::{SealedView, ServerFacts, ServerStatus};
pub use server::{AdminServer, ServerControl};
pub use socket::{SocketLock, StartTurn, is_held};

#[cfg(test)]
mod tests;
