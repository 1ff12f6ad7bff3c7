//! Waiting with a limit: by the injected clock, and without a timer for what is ready at once.

use claviger_runtime::{BoxFuture, Clock};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Awaits `work` for at most `limit`; `None` once that is over. Cancel safe if `work` is.
pub(crate) async fn within<F: Future>(clock: &Arc<dyn Clock>, limit: Duration, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut timer: Option<BoxFuture<'static, ()>> = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = work.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        let timer = timer.get_or_insert_with(|| clock.sleep(limit));
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Ends a stream of bytes that stands still for the limit, or at most for twice the limit: one timer serves many steps.
pub(crate) struct Idle {
    clock: Arc<dyn Clock>,
    limit: Duration,
    timer: Option<BoxFuture<'static, ()>>,
    moved: bool,
}

impl Idle {
    pub(crate) fn new(clock: &Arc<dyn Clock>, limit: Duration) -> Self {
        Self { clock: Arc::clone(clock), limit, timer: None, moved: false }
    }

    /// Something arrived.
    pub(crate) fn moved(&mut self) {
        self.moved = true;
    }

    /// Ready once nothing arrived for too long. To be asked whenever there is nothing to pass on.
    pub(crate) fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let timer = self.timer.get_or_insert_with(|| self.clock.sleep(self.limit));
            std::task::ready!(timer.as_mut().poll(context));
            self.timer = None;
            if !std::mem::take(&mut self.moved) {
                return Poll::Ready(());
            }
        }
    }
}
