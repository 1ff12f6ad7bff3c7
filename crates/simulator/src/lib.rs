//! A fake provider that keeps a ledger: an identity provider, its token endpoint and the LLM dialects over real HTTP, on
//! loopback.
//!
//! It exists so that tests assert on what a provider saw instead of on our own logs, and so that the tour works without
//! an account anywhere. Three handles share one running server: [`Simulator`] owns it, [`Control`] changes its behaviour,
//! [`Ledger`] tells what reached it. Every token in here is fake; nothing in this crate is a secret.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use claviger_simulator::{LlmFault, Simulator, SimulatorConfig};
//!
//! let simulator = Simulator::start(SimulatorConfig::default()).await?;
//! let grant = simulator.control().grant_issue("ada@example.com");
//! simulator.control().llm_fault_for("ada@example.com", LlmFault::QuotaExhausted { reset_in_s: 3600 }, 1);
//! // ... send requests with `grant.access` to `simulator.origin()` ...
//! simulator.ledger().wait_for(|ledger| ledger.requests_count() == 1).await;
//! simulator.stop().await;
//! # Ok(())
//! # }
//! ```

mod capture;
mod config;
mod console;
mod control;
mod credits_endpoint;
pub mod demo;
mod faults;
mod gzip;
mod identity_provider;
mod ledger;
mod llm;
mod reply;
mod serve;
mod state;
mod token_endpoint;
mod tokens;
mod usage_endpoint;

pub use config::{ReuseError, Rotation, SimClockFn, SimulatorConfig, TokenPolicy, system_clock};
pub use control::Control;
pub use credits_endpoint::CreditHit;
pub use faults::{LlmFault, TokenFault};
pub use identity_provider::{Consent, DevicePoll, Issuer, LoginHit, LoginHitKind, LoginPolicy};
pub use ledger::{CredentialSeen, CredentialSlot, CredentialVerdict, ExchangeEnd, Ledger, LlmRequest, TokenOutcome, TokenPost};
pub use serve::Simulator;
pub use tokens::IssuedGrant;
pub use usage_endpoint::{UsageFault, UsageHit, UsageTold};
