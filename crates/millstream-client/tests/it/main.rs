//! The client against a real broker, over TCP.
//!
//! Without `KAFKA=host:port` each test starts an embedded broker; with it they run against Apache Kafka, for which all
//! topics and groups have names of their own. The modules say `cfg(test)` although nothing else is built here: it tells clippy that their helpers are test code too.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod path;
#[cfg(test)]
mod security;
#[cfg(test)]
mod support;
#[cfg(test)]
mod transactions;
