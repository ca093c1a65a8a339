//! The suite `growth`: how the cost of Millstream's broker grows with partitions, connections, groups, bytes a record, and segments.
//!
//! One table for each, a column for each size. Nothing may grow faster than its size, and nothing may take a second. Each size has a
//! broker of its own on an empty folder.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::brokers;
use crate::client::{Sender, Topics, consume_of, produce, produce_of};
use crate::clock::{Clock, pause};
use crate::crew::Crew;
use crate::report::{Bound, Report, Target};
use crate::usage;

type Size = (&'static str, usize);

const PARTITIONS: [Size; 5] = [
    ("1", 1),
    ("10", 10),
    ("100", 100),
    ("1,000", 1_000),
    ("10,000", 10_000),
];
/// The broker takes 4,096.
const CONNECTIONS: [Size; 4] = [("10", 10), ("100", 100), ("1,000", 1_000), ("4,000", 4_000)];
const GROUPS: [Size; 4] = [("1", 1), ("10", 10), ("100", 100), ("1,000", 1_000)];
const BYTES: [Size; 5] = [
    ("100 B", 100),
    ("1 KB", 1_000),
    ("10 KB", 10_000),
    ("100 KB", 100_000),
    ("900 KB", 900_000),
];
const SEGMENTS: [Size; 5] = PARTITIONS;
/// How many bytes of each size of record.
const VOLUME: usize = 100_000_000;
const COMMITS: usize = 1_000;
/// What a row of these is held to.
const READY: &str = "ready again";

/// Runs the suite; quick ones leave out the largest sizes.
pub(crate) fn run(crew: &Crew, quick: bool, report: &mut Report) -> Result<()> {
    let some = |sizes: &[Size]| {
        let most = if quick { 3 } else { sizes.len() };
        sizes.iter().copied().take(most).collect::<Vec<Size>>()
    };
    for size in some(&PARTITIONS) {
        eprintln!("growth: {} partitions", size.0);
        partitions(crew, size, report)?;
    }
    for size in some(&CONNECTIONS) {
        eprintln!("growth: {} connections", size.0);
        connections(crew, size, report)?;
    }
    for size in some(&GROUPS) {
        eprintln!("growth: {} groups", size.0);
        groups(crew, size, report)?;
    }
    for size in some(&BYTES) {
        eprintln!("growth: records of {}", size.0);
        records(crew, size, report)?;
    }
    for size in some(&SEGMENTS) {
        eprintln!("growth: {} segments", size.0);
        segments(crew, size, report)?;
    }
    Ok(())
}

/// Of each curve, the largest size against the one before it, and the time of the largest.
pub(crate) fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    let curves: [(&'static str, &str, &[Size]); 5] = [
        ("partitions", "created", &PARTITIONS),
        ("partitions", READY, &PARTITIONS),
        ("connections", "connected", &CONNECTIONS),
        ("groups", READY, &GROUPS),
        ("segments", READY, &SEGMENTS),
    ];
    for (suite, row, sizes) in curves {
        if let [.., before, last] = sizes {
            let target = |by, bound| Target {
                suite,
                row: row.to_owned(),
                peer: last.0,
                by,
                bound,
            };
            let times = last.1 as f64 / before.1 as f64;
            targets.push(target(Some(before.0), Bound::AtMost(times)));
            targets.push(target(None, Bound::AtMost(1000.0)));
        }
    }
    targets
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn partitions(crew: &Crew, (name, count): Size, report: &mut Report) -> Result<()> {
    const SUITE: &str = "partitions";
    let broker = brokers::start_millstream(crew)?;
    let topics = Topics::new(&broker.address)?;
    let before = usage::memory(broker.pid)?.now;
    let count = i32::try_from(count)?;
    let (topic, created) = topics.create_with("many", count, &[])?;
    produce(&broker.address, &topic, count, 10 * count as u64)?;
    let grown = usage::memory(broker.pid)?.now - before;
    let again = brokers::restart_millstream(crew, broker)?;
    report.add(SUITE, "created", name, "ms", ms(created));
    report.add(SUITE, READY, name, "ms", ms(again.ready));
    report.add(SUITE, "memory, with ten records each", name, "MiB", grown);
    Ok(())
}

fn connections(crew: &Crew, (name, count): Size, report: &mut Report) -> Result<()> {
    const SUITE: &str = "connections";
    let broker = brokers::start_millstream(crew)?;
    let before = usage::memory(broker.pid)?.now;
    let clock = Clock::new();
    let all = (0..count)
        .map(|_| brokers::connect(&broker.address))
        .collect::<Result<Vec<TcpStream>>>()?;
    let took = clock.now();
    pause(Duration::from_secs(1));
    let after = usage::memory(broker.pid)?.now;
    report.add(SUITE, "connected", name, "ms", ms(took));
    report.add(SUITE, "memory", name, "MiB", after - before);
    drop(all);
    Ok(())
}

/// OffsetCommit 2 of a group without members: one offset of partition 0.
fn commit(group: &str, topic: &str, offset: usize) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    let body = [
        // Key 8, version 2, correlation 1, no client id.
        vec![0, 8, 0, 2, 0, 0, 0, 1, 0xff, 0xff],
        text(group),
        // No generation, no member; the broker's retention; one topic.
        [vec![0xff; 4], text(""), vec![0xff; 8], vec![0, 0, 0, 1]].concat(),
        text(topic),
        vec![0, 0, 0, 1, 0, 0, 0, 0],
        (offset as u64).to_be_bytes().to_vec(),
        text(""),
    ]
    .concat();
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

fn groups(crew: &Crew, (name, count): Size, report: &mut Report) -> Result<()> {
    const SUITE: &str = "groups";
    let broker = brokers::start_millstream(crew)?;
    let (topic, _) = Topics::new(&broker.address)?.create_with("committed", 1, &[])?;
    let mut connection = TcpStream::connect(&broker.address)?;
    let clock = Clock::new();
    for number in 0..COMMITS {
        connection.write_all(&commit(
            &format!("group-{}", number % count),
            &topic,
            number,
        ))?;
        let mut length = [0; 4];
        connection.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        connection.read_exact(&mut answer)?;
        ensure!(answer.ends_with(&[0, 0]), "a commit was refused");
    }
    let took = clock.now();
    drop(connection);
    let again = brokers::restart_millstream(crew, broker)?;
    report.add(SUITE, "1,000 commits", name, "ms", ms(took));
    report.add(SUITE, READY, name, "ms", ms(again.ready));
    Ok(())
}

fn records(crew: &Crew, (name, bytes): Size, report: &mut Report) -> Result<()> {
    const SUITE: &str = "bytes a record";
    let broker = brokers::start_millstream(crew)?;
    let (topic, _) = Topics::new(&broker.address)?.create_with("sized", 1, &[])?;
    let count = (VOLUME / bytes) as u64;
    let before = usage::cpu(broker.pid)?;
    let produced = produce_of(&broker.address, &topic, 1, (count, bytes))?;
    let consumed = consume_of(&broker.address, &topic, 1, (count, bytes))?;
    let used = usage::cpu(broker.pid)? - before;
    let megabytes = (count * bytes as u64) as f64 / 1e6;
    report.add(
        SUITE,
        "produced",
        name,
        "MB/s",
        megabytes / produced.as_secs_f64(),
    );
    report.add(
        SUITE,
        "consumed",
        name,
        "MB/s",
        megabytes / consumed.as_secs_f64(),
    );
    report.add(SUITE, "processor time", name, "ms/MB", ms(used) / megabytes);
    Ok(())
}

fn segments(crew: &Crew, (name, count): Size, report: &mut Report) -> Result<()> {
    const SUITE: &str = "segments";
    let broker = brokers::start_millstream(crew)?;
    let topics = Topics::new(&broker.address)?;
    let (topic, _) = topics.create_with("rolled", 1, &[("segment.ms", "1")])?;
    let sender = Sender::new(&broker.address, Duration::ZERO)?;
    let clock = Clock::new();
    for _ in 0..count {
        // Each a millisecond after the one before, so that it begins a segment.
        pause(Duration::from_millis(1));
        sender.send(&topic, Some(0), None, b"value")?;
        sender.drain()?;
    }
    let took = clock.now();
    drop(sender);
    let again = brokers::restart_millstream(crew, broker)?;
    report.add(SUITE, "rolled, each", name, "ms", ms(took) / count as f64);
    report.add(SUITE, READY, name, "ms", ms(again.ready));
    Ok(())
}
