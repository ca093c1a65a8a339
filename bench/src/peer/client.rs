//! The copy service by hand on Millstream's own client, `millstream-client`.
//!
//! Each thread has one client, its share of the partitions, assigned by hand, and does what the loop on rdkafka does: it parses, serialises into a
//! buffer that it keeps, sends; every so often it waits until everything is delivered and commits what it has read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use millstream_client::{Chunk, Client, Config, Event, Outbound, Position, Start, Topic};

use super::Orders;
use crate::clock::Clock;
use crate::reading::Reading;

pub(super) fn run(orders: &Orders, stop: &AtomicBool) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..orders.threads)
            .map(|thread| scope.spawn(move || copy(orders, stop, thread)))
            .collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_panic| anyhow!("a thread panicked"))??;
        }
        Ok(())
    })
}

/// What one thread holds.
struct Copy {
    client: Client,
    output: Topic,
    /// Serialised values, in memory that is kept.
    out: Vec<u8>,
    /// Where each partition is read next, since the last commit.
    read: BTreeMap<(Topic, i32), Position>,
    /// Chunks that came while a commit was waited for.
    early: VecDeque<Chunk>,
}

fn copy(orders: &Orders, stop: &AtomicBool, thread: usize) -> Result<()> {
    let config = Config::new(&orders.brokers)?
        .set("linger.ms", &orders.linger_ms.to_string())?
        .set("auto.offset.reset", "earliest")?;
    let mut client = Client::new(&config)?;
    let input = client.topic(&orders.input);
    let share = (0..client.partitions(input)?).filter(|partition| {
        usize::try_from(*partition).is_ok_and(|at| at % orders.threads == thread)
    });
    let share: Vec<i32> = share.collect();
    for partition in share {
        client.assign(input, partition, Start::Earliest);
    }
    let output = client.topic(&orders.output);
    let mut copy = Copy {
        client,
        output,
        out: Vec::new(),
        read: BTreeMap::new(),
        early: VecDeque::new(),
    };
    let clock = Clock::new();
    let mut due = orders.commit_every();
    while !stop.load(Ordering::Relaxed) {
        match copy.early.pop_front() {
            Some(chunk) => copy.chunk(&chunk)?,
            None => match copy.client.poll(Duration::from_millis(10))? {
                Some(Event::Records(chunk)) => copy.chunk(&chunk)?,
                Some(event) => copy.other(event)?,
                None => {}
            },
        }
        if clock.now() >= due {
            copy.commit(orders)?;
            due = clock.now() + orders.commit_every();
        }
    }
    copy.commit(orders)
}

impl Copy {
    fn chunk(&mut self, chunk: &Chunk) -> Result<()> {
        for record in chunk.records() {
            let record = record?;
            let value = record.value.context("a record has no value")?;
            let reading: Reading = serde_json::from_slice(value)?;
            self.out.clear();
            serde_json::to_writer(&mut self.out, &reading)?;
            let copy = Outbound {
                key: record.key,
                value: Some(&self.out),
                ..Outbound::default()
            };
            self.client.send(self.output, &copy)?;
        }
        self.read
            .insert((chunk.topic, chunk.partition), chunk.next());
        Ok(())
    }

    fn other(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Records(chunk) => self.early.push_back(chunk),
            Event::Delivered(delivery) => drop(delivery.result?),
            Event::Committed { result, .. } => result?,
            Event::Halted { error, .. } => return Err(error.into()),
            _ => {}
        }
        Ok(())
    }

    /// Waits until all is delivered and commits what was read.
    fn commit(&mut self, orders: &Orders) -> Result<()> {
        self.client.flush();
        while !self.client.is_delivered() {
            if let Some(event) = self.client.poll(Duration::from_millis(10))? {
                self.other(event)?;
            }
        }
        let read = std::mem::take(&mut self.read);
        if read.is_empty() {
            return Ok(());
        }
        let read: Vec<_> = read
            .into_iter()
            .map(|((topic, partition), next)| (topic, partition, next))
            .collect();
        let commit = self.client.commit(&orders.group, &read);
        loop {
            match self.client.poll(Duration::from_millis(10))? {
                Some(Event::Committed { number, result }) if number == commit => {
                    return Ok(result?);
                }
                Some(event) => self.other(event)?,
                None => {}
            }
        }
    }
}
