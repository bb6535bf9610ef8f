//! The jobs on disk.
//!
//! A job is a record, and as long as it has not ended, beside it what it does. Both are written in one transaction before
//! the client hears that the job was accepted; when it ends, the record is replaced and the other removed in one
//! transaction. So after a crash every accepted job either has ended or is still to be run: what is found beside a record
//! is what must run. That a job has begun is not written: nothing follows from it.

use super::record::JobRecord;
use crate::error::{ApiError, ErrorCode};
use crate::work::Work;
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
const WORK: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("work");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// The number of the next job.
const NEXT: &str = "next";
/// Bytes of the file that are kept in memory.
const CACHE_BYTES: usize = 4 << 20;
/// Jobs that have ended and are remembered.
pub(super) const MAX_FINISHED: u64 = 10_000;
/// Jobs that are forgotten at once.
const FORGOTTEN_AT_ONCE: u64 = 100;

/// The jobs on disk. One process uses them at a time.
#[derive(Debug)]
pub struct JobStore {
    path: PathBuf,
    /// `None` between a failure of the disk and the next use, when the file is opened anew.
    db: Mutex<Option<Database>>,
}

impl JobStore {
    /// Opens the store in a folder, or makes it.
    ///
    /// # Errors
    /// A file that cannot be opened, or that another server uses.
    pub fn open(folder: &Path) -> Result<JobStore, ApiError> {
        let store = JobStore { path: folder.join("queue.redb"), db: Mutex::new(None) };
        store.create_tables()?;
        Ok(store)
    }

    fn create_tables(&self) -> Result<(), ApiError> {
        self.write(|transaction| {
            transaction.open_table(RECORDS)?;
            transaction.open_table(WORK)?;
            transaction.open_table(NUMBERS)?;
            Ok(())
        })
    }

    /// A store in memory, for a process that keeps no job.
    ///
    /// # Errors
    /// Those of [`JobStore::open`].
    #[cfg(feature = "nats")]
    pub fn in_memory() -> Result<JobStore, ApiError> {
        let mut store = JobStore { path: PathBuf::from("queue"), db: Mutex::new(None) };
        let memory = redb::backends::InMemoryBackend::new();
        let opened = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(memory);
        let db = opened.map_err(|error| store.failed(&error.into()))?;
        store.db = Mutex::new(Some(db));
        store.create_tables()?;
        Ok(store)
    }

    fn failed(&self, error: &redb::Error) -> ApiError {
        let path = self.path.display();
        match error {
            redb::Error::DatabaseAlreadyOpen => {
                ApiError::failed(format!("{path}: another server uses it; name another state folder"))
            }
            redb::Error::Io(error) => ApiError::io(&path.to_string(), error),
            redb::Error::PreviousIo => ApiError::new(ErrorCode::DiskFull, format!("{path}: {error}")),
            error => ApiError::failed(format!("{path}: {error}")),
        }
    }

    fn opened(&self) -> Result<MutexGuard<'_, Option<Database>>, redb::Error> {
        let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        if db.is_none() {
            *db = Some(Database::builder().set_cache_size(CACHE_BYTES).create(&self.path)?);
        }
        Ok(db)
    }

    /// Does something in a transaction that is on disk when this returns. After a failure of the disk the store is as it
    /// was before, and is opened anew with its next use.
    fn write<R>(
        &self,
        mut change: impl FnMut(&WriteTransaction) -> Result<R, redb::Error>,
    ) -> Result<R, ApiError> {
        let mut try_once = || -> Result<R, redb::Error> {
            let mut guard = self.opened()?;
            let db = guard.as_ref().expect("it was opened");
            let result = (|| {
                let transaction = db.begin_write()?;
                let result = change(&transaction)?;
                transaction.commit()?;
                Ok(result)
            })();
            if let Err(redb::Error::Io(_) | redb::Error::PreviousIo) = &result {
                *guard = None;
            }
            result
        };
        let result = match try_once() {
            // It was another transaction's: this one may do.
            Err(redb::Error::PreviousIo) => try_once(),
            result => result,
        };
        result.map_err(|error| self.failed(&error))
    }

    /// Looks at the store as it is at a moment. A write that fails meanwhile closes the file; then this looks once more, and
    /// no other thread can close it.
    fn read<R>(
        &self,
        look: impl Fn(&redb::ReadTransaction) -> Result<R, redb::Error>,
    ) -> Result<R, ApiError> {
        let with_others = || -> Result<R, redb::Error> {
            let guard = self.opened()?;
            let transaction = guard.as_ref().expect("it was opened").begin_read()?;
            drop(guard);
            look(&transaction)
        };
        let alone = || -> Result<R, redb::Error> {
            let mut guard = self.opened()?;
            let read = |db: &Database| look(&db.begin_read()?);
            match read(guard.as_ref().expect("it was opened")) {
                // What failed before is remembered until the file is opened anew.
                Err(redb::Error::DatabaseClosed | redb::Error::PreviousIo) => *guard = None,
                result => return result,
            }
            drop(guard);
            read(self.opened()?.as_ref().expect("it was opened"))
        };
        let result = match with_others() {
            Err(redb::Error::DatabaseClosed | redb::Error::PreviousIo) => alone(),
            result => result,
        };
        result.map_err(|error| self.failed(&error))
    }

    /// Adds a job behind all others, and gives its number, with which `complete` fills in what depends on it.
    ///
    /// # Errors
    /// A failure of the disk. Then the job is not in the store.
    pub fn insert(
        &self,
        record: &mut JobRecord,
        work: &[u8],
        complete: impl Fn(&mut JobRecord),
    ) -> Result<(), ApiError> {
        self.write(|transaction| {
            let mut numbers = transaction.open_table(NUMBERS)?;
            let id = numbers.get(NEXT)?.map_or(1, |next| next.value());
            numbers.insert(NEXT, id + 1)?;
            record.id = id;
            complete(record);
            transaction.open_table(RECORDS)?.insert(id, &*to_bytes(record))?;
            transaction.open_table(WORK)?.insert(id, work)?;
            Ok(())
        })
    }

    /// Writes a job that has ended: it will not run again.
    ///
    /// # Errors
    /// A failure of the disk. Then the job runs once more after the next start.
    pub fn finish(&self, record: &JobRecord) -> Result<(), ApiError> {
        self.write(|transaction| {
            let mut records = transaction.open_table(RECORDS)?;
            records.insert(record.id, &*to_bytes(record))?;
            let mut work = transaction.open_table(WORK)?;
            work.remove(record.id)?;
            if records.len()?.saturating_sub(work.len()?) > MAX_FINISHED + FORGOTTEN_AT_ONCE {
                let mut oldest = Vec::new();
                for entry in records.iter()? {
                    let id = entry?.0.value();
                    if work.get(id)?.is_none() {
                        oldest.push(id);
                    }
                    if oldest.len() as u64 == FORGOTTEN_AT_ONCE {
                        break;
                    }
                }
                for id in oldest {
                    records.remove(id)?;
                }
            }
            Ok(())
        })
    }

    /// What a job does, if it has not ended.
    ///
    /// # Errors
    /// A failure of the disk, or a job of another version that this one cannot read.
    pub fn work(&self, id: u64) -> Result<Option<Work>, ApiError> {
        let bytes = self.read(|transaction| {
            Ok(transaction.open_table(WORK)?.get(id)?.map(|bytes| bytes.value().to_vec()))
        })?;
        let read = |bytes: Vec<u8>| {
            serde_json::from_slice(&bytes).map_err(|error| {
                ApiError::failed(format!("the job is of another version of this program: {error}"))
            })
        };
        bytes.map(read).transpose()
    }

    /// The record of a job.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn record(&self, id: u64) -> Result<Option<JobRecord>, ApiError> {
        self.read(|transaction| {
            let records = transaction.open_table(RECORDS)?;
            Ok(records.get(id)?.and_then(|bytes| serde_json::from_slice(bytes.value()).ok()))
        })
    }

    /// The jobs that have not ended, in their order, and the bytes that each has beside its record.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn unfinished(&self) -> Result<Vec<(JobRecord, usize)>, ApiError> {
        self.read(|transaction| {
            let (records, work) = (transaction.open_table(RECORDS)?, transaction.open_table(WORK)?);
            let mut found = Vec::new();
            for entry in work.iter()? {
                let (id, bytes) = entry?;
                let record = records.get(id.value())?;
                let record = record.and_then(|bytes| serde_json::from_slice(bytes.value()).ok());
                found.extend(record.map(|record| (record, bytes.value().len())));
            }
            Ok(found)
        })
    }

    /// The newest jobs, newest first.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn newest(&self, limit: usize) -> Result<Vec<JobRecord>, ApiError> {
        self.read(|transaction| {
            let records = transaction.open_table(RECORDS)?;
            let mut found = Vec::new();
            for entry in records.iter()?.rev().take(limit) {
                found.extend(serde_json::from_slice::<JobRecord>(entry?.1.value()).ok());
            }
            Ok(found)
        })
    }
}

fn to_bytes(record: &JobRecord) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record is plain data")
}
