//! Sender and receiver: the smallest system, one record type on one topic.
//!
//! `send` writes a message each 100 ms; `receive` reads them in a consumer group, so that several receivers share
//! the load, and tells how long each was on its way.

pub mod receive;
pub mod records;
pub mod send;
pub mod statistics;
pub mod topics;
