//! Signing: credentials that are never sent themselves, but prove each request on its own.

use claviger_domain::origin::Origin;
use claviger_domain::time::Timestamp;
use http::request;
use std::fmt::Debug;

/// What a signature covers beside the head of a request.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// The whole body; empty where there is none. The signature is made of this moment, which providers compare with their clock.
    Whole {
        /// The body as it is sent.
        body: &'a [u8],
        /// Now.
        now: Timestamp,
    },
    /// A body that is passed on as it arrives, and that nobody has read to its end.
    Unread,
}

impl Debug for Content<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole { body, .. } => write!(f, "Content({} bytes)", body.len()),
            Self::Unread => f.write_str("Content(unread)"),
        }
    }
}

/// Signs requests with a secret that it holds.
///
/// It is given what goes out: whatever changes method, path, query, body or a signed header afterwards breaks the signature.
pub trait Signer: Send + Sync + Debug {
    /// Signs a request to `target`, whose client credentials were removed. Headers that it writes are marked sensitive. A request
    /// that it refuses is left as it was.
    fn sign(&self, parts: &mut request::Parts, target: &Origin, body: &[u8], now: Timestamp) -> Result<(), Unsignable>;
}

/// A request that cannot be signed, as one with a time or a header that cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be signed")]
pub struct Unsignable;
