//! Events: what happens without anybody asking, kept a while for whoever asks, and told at once to whoever waits.

use crate::{Inner, Pool};
use claviger_admin::{EVENTS_WAIT_MAX, EventKind, EventPage, EventView, EventsAsk};
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::time::Timestamp;
use claviger_runtime::random_u128;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Events that are kept for those who come later: a morning of a busy pool. Who is further behind is told how many are gone.
pub const EVENTS_KEPT: usize = 256;

/// What has happened in this process.
#[derive(Debug)]
pub(crate) struct Events {
    /// Tells this process's count of events from that of another one.
    stream: String,
    /// The id of the last event, for those who wait for the next one.
    last: watch::Sender<u64>,
    /// Guards the latest events, oldest first; held for a push or a copy, never over an await. Nothing on a request's path emits.
    kept: Mutex<VecDeque<Arc<EventView>>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { stream: format!("{:032x}", random_u128()), last: watch::Sender::new(0), kept: Mutex::default() }
    }
}

impl Events {
    /// Tells everybody who waits, and keeps it for those who come.
    pub(crate) fn emit(&self, at: Timestamp, (provider, account): (&ProviderId, AccountId), kind: EventKind) {
        tracing::info!(account.id = %account, provider.id = %provider, event = kind.word(), "event");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *self.last.borrow() + 1;
        if kept.len() >= EVENTS_KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::new(EventView { id, at, provider: provider.to_string(), account: account.0, name: None, kind }));
        self.last.send_replace(id);
    }

    /// What is kept of the events after `since`, and how many are not.
    fn after(&self, since: u64) -> (Vec<Arc<EventView>>, u64, u64) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let events: Vec<_> = kept.iter().filter(|event| event.id > since).cloned().collect();
        let last = *self.last.borrow();
        let missed = last.saturating_sub(since).saturating_sub(events.len() as u64);
        (events, missed, last)
    }

    /// Where a cursor of this or another stream stands; `None` for one that asks for all that is kept.
    fn cursor(&self, ask: &EventsAsk) -> Option<u64> {
        let is_ours = ask.stream.as_ref().is_none_or(|stream| *stream == self.stream);
        ask.since.filter(|since| is_ours && *since <= *self.last.borrow())
    }
}

impl Inner {
    /// The events that somebody asks for. Cancel safe.
    pub(crate) async fn events_page(&self, ask: EventsAsk) -> EventPage {
        let cursor = self.events.cursor(&ask);
        let patience = Duration::from_secs(ask.wait_s).min(EVENTS_WAIT_MAX);
        let mut last = self.events.last.subscribe();
        let stopped = self.supervisor.stopped();
        tokio::select! {
            // The sender lives as long as the pool does.
            came = last.wait_for(|last| *last > cursor.unwrap_or(0)) => drop(came),
            () = self.clock.sleep(patience) => {}
            () = stopped => {}
        }
        let (events, missed, last) = self.events.after(cursor.unwrap_or(0));
        // Who names no cursor of this stream has missed nothing of it.
        let missed = if cursor.is_some() { missed } else { 0 };
        let view = self.view.load();
        let events = events.into_iter().map(|event| {
            let account = view.accounts.get(&AccountId(event.account));
            EventView {
                name: account.and_then(|account| account.row.label.clone().or_else(|| account.row.identity.display().map(str::to_owned))),
                ..EventView::clone(&event)
            }
        });
        EventPage { stream: self.events.stream.clone(), events: events.collect(), missed, last }
    }
}

impl Pool {
    /// One look at what has changed of accounts since the last one: tells what is news. For tests, and for programs that run
    /// no server.
    pub async fn care_look(&self) {
        self.inner.care_look().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(percent: u8) -> EventKind {
        EventKind::UsageThreshold { limit: "5h".into(), label: "5h".into(), percent, used: None, resets_at: None }
    }

    fn emit(events: &Events, count: u64) {
        for _ in 0..count {
            events.emit(Timestamp(1), (&ProviderId::new("anthropic").unwrap(), AccountId(1)), passed(75));
        }
    }

    #[test]
    fn the_ring_is_bounded_and_what_is_gone_is_said_as_a_count() {
        let events = Events::default();
        emit(&events, EVENTS_KEPT as u64 + 3);
        let (kept, missed, last) = events.after(0);
        assert_eq!((kept.len(), kept[0].id, missed, last), (EVENTS_KEPT, 4, 3, EVENTS_KEPT as u64 + 3));
        assert_eq!(events.after(2).1, 1);
        assert_eq!(events.after(3).1, 0);
        assert_eq!(events.after(last).0.len(), 0);
    }

    #[test]
    fn a_cursor_of_another_process_asks_for_all_that_is_kept() {
        let events = Events::default();
        emit(&events, 2);
        let ask = |stream: &str, since| EventsAsk { stream: Some(stream.to_owned()), since: Some(since), wait_s: 0 };
        assert_eq!(events.cursor(&ask(&events.stream, 1)), Some(1));
        assert_eq!(events.cursor(&ask("another", 1)), None);
        assert_eq!(events.cursor(&ask(&events.stream, 9)), None, "a cursor from the future is none");
    }
}
