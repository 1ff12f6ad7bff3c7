//! Failpoints: named places where a test may stop, delay or fail the program.

use crate::clock::BoxFuture;

/// Told whenever the program passes a named place.
///
/// Production wires [`NoFailpoints`]. A test's implementation may wait, kill the process, or answer with a text that the
/// caller turns into its own error.
pub trait Failpoint: Send + Sync + std::fmt::Debug + 'static {
    /// The program passes `site`. `Err` makes the caller fail there.
    fn pass<'a>(&'a self, site: &'static str) -> BoxFuture<'a, Result<(), String>>;
}

/// Nothing ever happens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFailpoints;

impl Failpoint for NoFailpoints {
    fn pass<'a>(&'a self, _site: &'static str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
