//! The one thread that writes: group commit.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::{Connection, Savepoint, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use crate::watchdog::Pulse;

/// Pieces of work that may wait. Callers past that wait to hand theirs in.
const QUEUE: usize = 256;
/// Pieces of work in one transaction: enough to share an fsync, few enough that nobody waits long for the others'.
const MAX_GROUP: usize = 64;

/// Runs one piece of work in a savepoint, or not at all when there is none to run it in, and says what to do once it is
/// durable, or is not.
type Work = Box<dyn FnOnce(Option<&mut Savepoint<'_>>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), Arc<rusqlite::Error>>) + Send>;

/// A handle to the thread that writes.
#[derive(Clone)]
pub(crate) struct Writer {
    sender: Arc<Mutex<Option<mpsc::Sender<Work>>>>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    pulse: Pulse,
}

/// A piece of work that was handed in. It is done all the same when this is dropped.
#[derive(Debug)]
pub(crate) struct Begun<T> {
    answer: oneshot::Receiver<Result<T, StoreError>>,
}

impl<T> Begun<T> {
    /// Waits until it is durable, on a thread that may wait.
    ///
    /// # Errors
    /// As for [`Writer::write`].
    pub(crate) fn wait(self) -> Result<T, StoreError> {
        self.answer.blocking_recv().map_err(|_| StoreError::Closed)?
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Writer")
    }
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let pulse = Pulse::default();
        let own = pulse.clone();
        let thread = std::thread::Builder::new()
            .name("driftline-writer".to_owned())
            .spawn(move || run(connection, receiver, &own));
        Self { sender: Arc::new(Mutex::new(Some(sender))), thread: Arc::new(Mutex::new(thread.ok())), pulse }
    }

    /// By which it is seen whether its thread moves.
    pub(crate) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Writes, and returns once it is durable.
    ///
    /// # Errors
    /// SQLite's own; nothing of this piece of work is then written. [`StoreError::Closed`] only when the thread has ended.
    ///
    /// # Cancel safety
    /// A dropped write that was handed in is done all the same.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Savepoint<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (work, answer) = prepare(work);
        self.sender()?.send(work).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// The same, from a thread that may wait.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub(crate) fn write_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Savepoint<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.begin_blocking(work)?.wait()
    }

    /// Hands a piece of work in, from a thread that may wait for room, and does not wait until it is durable.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when the thread has ended.
    pub(crate) fn begin_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Savepoint<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Begun<T>, StoreError> {
        let (work, answer) = prepare(work);
        self.sender()?.blocking_send(work).map_err(|_| StoreError::Closed)?;
        Ok(Begun { answer })
    }

    fn sender(&self) -> Result<mpsc::Sender<Work>, StoreError> {
        self.sender.lock().ok().and_then(|sender| sender.clone()).ok_or(StoreError::Closed)
    }

    /// Takes no more work, finishes what was handed in, and waits for the thread to end.
    pub(crate) fn close(&self) {
        drop(self.sender.lock().map(|mut sender| sender.take()));
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the database's thread panicked");
        }
    }
}

fn prepare<T: Send + 'static>(
    work: impl FnOnce(&Savepoint<'_>) -> rusqlite::Result<T> + Send + 'static,
) -> (Work, oneshot::Receiver<Result<T, StoreError>>) {
    let (sender, receiver) = oneshot::channel();
    let work: Work = Box::new(move |savepoint: Option<&mut Savepoint<'_>>| {
        let result = savepoint.map(|savepoint| {
            let result = work(savepoint);
            if result.is_err() {
                savepoint.set_drop_behavior(rusqlite::DropBehavior::Rollback);
            }
            result
        });
        Box::new(move |commit: Result<(), Arc<rusqlite::Error>>| {
            let result = match (result, commit) {
                (Some(Ok(value)), Ok(())) => Ok(value),
                (Some(Err(error)), _) => Err(StoreError::Sqlite(error)),
                (_, Err(error)) => Err(StoreError::NotCommitted(error)),
                // What was not run is never said to be committed.
                (None, Ok(())) => Err(StoreError::Closed),
            };
            // Nobody may be waiting any more.
            drop(sender.send(result));
        })
    });
    (work, receiver)
}

fn run(mut connection: Connection, mut receiver: mpsc::Receiver<Work>, pulse: &Pulse) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    while receiver.blocking_recv_many(&mut group, MAX_GROUP) > 0 {
        pulse.beat();
        let mut answers = Vec::with_capacity(group.len());
        let mut works = group.drain(..);
        let committed = commit(&mut connection, &mut works, &mut answers).map_err(Arc::new);
        if let Err(error) = &committed {
            tracing::error!(%error, "a transaction could not be committed; nothing of it is acknowledged");
            // Whoever was not even begun with hears of the same error.
            answers.extend(works.map(|work| work(None)));
        }
        for answer in answers {
            answer(committed.clone());
        }
        pulse.rest();
    }
    // Leaves one file behind instead of two, when nobody reads.
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the database did not close cleanly; it will recover when it is opened");
    }
}

fn commit(
    connection: &mut Connection,
    works: &mut impl Iterator<Item = Work>,
    answers: &mut Vec<Answer>,
) -> rusqlite::Result<()> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for work in works {
        let mut savepoint = transaction.savepoint()?;
        savepoint.set_drop_behavior(rusqlite::DropBehavior::Commit);
        answers.push(work(Some(&mut savepoint)));
        let finished = savepoint.finish();
        // A full disk makes SQLite roll the whole transaction back by itself. Work after that would be committed alone,
        // and said to have failed with the others.
        if transaction.is_autocommit() {
            return Err(finished.err().unwrap_or_else(rolled_back));
        }
        finished?;
    }
    transaction.commit()
}

fn rolled_back() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
    rusqlite::Error::SqliteFailure(code, Some("the transaction was rolled back".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> Writer {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY) STRICT").unwrap();
        Writer::start(connection)
    }

    #[test]
    fn a_piece_that_fails_takes_nothing_else_with_it() {
        let writer = writer();
        let insert = |x: i64| writer.write_blocking(move |db| db.execute("INSERT INTO t VALUES (?1)", [x]));
        insert(1).unwrap();
        let failed = writer.write_blocking(|db| {
            db.execute("INSERT INTO t VALUES (2)", [])?;
            db.execute("INSERT INTO t VALUES (1)", [])
        });
        assert!(matches!(failed, Err(StoreError::Sqlite(_))));
        insert(3).unwrap();
        let all: Vec<i64> = writer
            .write_blocking(|db| db.prepare("SELECT x FROM t")?.query_map([], |row| row.get(0))?.collect())
            .unwrap();
        assert_eq!(all, [1, 3]);
        writer.close();
        assert!(matches!(insert(4), Err(StoreError::Closed)));
    }

    #[test]
    fn what_was_begun_is_done_whether_or_not_anybody_waits() {
        let writer = writer();
        let insert = |x: i64| writer.begin_blocking(move |db| db.execute("INSERT INTO t VALUES (?1)", [x])).unwrap();
        drop(insert(1));
        assert_eq!(insert(2).wait().unwrap(), 1);
        assert!(matches!(insert(1).wait(), Err(StoreError::Sqlite(_))), "it is there already");
    }

    /// A writer on a file, whose first piece of work holds the others back until they are all in one group.
    fn grouped<T: Send + 'static>(
        first: impl FnOnce(&Savepoint<'_>) -> rusqlite::Result<T> + Send + 'static,
        path: &std::path::Path,
    ) -> Vec<Result<(), StoreError>> {
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        connection.execute_batch("CREATE TABLE IF NOT EXISTS t (x INTEGER PRIMARY KEY) STRICT").unwrap();
        let writer = Writer::start(connection);
        let (go, gone) = std::sync::mpsc::sync_channel::<()>(1);
        let (begun, began) = std::sync::mpsc::sync_channel::<()>(1);
        let sender = writer.sender().unwrap();
        let (hold, held) = prepare(move |_| {
            begun.send(()).unwrap();
            gone.recv().unwrap();
            Ok(())
        });
        sender.blocking_send(hold).unwrap();
        began.recv().unwrap();
        let (work, first) = prepare(move |db| first(db).map(|_| ()));
        sender.blocking_send(work).unwrap();
        let mut answers = vec![first];
        for x in 10..13 {
            let (work, answer) = prepare(move |db| db.execute("INSERT INTO t VALUES (?1)", [x]).map(|_| ()));
            sender.blocking_send(work).unwrap();
            answers.push(answer);
        }
        go.send(()).unwrap();
        held.blocking_recv().unwrap().unwrap();
        answers.into_iter().map(|answer| answer.blocking_recv().unwrap_or(Err(StoreError::Closed))).collect()
    }

    #[test]
    fn everyone_of_a_group_that_cannot_be_committed_hears_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let rolls_back = |db: &Savepoint<'_>| db.execute_batch("INSERT INTO t VALUES (1); ROLLBACK");
        let answers = grouped(rolls_back, &path);
        assert_eq!(answers.len(), 4);
        for answer in &answers {
            assert!(matches!(answer, Err(StoreError::NotCommitted(_) | StoreError::Sqlite(_))), "{answer:?}");
        }
        let kept: i64 =
            Connection::open(&path).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 0, "nothing that is said to have failed is there");
    }

    #[test]
    fn a_database_that_is_locked_is_no_closed_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let connection = Connection::open(&path).unwrap();
        connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        connection.execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY) STRICT").unwrap();
        let writer = Writer::start(connection);
        let insert = |x: i64| writer.write_blocking(move |db| db.execute("INSERT INTO t VALUES (?1)", [x]));
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let refused = insert(1);
        assert!(matches!(refused, Err(StoreError::NotCommitted(_))), "{refused:?}");
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(insert(1).unwrap(), 1, "and it goes on");
    }
}
