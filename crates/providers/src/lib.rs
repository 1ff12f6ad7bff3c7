//! The provider catalogue and the only place that knows vendors.
//!
//! What differs between providers is data: one file per provider in `catalogue/`, over which the user's `providers.d/*.toml`
//! are merged ([`catalogue`]). Files of other tools are read by [`import`]. Both are described in `docs/catalogue.md`.

pub mod ambient;
pub mod catalogue;
pub mod credits;
pub mod hooks;
pub mod import;
pub mod login;
pub mod usage;
mod vendor;
