//! What the server, its ledger and its control share: one lock, a change signal and a release signal.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::config::{SimClockFn, SimulatorConfig, TokenPolicy};
use crate::credits_endpoint::CreditDesk;
use crate::faults::{LlmFault, TokenFault};
use crate::identity_provider::IdentityProvider;
use crate::ledger::{Book, ExchangeEnd};
use crate::tokens::TokenServer;
use crate::usage_endpoint::UsageDesk;

/// How a stream is paced: the text deltas of an answer and the pause before each event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) events: usize,
    pub(crate) delay_ms: u64,
}

/// Everything that changes while the simulator runs.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tokens: TokenServer,
    pub(crate) policy: TokenPolicy,
    pub(crate) token_faults: VecDeque<TokenFault>,
    pub(crate) llm_faults: VecDeque<LlmFault>,
    /// Per account the faults in order, each with the number of requests it still applies to.
    pub(crate) account_faults: BTreeMap<String, VecDeque<(LlmFault, u32)>>,
    pub(crate) pace: Pace,
    pub(crate) identity_provider: IdentityProvider,
    pub(crate) usage: UsageDesk,
    pub(crate) credits: CreditDesk,
    pub(crate) book: Book,
    pub(crate) held: usize,
}

impl State {
    /// Takes the fault for the next request of `account`: first the queue for anybody, then the account's own.
    pub(crate) fn llm_fault_take(&mut self, account: &str) -> Option<LlmFault> {
        if let Some(fault) = self.llm_faults.pop_front() {
            return Some(fault);
        }
        let queue = self.account_faults.get_mut(account)?;
        let (fault, times) = queue.front_mut()?;
        let taken = fault.clone();
        match *times {
            u32::MAX => {}
            0 | 1 => drop(queue.pop_front()),
            _ => *times -= 1,
        }
        Some(taken)
    }
}

/// The state with its signals. Lives as long as any handle.
pub(crate) struct Shared {
    clock: SimClockFn,
    /// Guards all of [`State`]. Held for the length of one closure, never across an `.await`.
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    released: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn new(config: SimulatorConfig) -> Self {
        let state = State {
            tokens: TokenServer::new(config.seed),
            policy: config.token,
            token_faults: VecDeque::new(),
            llm_faults: VecDeque::new(),
            account_faults: BTreeMap::new(),
            pace: Pace { events: 5, delay_ms: 0 },
            identity_provider: IdentityProvider::default(),
            usage: UsageDesk::default(),
            credits: CreditDesk::default(),
            book: Book::default(),
            held: 0,
        };
        Self { clock: config.clock, state: Mutex::new(state), changed: watch::Sender::new(0), released: watch::Sender::new(0) }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state and wakes everybody who waits for a change.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.send_modify(|version| *version += 1);
        result
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits for the next [`Shared::release`]. Dropping the future gives the hold up.
    pub(crate) async fn hold(&self) {
        let mut released = self.released.subscribe();
        let held = Held::new(self);
        released.changed().await.expect("the sender lives in self");
        drop(held);
    }

    /// Ends every hold that has begun.
    pub(crate) fn release(&self) {
        self.released.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock can only be a test's own closure; the ledger stays readable for its message.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One held answer, counted while it lives.
struct Held<'a>(&'a Shared);

impl<'a> Held<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.update(|state| state.held += 1);
        Self(shared)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.update(|state| state.held -= 1);
    }
}

/// Which line of the ledger an exchange writes to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Line {
    TokenPost(u64),
    Request(u64),
    /// Written nowhere: a request to the console.
    Unlisted,
}

/// The open line of one exchange. Dropped before it was closed, the client has gone away.
pub(crate) struct Entry {
    pub(crate) shared: Arc<Shared>,
    line: Line,
    is_open: bool,
}

impl Entry {
    pub(crate) fn new(shared: &Arc<Shared>, line: Line) -> Self {
        Self { shared: Arc::clone(shared), line, is_open: true }
    }

    pub(crate) fn unlisted(shared: &Arc<Shared>) -> Self {
        Self::new(shared, Line::Unlisted)
    }

    pub(crate) fn status(&self, status: u16) {
        self.shared.update(|state| match self.line {
            Line::TokenPost(id) => {
                if let Some(post) = state.book.token_post_mut(id) {
                    post.status = Some(status);
                }
            }
            Line::Request(id) => {
                if let Some(request) = state.book.request_mut(id) {
                    request.status = Some(status);
                }
            }
            Line::Unlisted => {}
        });
    }

    pub(crate) fn close(&mut self, end: ExchangeEnd) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        self.shared.update(|state| match self.line {
            Line::TokenPost(id) => {
                if let Some(post) = state.book.token_post_mut(id) {
                    post.end = end;
                }
            }
            Line::Request(id) => {
                if let Some(request) = state.book.request_mut(id) {
                    request.end = end;
                }
            }
            Line::Unlisted => {}
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.close(ExchangeEnd::AbortedByClient);
    }
}
