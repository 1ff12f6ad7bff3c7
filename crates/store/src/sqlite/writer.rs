//! The one thread that owns the connection: jobs come over a bounded channel, answers go back one by one.

use super::adopt::OpenKeys;
use super::fault::Fault;
use crate::home::VaultHome;
use crate::locks::SealMark;
use crate::root_key::RootSeal;
use crate::seal::Keyring;
use crate::{Answer, StoreError};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::{mpsc, oneshot};

/// Most jobs that wait. A job takes some milliseconds at most; callers beyond this wait for room.
pub const STORE_JOBS_MAX: usize = 256;

/// What the thread owns.
pub(super) struct Vault {
    pub(super) connection: Connection,
    pub(super) keys: OpenKeys,
    /// Says to other processes that the vault is open.
    #[expect(dead_code, reason = "held for its Drop")]
    pub(super) presence: std::fs::File,
}

impl Vault {
    /// Reads in one transaction, so that all rows are of one moment.
    fn read<T>(&mut self, work: impl FnOnce(&Connection, &Keyring) -> Result<T, Fault>) -> Result<T, Fault> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        work(&transaction, self.keys.newest(&transaction)?)
    }

    /// Writes in one transaction, on disk when it returns. A failure leaves everything as it was.
    ///
    /// The keyring is looked at inside the transaction: nobody can add a data key until it ends, so that nothing is sealed
    /// under an older one.
    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>, &Keyring) -> Result<T, Fault>) -> Result<T, Fault> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = work(&transaction, self.keys.newest(&transaction)?)?;
        transaction.commit()?;
        Ok(answer)
    }

    /// Reads what concerns the keys themselves.
    fn read_keys<T>(&mut self, work: impl FnOnce(&Connection, &OpenKeys) -> Result<T, Fault>) -> Result<T, Fault> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        self.keys.newest(&transaction)?;
        work(&transaction, &self.keys)
    }

    /// Writes what concerns the keys themselves, in one transaction.
    fn rekey<T>(&mut self, work: impl FnOnce(&Transaction<'_>, &OpenKeys) -> Result<T, Fault>) -> Result<T, Fault> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.keys.newest(&transaction)?;
        let answer = work(&transaction, &self.keys)?;
        transaction.commit()?;
        Ok(answer)
    }

    /// Puts another seal on the vault, in one transaction.
    fn rewrap(&mut self, work: impl FnOnce(&Transaction<'_>, &OpenKeys) -> Result<(RootSeal, SealMark), Fault>) -> Result<(), Fault> {
        let (seal, mark) = self.rekey(work)?;
        self.keys.adopt(seal, mark);
        Ok(())
    }

    fn close(self) {
        let truncated = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        claviger_runtime::best_effort("truncate the journal of the vault", truncated);
        claviger_runtime::best_effort("close the vault", self.connection.close().map_err(|(_, error)| error));
    }
}

enum Message {
    Work(Box<dyn FnOnce(&mut Vault) + Send>),
    Close(oneshot::Sender<()>),
}

/// The way to the thread. When the last one is dropped, the thread does what was sent and ends.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Message>);

impl Writer {
    /// Starts the thread.
    pub(super) fn start(vault: Vault, home: &VaultHome) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(STORE_JOBS_MAX);
        std::thread::Builder::new()
            .name("claviger-store".to_owned())
            .spawn(move || run(vault, receiver))
            .map_err(StoreError::io("starting the thread of the vault", home.folder()))?;
        Ok(Self(sender))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Runs a read on the thread.
    pub(super) fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection, &Keyring) -> Result<T, Fault> + Send + 'static,
    ) -> Answer<'_, T> {
        self.run(doing, |vault| vault.read(work))
    }

    /// Runs a write on the thread.
    pub(super) fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>, &Keyring) -> Result<T, Fault> + Send + 'static,
    ) -> Answer<'_, T> {
        self.run(doing, |vault| vault.write(work))
    }

    /// Runs a read that concerns the keys themselves on the thread.
    pub(super) fn read_keys<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection, &OpenKeys) -> Result<T, Fault> + Send + 'static,
    ) -> Answer<'_, T> {
        self.run(doing, |vault| vault.read_keys(work))
    }

    /// Runs a write that concerns the keys themselves on the thread.
    pub(super) fn rekey<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>, &OpenKeys) -> Result<T, Fault> + Send + 'static,
    ) -> Answer<'_, T> {
        self.run(doing, |vault| vault.rekey(work))
    }

    /// Puts another seal on the vault, on the thread.
    pub(super) fn rewrap(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>, &OpenKeys) -> Result<(RootSeal, SealMark), Fault> + Send + 'static,
    ) -> Answer<'_, ()> {
        self.run(doing, |vault| vault.rewrap(work))
    }

    fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Vault) -> Result<T, Fault> + Send + 'static,
    ) -> Answer<'_, T> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let job = Box::new(move |vault: &mut Vault| {
                // Whoever asked may be gone; the work counts all the same.
                drop(reply.send(work(vault).map_err(|fault| fault.while_doing(doing))));
            });
            self.0.send(Message::Work(job)).await.map_err(|_closed| StoreError::Closed)?;
            answer.await.unwrap_or_else(|_lost| Err(self.lost(doing)))
        })
    }

    /// Why a job that was taken gave no answer.
    fn lost(&self, doing: &'static str) -> StoreError {
        if self.is_closed() { StoreError::Closed } else { StoreError::Database { doing, source: "the job panicked".into() } }
    }

    /// Ends the thread after what was sent before.
    pub(super) fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let (reply, done) = oneshot::channel();
            self.0.send(Message::Close(reply)).await.map_err(|_closed| StoreError::Closed)?;
            done.await.map_err(|_lost| StoreError::Closed)
        })
    }
}

fn run(mut vault: Vault, mut jobs: mpsc::Receiver<Message>) {
    while let Some(message) = jobs.blocking_recv() {
        match message {
            // A panic rolls its transaction back and costs the job alone, not the vault.
            Message::Work(job) => {
                if catch_unwind(AssertUnwindSafe(|| job(&mut vault))).is_err() {
                    tracing::error!("a job of the vault panicked");
                }
            }
            Message::Close(reply) => {
                jobs.close();
                vault.close();
                reply.send(()).unwrap_or_default();
                return;
            }
        }
    }
    vault.close();
}
