//! A cluster and a network for the client's own tests: seeded, on a clock that is made up, with everything that can go wrong.
//!
//! The client's state machines run here exactly as they run on sockets. [`cluster`] is what Kafka's brokers do with requests, as far as the client
//! can tell; [`world`] carries requests and answers, late, cut off or never,
//! and judges in the end what is in the logs; [`brokers`] answers.

mod brokers;
mod cluster;
pub(crate) mod tests;
mod world;
