//! What follows a login, against scripted providers: what is asked, what comes out, and what no error ever says.

#![expect(clippy::unwrap_used, reason = "what fails in a test may panic")]

mod codex;
mod copilot;
mod cursor;
mod google;
mod identity;
mod refresh;
mod stage;
mod zai;
