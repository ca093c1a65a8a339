//! What clients send: frames, requests, batches of records.
//!
//! A request is answered by a broker without a socket, as far as that is possible without waiting; what waits is dropped, as when a
//! connection closes.

use std::cell::RefCell;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use tokio::runtime::Runtime;

use super::seal;
use crate::api::{self, Client, Handling};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::Config;
use crate::frame::{Header, check_length};
use crate::listener::Endpoint;
use crate::log::{Isolation, LogConfig, Partition, Pass, Span};
use crate::producers::Census;
use crate::security::Principal;
use crate::topics::config::Overrides;

/// The time of day, in milliseconds since 1970.
pub(super) const NOW: i64 = 1_700_000_000_000;

/// A length and what follows it.
pub(super) fn frames(_: &Path, bytes: &[u8]) {
    let Some((length, frame)) = bytes.split_first_chunk() else {
        return;
    };
    let key = frame
        .first_chunk()
        .map_or(0, |key| i16::from_be_bytes(*key));
    check_length(i64::from(i32::from_be_bytes(*length)), key, 100 << 20).ok();
    Header::decode(&mut Bytes::copy_from_slice(frame)).ok();
}

/// A broker that answers requests, without a socket.
struct Answering {
    runtime: Runtime,
    broker: Broker,
    client: Client,
    left: usize,
}

/// After so many requests the broker is thrown away: they may have filled it.
const REQUESTS: usize = 2000;

thread_local! {
    static ANSWERING: RefCell<Option<Answering>> = const { RefCell::new(None) };
}

impl Answering {
    fn new(folder: &Path) -> Option<Answering> {
        fs::remove_dir_all(folder).ok();
        let mut config = Config::ephemeral(folder);
        config.clock = Clock::manual(NOW);
        config.max_partitions = 4;
        let broker = Broker::open(config).ok()?;
        broker.topics.create("calls", 2, Overrides::new()).ok()?;
        let endpoint = Endpoint {
            name: String::new(),
            host: StrBytes::from_static_str("localhost"),
            port: 9092,
            tls: None,
            sasl: false,
            keeps_secrets: true,
        };
        Some(Answering {
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .ok()?,
            broker,
            client: Client {
                id: None,
                host: IpAddr::V4(Ipv4Addr::LOCALHOST),
                endpoint: Arc::new(endpoint),
                principal: Principal::anonymous(),
                handling: Handling::default(),
            },
            left: REQUESTS,
        })
    }

    /// Answers as far as that is possible without waiting.
    fn answer(&mut self, frame: &[u8]) {
        self.left -= 1;
        let mut body = Bytes::copy_from_slice(frame);
        let Ok(header) = Header::decode(&mut body) else {
            return;
        };
        self.runtime.block_on(async {
            let mut answer = pin!(api::answer(&self.broker, &self.client, &header, body));
            std::future::poll_fn(|context| {
                let _ = answer.as_mut().poll(context);
                Poll::Ready(())
            })
            .await;
        });
    }
}

/// A frame without its length, answered by a broker.
pub(super) fn requests(folder: &Path, bytes: &[u8]) {
    ANSWERING.with_borrow_mut(|answering| {
        answering.take_if(|answering| answering.left == 0);
        if answering.is_none() {
            *answering = Answering::new(folder);
        }
        if let Some(answering) = answering {
            answering.answer(bytes);
        }
    });
}

/// A batch, stored, read, looked up by its time, and compacted; by its first byte as it is or sealed.
pub(super) fn batches(folder: &Path, bytes: &[u8]) {
    fs::remove_dir_all(folder).ok();
    fs::create_dir_all(folder).ok();
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let sealed = match kind & 1 {
        0 => bytes.to_vec(),
        _ => seal::batch(bytes),
    };
    let config = LogConfig {
        compact: kind & 2 != 0,
        // Each batch has a segment of its own.
        segment_ms: 0,
        min_dirty_ratio: 0.0,
        ..LogConfig::default()
    };
    let Ok(log) = Partition::open(folder, &Arc::new(config), &Census::new(100), NOW) else {
        return;
    };
    for (after, bytes) in [(0, sealed), (1, seal::plain()), (2, seal::plain())] {
        if let Ok(batch) = log.check(bytes.into(), NOW + after) {
            log.store(&batch, Some(log.markers()), NOW + after).ok();
        }
    }
    read(&log);
    let pass = Pass {
        now_ms: NOW + 10,
        most_keys: 4,
        stopping: &|| false,
    };
    log.compact(pass).ok();
    read(&log);
    log.close().ok();
}

/// Reads all that is in a log, in every way.
pub(super) fn read(log: &Partition) {
    for isolation in [Isolation::Uncommitted, Isolation::Committed] {
        let end = log.readable_end(isolation);
        for from in log.start_offset()..end.min(log.start_offset() + 20) {
            log.read(Span {
                from,
                max_bytes: 100,
                at_least_one: true,
                isolation,
            })
            .ok();
        }
    }
    for time in [i64::MIN, 0, NOW, i64::MAX] {
        log.offset_for_time(time).ok();
    }
    log.max_timestamp().ok();
}
