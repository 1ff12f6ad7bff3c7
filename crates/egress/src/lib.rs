//! The only outbound HTTP client: origin check, resolve, check, dial, TLS, caps.
//!
//! [`Egress::send`] carries agents' requests over pooled connections; [`Egress::connect`] opens a [`FreshConnection`]
//! that carries one token request and then ends. Both go through a proxy where [`Egress::through`] names one. Deliberately
//! absent: redirects, cookies, decompression, proxies taken from the environment, and any way for a caller to dial an origin outside the set that it must pass along.

mod address;
mod body;
mod client;
mod dial;
mod error;
mod exchange;
pub mod limits;
mod proxy;
mod stream;
mod trust;

pub use address::AddressClass;
pub use body::{BoxError, OutBody};
pub use client::{Egress, EgressConfig};
pub use dial::{Resolve, SystemResolver};
pub use error::{EgressError, FirstByte, ProxyError, TrustError};
pub use exchange::{ExchangeError, FreshConnection, RawAnswer, SendFailure};
/// The body of an answer. Dropping it before its end closes the upstream's stream or connection.
pub use hyper::body::Incoming as InBody;
