//! Kafka services: typed topics, handlers, at-least-once delivery without stopping the flow, tests without a broker.
//!
//! A [`Topic`] says what its keys and values are and how they are encoded. A [`Service`] says what it reads, what it
//! writes, and what it does with a record; it holds a state of its own for each partition. The declaration is what is
//! validated, described, tested and run:
//!
//! ```
//! use std::collections::HashMap;
//! use std::time::Duration;
//!
//! use millstream::codec::{Json, Text};
//! use millstream::testing::World;
//! use millstream::{Context, OnError, ProcessError, Record, Service, Topic};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Call {
//!     seconds: f64,
//! }
//!
//! static CALLS: Topic<String, Call> = Topic::new("calls", &Text, &Json).partitions(4);
//! static TOTALS: Topic<String, f64> = Topic::new("call-totals", &Text, &Json).partitions(4);
//!
//! /// The state of one partition: the seconds each caller has talked.
//! #[derive(Default)]
//! struct Totals(HashMap<String, f64>);
//!
//! impl Totals {
//!     fn on_call(&mut self, call: Record<String, Call>, context: &mut Context) -> Result<(), ProcessError> {
//!         if call.value.seconds < 0.0 {
//!             return Err(ProcessError::new("a call cannot take less than no time").permanent());
//!         }
//!         let before = self.0.get(&call.key).copied().unwrap_or_default();
//!         let total = before + call.value.seconds;
//!         context.emit(&TOTALS, &call.key, &total)?;
//!         // Last, when nothing can fail any more: a retry must not count the call twice.
//!         self.0.insert(call.key, total);
//!         Ok(())
//!     }
//! }
//!
//! fn call_totals() -> Service<Totals> {
//!     Service::new("call-totals", Totals::default)
//!         .input(&CALLS, Totals::on_call)
//!         .output(&TOTALS)
//!         .on_error(OnError::retry(3).then_dead_letter())
//!         .commit_every(Duration::from_millis(500))
//! }
//!
//! // The same service, in a simulated cluster: no broker, no waiting. The first attempt at each call fails and is retried.
//! let mut world = World::new();
//! world.fail_first_attempts();
//! world.start(call_totals())?;
//! world.send(&CALLS, "ann", &Call { seconds: 60.0 });
//! world.send(&CALLS, "ann", &Call { seconds: 30.0 });
//! world.run()?;
//! let totals: Vec<f64> = world.read(&TOTALS).into_iter().map(|total| total.value).collect();
//! assert_eq!(totals, [60.0, 90.0]);
//! # Ok::<(), millstream::Error>(())
//! ```
//!
//! In production the last part is two lines. The service runs until Ctrl-C or SIGTERM, drains what is under way and commits it:
//!
//! ```no_run
//! # use millstream::{Cluster, Service, Shutdown};
//! # fn call_totals() -> Service<()> { Service::stateless("call-totals") }
//! let summary = call_totals().run(&Cluster::new("kafka:9092"), Shutdown::on_signals()?)?;
//! println!("{} records", summary.read);
//! # Ok::<(), millstream::Error>(())
//! ```
//!
//! # What is promised
//!
//! - A record is committed when all of its effects are acknowledged, and never before one that is not (at least once). A
//!   commit stops nothing.
//! - Effects leave only when the handler has returned `Ok`; a handler's panic is treated as an error.
//! - A record that cannot be processed is retried, dead-lettered or stops the service, as declared; nothing is skipped
//!   silently.
//! - A partition that is taken away is drained and committed first; what is late afterwards is dropped.
//! - What is sent and not yet acknowledged is bounded in bytes, whatever the cluster does.
//! - State lives in memory and starts empty where a partition starts, also after a delivery that failed.
//! - A failed attempt leaves the state as it was when the handler returned: see [`Service::new`].
//!
//! # What blocks
//!
//! | call | blocks |
//! |---|---|
//! | [`Service::run`] | until the service ends: a shutdown takes the drain budget and 5 s at most, then [`Error::Stuck`] |
//! | a handler or a timer | its thread, and with it all partitions of that thread: no record, no commit. After 5 minutes Kafka takes the partitions away |
//! | [`Context`] | never |
//! | [`Emitter::send`] | while the queue is full, until the cluster has acknowledged enough of it or the client has given up on it |
//! | [`Emitter::flush`], [`Emitter::close`] | until every record is decided, at most as long as it is given; dropping the last handle: at most 5 s |
//! | [`reader::Plan::open`] | a few requests, each at most its [patience](reader::Plan::patience): 10 s |
//! | [`Reader::poll`] | at most as long as it is given; as an iterator, until there is a record |
//! | [`admin::Admin`] | each request at most its [patience](admin::Admin::patience): 15 s |
//! | [`Shutdown::wait`] | until the request, at most as long as it is given |
//!
//! # Where things are
//!
//! [`codec`] has the codecs, [`reader`] and [`Emitter`] are for programs that only read or only write, [`admin`] for those that
//! manage, [`http`] and [`metrics`] for watching, [`testing`] for tests.

pub mod admin;
mod clock;
pub mod codec;
mod config;
mod context;
pub mod dead_letter;
mod definition;
mod describe;
mod draft;
mod emitter;
mod error;
pub mod http;
mod limits;
mod log;
pub mod merged;
pub mod metrics;
mod policy;
pub mod reader;
mod record;
mod runtime;
mod service;
mod shutdown;
mod startup;
pub mod testing;
mod topic;
mod watch;
mod worker;

pub use clock::{Clock, Moment, SystemClock};
pub use config::Cluster;
pub use context::{Context, OpenRecord};
pub use dead_letter::DeadLetter;
pub use describe::{Description, PolicyDescription, TopicDescription};
pub use draft::Draft;
pub use emitter::{Counts, Emitter};
pub use error::{Class, Error, Outcome, ProcessError};
pub use policy::{Delivery, OnError, Start};
pub use reader::Reader;
pub use record::{Header, Headers, OwnedRecord, Position, Record, Timestamp};
pub use runtime::Summary;
pub use service::Service;
pub use shutdown::Shutdown;
pub use topic::{NextOffset, Offset, Partition, Topic, TopicPartition, TopicSpec};
