//! Integrals over many machines: requests go in as JSON, waves of tasks go out to workers, honest answers come back.
//!
//! `producer` asks for integrals, `coordinator` plans each of them and decides when it is done, `worker`s compute, `consumer`
//! stores what came out; `client` is how any program asks and follows. What is computed, and when to stop, is the work of
//! `millstream-montecarlo`, a pure function of the request: where its parts are computed, how often and in which order changes
//! no bit of an answer.
//!
//! The coordinator is a fold over its partitions of `integration-partials`, which is its log: what `wire` calls events. A
//! request becomes an event there, results of tasks are events, and so are its own checkpoints and ends; whoever takes a
//! partition over reads the log from the oldest checkpoint of a job that has not ended, and goes on.

pub mod arrival;
pub mod catalogue;
pub mod client;
pub mod consumer;
pub mod coordinator;
pub mod metrics;
pub mod producer;
pub mod records;
pub mod store;
pub mod topics;
pub mod wire;
pub mod worker;

/// The mathematics itself, for programs that compute in their own process as well.
pub use millstream_montecarlo as mathematics;
