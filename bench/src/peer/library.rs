//! The copy service on the library: what a user of Millstream writes.
//!
//! The same record type, settings and topics as the loop by hand. Keys travel as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use millstream::codec::{Json, Raw};
use millstream::{Cluster, Context, ProcessError, Record, Service, Shutdown, Topic};

use super::Orders;
use crate::clock::pause;
use crate::reading::Reading;

type Readings = Topic<Vec<u8>, Reading>;

static READINGS: Readings = Topic::new("readings", &Raw, &Json);

pub(super) fn run(orders: &Orders, stop: Arc<AtomicBool>) -> Result<()> {
    let cluster = Cluster::new(&orders.brokers).properties([
        ("linger.ms", orders.linger_ms.to_string().as_str()),
        ("compression.type", "none"),
    ])?;
    let input = READINGS.clone().named(&orders.input);
    let output = READINGS.clone().named(&orders.output);
    let copies = output.clone();
    let copy = move |_: &mut (), record: Record<Vec<u8>, Reading>, context: &mut Context| {
        context.emit(&copies, &record.key, &record.value)?;
        Ok::<(), ProcessError>(())
    };
    let shutdown = Shutdown::new();
    let asked = shutdown.clone();
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            pause(Duration::from_millis(50));
        }
        asked.request();
    });
    Service::new("copy", || ())
        .group(&orders.group)
        .input(&input, copy)
        .output(&output)
        .threads(orders.threads)
        .commit_every(orders.commit_every())
        .run(&cluster, shutdown)?;
    Ok(())
}
