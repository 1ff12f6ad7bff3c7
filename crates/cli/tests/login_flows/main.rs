//! Logins as a person does them: the binary on a throw-away home, a browser, a keyboard, and a fake identity provider.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod browser;
mod device;
mod identity;
mod key;
mod logout;
mod loopback;
mod paste;
mod port;
mod pty;
mod stage;
mod terminal;
mod vendor;
