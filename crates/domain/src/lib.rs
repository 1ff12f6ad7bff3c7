//! The pure core: ids, time, secrets, profiles and every decision that Claviger makes.
//!
//! Nothing here is async, reads a clock, draws a random number or does I/O. Facts, `now` and a `seed` come in
//! as arguments; a verdict goes out. No vendor is named: what differs between vendors is data in
//! [`profile::ProviderProfile`].

pub mod attempt;
pub mod block;
pub mod cascade;
pub mod classify;
pub mod credential;
pub mod family;
pub mod generation;
pub mod id;
pub mod identity;
pub mod options;
pub mod origin;
pub mod profile;
pub mod refresh;
pub mod secret;
pub mod select;
pub mod session;
pub mod time;
pub mod usage;
pub mod value_ref;
pub mod virtual_key;
