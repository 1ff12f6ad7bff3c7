//! The log on disk: `log.db`, a thread of its own, and a queue to it that never makes anybody wait.

mod file;
mod rows;

use super::{CostRow, CostTotal, LogAnswer, LogError, LogFilter, LogStore, UsageRow, WasteRow};
use claviger_domain::time::Timestamp;
use claviger_runtime::{Clock, best_effort};
use file::LogFile;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Most messages that wait for the thread; what comes beyond is dropped and counted. A minute of a thousand busy accounts.
pub const LOG_QUEUE_MAX: usize = 4096;
/// Messages that are looked at for one transaction.
const BATCH_MAX: usize = 512;
/// A file that failed is tried again after this long.
pub const LOG_REOPEN_AFTER: Duration = Duration::from_mins(1);

type Read = Box<dyn FnOnce(Result<&Connection, LogError>) + Send>;

enum Message {
    Write(Write),
    Read(Read),
    Flush(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

enum Write {
    Usage(Vec<UsageRow>),
    Waste(WasteRow),
    Cost(CostRow),
    Prune(Timestamp),
}

impl Write {
    fn rows(&self) -> u64 {
        match self {
            Self::Usage(rows) => rows.len() as u64,
            Self::Waste(_) | Self::Cost(_) => 1,
            Self::Prune(_) => 0,
        }
    }
}

/// `log.db` beside the vault. Mode 0600, WAL, `synchronous=NORMAL`: a loss of power may take the last seconds.
#[derive(Debug)]
pub struct SqliteLog {
    sender: mpsc::Sender<Message>,
    dropped: Arc<AtomicU64>,
}

impl SqliteLog {
    /// Starts the thread; it opens the file when it has something to do. Nothing that is wrong with the file is an error here:
    /// it is logged, writes are dropped, reads say so, and the file is tried again after [`LOG_REOPEN_AFTER`]. One that is no
    /// database is put aside as `log.db.broken` and begun anew.
    ///
    /// The thread ends with [`LogStore::close`], or when this is dropped. Where the system gives none, this is a log that is closed.
    pub fn start(home: &Path, clock: Arc<dyn Clock>) -> Self {
        let (sender, receiver) = mpsc::channel(LOG_QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let worker = Worker { file: LogFile::new(home.join("log.db"), clock), dropped: Arc::clone(&dropped) };
        let thread = std::thread::Builder::new().name("claviger-log".to_owned());
        best_effort("start the thread of the log", thread.spawn(move || worker.run(receiver)));
        Self { sender, dropped }
    }

    fn write(&self, write: Write) {
        let rows = write.rows();
        if self.sender.try_send(Message::Write(write)).is_err() {
            self.dropped.fetch_add(rows, Ordering::Relaxed);
        }
    }

    fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> LogAnswer<'_, T> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let read: Read = Box::new(move |connection| {
                let answer = connection.and_then(|connection| work(connection).map_err(|source| LogError::Database { doing, source }));
                // Whoever asked may be gone.
                drop(reply.send(answer));
            });
            self.sender.send(Message::Read(read)).await.map_err(|_closed| LogError::Closed)?;
            answer.await.unwrap_or(Err(LogError::Closed))
        })
    }

    fn tell(&self, message: impl FnOnce(oneshot::Sender<()>) -> Message + Send + 'static) -> LogAnswer<'_, ()> {
        Box::pin(async move {
            let (reply, done) = oneshot::channel();
            self.sender.send(message(reply)).await.map_err(|_closed| LogError::Closed)?;
            done.await.map_err(|_lost| LogError::Closed)
        })
    }
}

impl LogStore for SqliteLog {
    fn usage_record(&self, rows: Vec<UsageRow>) {
        self.write(Write::Usage(rows));
    }

    fn usage_list(&self, filter: LogFilter) -> LogAnswer<'_, Vec<UsageRow>> {
        self.read("reading the history of usage", move |connection| rows::usage_list(connection, &filter))
    }

    fn usage_latest(&self, since: Timestamp, until: Timestamp) -> LogAnswer<'_, Vec<UsageRow>> {
        self.read("reading the latest usage", move |connection| rows::usage_latest(connection, (since, until)))
    }

    fn waste_append(&self, row: WasteRow) {
        self.write(Write::Waste(row));
    }

    fn waste_list(&self, filter: LogFilter) -> LogAnswer<'_, Vec<WasteRow>> {
        self.read("reading what was wasted", move |connection| rows::waste_list(connection, &filter))
    }

    fn cost_append(&self, row: CostRow) {
        self.write(Write::Cost(row));
    }

    fn cost_list(&self, filter: LogFilter) -> LogAnswer<'_, Vec<CostRow>> {
        self.read("reading costs", move |connection| rows::cost_list(connection, &filter))
    }

    fn cost_totals(&self, filter: LogFilter) -> LogAnswer<'_, Vec<CostTotal>> {
        self.read("adding up costs", move |connection| rows::cost_totals(connection, &filter))
    }

    fn prune(&self, before: Timestamp) {
        self.write(Write::Prune(before));
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn flush(&self) -> LogAnswer<'_, ()> {
        self.tell(Message::Flush)
    }

    fn close(&self) -> LogAnswer<'_, ()> {
        self.tell(Message::Close)
    }
}

/// What the thread owns.
struct Worker {
    file: LogFile,
    dropped: Arc<AtomicU64>,
}

impl Worker {
    fn run(mut self, mut receiver: mpsc::Receiver<Message>) {
        let mut batch = Vec::new();
        while let Some(first) = receiver.blocking_recv() {
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Message::Write(write) => batch.push(write),
                    Message::Close(done) => {
                        self.commit(&mut batch);
                        self.end(&mut receiver);
                        best_effort("tell that the log is closed", done.send(()).map_err(|()| "nobody waits any more"));
                        return;
                    }
                    Message::Read(read) => {
                        self.commit(&mut batch);
                        read(self.file.for_reading());
                    }
                    Message::Flush(done) => {
                        self.commit(&mut batch);
                        best_effort("tell that the log is written", done.send(()).map_err(|()| "nobody waits any more"));
                    }
                }
                if batch.len() < BATCH_MAX {
                    next = receiver.try_recv().ok();
                }
            }
            self.commit(&mut batch);
        }
    }

    /// Closes the file. What came in meanwhile is dropped, and counted like what comes from now on.
    fn end(&mut self, receiver: &mut mpsc::Receiver<Message>) {
        self.file.close();
        receiver.close();
        while let Ok(left) = receiver.try_recv() {
            if let Message::Write(write) = left {
                self.dropped.fetch_add(write.rows(), Ordering::Relaxed);
            }
        }
    }

    /// Writes a batch in one transaction, or drops all of it.
    fn commit(&mut self, batch: &mut Vec<Write>) {
        if batch.is_empty() {
            return;
        }
        let rows: u64 = batch.iter().map(Write::rows).sum();
        if self.file.write(|transaction| batch.iter().try_for_each(|write| apply(transaction, write))).is_err() {
            self.dropped.fetch_add(rows, Ordering::Relaxed);
        }
        batch.clear();
    }
}

fn apply(transaction: &rusqlite::Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    match write {
        Write::Usage(rows) => rows.iter().try_for_each(|row| rows::usage_put(transaction, row)),
        Write::Waste(row) => rows::waste_put(transaction, row),
        Write::Cost(row) => rows::cost_put(transaction, row),
        Write::Prune(before) => rows::prune(transaction, *before),
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.file.close();
        let dropped = self.dropped.load(Ordering::Relaxed);
        best_effort("keep all of the log", if dropped == 0 { Ok(()) } else { Err(format!("{dropped} rows of the log were dropped")) });
    }
}
