//! A Kafka client in pure Rust: one thread drives its own connections; no runtime, no locks, no callbacks.
//!
//! ```no_run
//! use std::time::Duration;
//! use millstream_client::{Client, Config, Event, Outbound, Start};
//!
//! let mut client = Client::new(&Config::new("127.0.0.1:9092")?)?;
//! let (input, output) = (client.topic("input"), client.topic("output"));
//! for partition in 0..client.partitions(input)? {
//!     client.assign(input, partition, Start::Earliest);
//! }
//! while let Some(event) = client.poll(Duration::from_secs(1))? {
//!     match event {
//!         Event::Records(chunk) => {
//!             for record in chunk.records() {
//!                 let record = record?;
//!                 let copy = Outbound { key: record.key, value: record.value, ..Outbound::default() };
//!                 client.send(output, &copy)?;
//!             }
//!         }
//!         Event::Delivered(delivery) => println!("{} records: {:?}", delivery.count, delivery.result),
//!         _ => {}
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! A [`Client`] is used by one thread and acts only while it is called; whoever has one calls [`Client::poll`] often. Records are encoded straight into the batch that is sent,
//! and read straight from the frame that brought them. What became of records that were sent is told by ranges ([`Delivery`]), never record by
//! record. Everything that decides is a state machine of (event, now) without sockets and clocks; a thin driver moves bytes.
//!
//! What is not the way of records (topics, offsets, configurations, groups) is done by [`Admin`](admin::Admin), with calls that block and connections of its own.
//!
//! # What is promised
//!
//! - A record that was reported as delivered is in the log once, and the records of a partition are there in the order in which they were sent.
//!   Producing is always idempotent, with `acks=all`.
//! - A record that was reported as failed has an [`Outcome`]: not applied, or unknown, which is never called a failure or a success.
//! - After [`Client::seek`], [`Client::pause`], [`Client::assign`] or [`Client::unassign`] nothing that was fetched before is returned.
//! - Bytes from a broker are never trusted: what is malformed is an error that names it, and memory follows what has arrived.
//!
//! # What does not stand yet
//!
//! The group protocol of KIP-848, KIP-890's transactions (those before it are there), fetching from the closest replica
//! (KIP-392), logins by Kerberos. [`Admin`](admin::Admin) reads ACLs and changes none, and does not move replicas. The library `millstream` does not use this client yet.

pub mod admin;
mod client;
mod clock;
mod cluster;
mod config;
mod connection;
mod error;
mod event;
mod exchange;
mod fetcher;
mod group;
mod machines;
mod producer;
#[cfg(test)]
mod simulation;
mod transaction;
pub mod wire;

pub use client::{Client, Outbound};
pub use cluster::Topic;
pub use config::{Config, Kind, PROPERTIES, Property};
pub use error::{Class, Error, Outcome};
pub use event::Event;
pub use fetcher::position::{Chunk, Position, Start};
pub use producer::{Delivery, Sent};
pub use transaction::Ended;
pub use wire::records::{Headers, Record};
