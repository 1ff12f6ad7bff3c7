//! OAuth mechanics after the RFCs, without I/O and without a vendor: what a token request looks like, and what its answer means.

mod answer;
mod body;
mod claims;
mod request;
mod retry_after;
mod token;

pub use answer::{Doubt, Outcome, RawParts, Refusal, read_answer};
pub use claims::{CLAIM_MAX_BYTES, JWT_MAX_BYTES, identity_from_claims};
pub use request::refresh_request;
pub use retry_after::{RETRY_AFTER_MAX, RETRY_AFTER_MIN};
pub use token::{LIFE_MAX, RefreshToken, TokenAnswer};
