//! Care of accounts: whether providers still take them, what has become of them unasked, and resets that were saved.
//!
//! - `changes`: what is news between two looks at an account. Pure. `look`: the looks.
//! - `credential`: a stored credential, refreshed where it is due, for a control request with it.
//! - `check`: asks the provider about one account; `completion`: a minimal completion.
//! - `credits`: saved resets, listed and redeemed.

mod changes;
mod check;
mod completion;
mod credential;
mod credits;
mod look;

pub(crate) use look::{Care, run};
