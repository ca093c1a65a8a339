//! Holds the place of the log until it is there: batches in memory, nothing durable, nothing checked.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "goes away with the log"
)]
use crate::error::Error;
use bytes::{Bytes, BytesMut};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
#[derive(Clone, Debug, Default)]
pub(crate) struct LogConfig {}
#[derive(Debug, Default)]
struct Inner {
    batches: Vec<(i64, i64, Bytes)>,
    end: i64,
    waiters: Vec<Weak<Waiter>>,
}
#[derive(Debug, Default)]
pub(crate) struct Partition {
    inner: Mutex<Inner>,
}
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    pub(crate) log_append_time: i64,
    pub(crate) log_start_offset: i64,
}
pub(crate) struct Fetched {
    pub(crate) records: Bytes,
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
}
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    pub(crate) notify: tokio::sync::Notify,
}
pub(crate) struct Registration;
#[derive(Debug)]
pub(crate) struct ReadError;
#[derive(Debug)]
pub(crate) struct AppendError;
impl AppendError {
    pub(crate) fn code(&self) -> kafka_protocol::ResponseError {
        kafka_protocol::ResponseError::CorruptMessage
    }
}
impl ReadError {
    pub(crate) fn code(&self) -> kafka_protocol::ResponseError {
        kafka_protocol::ResponseError::OffsetOutOfRange
    }
}
impl std::fmt::Display for AppendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("x")
    }
}
impl Partition {
    pub(crate) fn open(_dir: &Path, _config: &LogConfig, _now: i64) -> Result<Partition, Error> {
        Ok(Partition::default())
    }
    pub(crate) fn configure(&self, _c: &LogConfig) {}
    pub(crate) fn append(&self, records: Bytes, _now_ms: i64) -> Result<Appended, AppendError> {
        let mut inner = self.inner.lock().unwrap();
        let base = inner.end;
        let mut rest = BytesMut::from(records);
        while rest.len() >= 61 {
            let len = i32::from_be_bytes(rest[8..12].try_into().unwrap()) as usize + 12;
            let mut batch = rest.split_to(len);
            let end = inner.end;
            batch[0..8].copy_from_slice(&end.to_be_bytes());
            batch[12..16].copy_from_slice(&0i32.to_be_bytes());
            let count = i32::from_be_bytes(batch[23..27].try_into().unwrap()) as i64 + 1;
            inner.batches.push((end, end + count, batch.freeze()));
            inner.end += count;
        }
        let waiters = std::mem::take(&mut inner.waiters);
        drop(inner);
        for w in waiters {
            if let Some(w) = w.upgrade() {
                w.notify.notify_one();
            }
        }
        Ok(Appended {
            base_offset: base,
            log_append_time: -1,
            log_start_offset: 0,
        })
    }
    pub(crate) fn read(
        &self,
        from: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Fetched, ReadError> {
        let inner = self.inner.lock().unwrap();
        if from < 0 || from > inner.end {
            return Err(ReadError);
        }
        let mut out = BytesMut::new();
        for (_, end, b) in &inner.batches {
            if *end <= from {
                continue;
            }
            if out.len() + b.len() > max_bytes && !(out.is_empty() && at_least_one) {
                break;
            }
            out.extend_from_slice(b);
        }
        Ok(Fetched {
            records: out.freeze(),
            high_watermark: inner.end,
            log_start_offset: 0,
        })
    }
    pub(crate) fn start_offset(&self) -> i64 {
        0
    }
    pub(crate) fn end_offset(&self) -> i64 {
        self.inner.lock().unwrap().end
    }
    pub(crate) fn offset_for_time(&self, _time: i64) -> Result<Option<(i64, i64)>, Error> {
        Ok(None)
    }
    pub(crate) fn max_timestamp(&self) -> Option<(i64, i64)> {
        None
    }
    pub(crate) fn on_append(&self, waiter: &Arc<Waiter>) -> Registration {
        self.inner
            .lock()
            .unwrap()
            .waiters
            .push(Arc::downgrade(waiter));
        Registration
    }
    pub(crate) fn retain(&self, _now: i64) -> Result<(), Error> {
        Ok(())
    }
    pub(crate) fn close(&self) -> Result<(), Error> {
        Ok(())
    }
    pub(crate) fn delete(&self) {}
}
