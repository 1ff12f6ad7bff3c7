//! The pool over a real vault and a provider that keeps a ledger.

mod crash;
mod refresh;
mod select;
mod stage;
