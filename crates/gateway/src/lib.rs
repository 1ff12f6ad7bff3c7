//! The data plane: a virtual key in, a real credential out.
//!
//! A request passes `listen → perimeter → route → authorize → body → session → [lease → forward → evidence → retry] →
//! stream → record`, a file a stage. The path takes no lock of ours, opens no file and asks no database: what it knows comes from
//! the [`claviger_contract::Broker`]. Deliberately absent: any way to print a header, a body or a query, any choice of
//! origin by a client, and any change to a body.

mod authorize;
mod body;
mod error;
mod evidence;
mod forward;
mod gateway;
mod health;
mod json;
mod lease;
pub mod limits;
mod listen;
mod model_prefix;
mod path;
mod patience;
mod perimeter;
mod record;
mod retry;
mod route;
mod session;
mod stream;

pub use gateway::{Gateway, GatewayConfig, GatewayStatus};
pub use limits::Limits;
