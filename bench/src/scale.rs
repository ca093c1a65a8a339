//! What many connections and many partitions cost a broker: the last rows of the suite `broker`.
//!
//! Connections each ask once and then idle. Partitions are counted when a broker starts on a folder that has them:
//! it answers nobody before it has opened them all.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;

use crate::brokers::{self, Broker, MILLSTREAM};
use crate::client::{Topics, produce};
use crate::clock::pause;
use crate::crew::Crew;
use crate::report::{Bound, Report, Target};
use crate::usage;

const CONNECTIONS: usize = 1_000;
const PARTITIONS: i32 = 2_000;
/// Ten to a partition.
const RECORDS: u64 = 20_000;
const IDLE: &str = "1,000 idle connections";
const OPEN: &str = "ready with 2,000 partitions";

/// Measures what idle connections add to the memory of `broker`.
pub(crate) fn connections(broker: &Broker, suite: &'static str, report: &mut Report) -> Result<()> {
    let before = usage::memory(broker.pid)?.now;
    let idle = (0..CONNECTIONS)
        .map(|_| brokers::connect(&broker.address))
        .collect::<Result<Vec<TcpStream>>>()?;
    pause(Duration::from_secs(1));
    let after = usage::memory(broker.pid)?.now;
    report.add(suite, IDLE, broker.name, "MiB", after - before);
    drop(idle);
    Ok(())
}

/// Measures how long Millstream's broker takes to start on a folder with many partitions.
pub(crate) fn partitions(crew: &Crew, suite: &'static str, report: &mut Report) -> Result<()> {
    let broker = brokers::start_millstream(crew)?;
    let topic = Topics::new(&broker.address)?.create("many", PARTITIONS)?;
    produce(&broker.address, &topic, PARTITIONS, RECORDS)?;
    let again = brokers::restart_millstream(crew, broker)?;
    let ready = again.ready.as_secs_f64() * 1000.0;
    report.add(suite, OPEN, again.name, "ms", ready);
    Ok(())
}

/// What both must reach.
pub(crate) fn targets(suite: &'static str) -> [Target; 2] {
    [(IDLE, 64.0), (OPEN, 2_000.0)].map(|(row, most)| Target {
        suite,
        row: row.to_owned(),
        peer: MILLSTREAM,
        by: None,
        bound: Bound::AtMost(most),
    })
}
