//! The copy service as one would write it by hand on rdkafka, with care for its speed.
//!
//! Each thread has a consumer of the group and a producer. It polls, parses, serialises into a buffer that it
//! keeps, sends; every so often it waits until everything is delivered and commits what it has read. It drains by polling
//! until nothing is in flight (rdkafka's own `flush` sleeps in steps of 100 ms). That is the loop of every tutorial
//! in every language.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::Orders;
use crate::client::{Sender, consumer_config};
use crate::clock::Clock;
use crate::reading::Reading;

/// The next offset of each partition that was read since the last commit.
type Read = BTreeMap<i32, i64>;

/// Waits until everything that was sent is delivered.
type Flush = fn(&Sender) -> Result<()>;

pub(super) fn run(orders: &Orders, stop: &AtomicBool, flush: Flush) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..orders.threads)
            .map(|_| scope.spawn(|| copy(orders, stop, flush)))
            .collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_panic| anyhow!("a thread panicked"))??;
        }
        Ok(())
    })
}

fn copy(orders: &Orders, stop: &AtomicBool, flush: Flush) -> Result<()> {
    let consumer: BaseConsumer = consumer_config(&orders.brokers, &orders.group).create()?;
    consumer.subscribe(&[&orders.input])?;
    let sender = Sender::new(&orders.brokers, orders.linger())?;
    let clock = Clock::new();
    let mut due = orders.commit_every();
    let mut out = Vec::new();
    let (mut seen, mut read) = (0_u32, Read::new());
    while !stop.load(Ordering::Relaxed) {
        let message = consumer.poll(Duration::from_millis(10)).transpose()?;
        let idle = message.is_none();
        if let Some(message) = message {
            let value = message.payload().context("a record has no value")?;
            let reading: Reading = serde_json::from_slice(value)?;
            out.clear();
            serde_json::to_writer(&mut out, &reading)?;
            sender.send(&orders.output, None, message.key(), &out)?;
            read.insert(message.partition(), message.offset() + 1);
            seen = seen.wrapping_add(1);
        }
        // Neither reports nor the clock are worth a look at every record.
        if idle || seen.is_multiple_of(64) {
            sender.serve(Duration::ZERO);
            if clock.now() >= due {
                flush(&sender)?;
                commit(&consumer, orders, &mut read)?;
                due = clock.now() + orders.commit_every();
            }
        }
    }
    flush(&sender)?;
    commit(&consumer, orders, &mut read)
}

/// Commits what was read and is delivered by now. A partition that was taken away in between is read again by
/// its new owner: at least once is kept, and nothing is done to make it rarer.
fn commit(consumer: &BaseConsumer, orders: &Orders, read: &mut Read) -> Result<()> {
    let mut offsets = TopicPartitionList::new();
    for (partition, next) in std::mem::take(read) {
        offsets.add_partition_offset(&orders.input, partition, Offset::Offset(next))?;
    }
    if offsets.count() == 0 {
        return Ok(());
    }
    match consumer.commit(&offsets, CommitMode::Sync) {
        Ok(())
        | Err(KafkaError::ConsumerCommit(
            RDKafkaErrorCode::RebalanceInProgress
            | RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::UnknownMemberId,
        )) => Ok(()),
        Err(error) => Err(error).context("failed to commit"),
    }
}
