//! The broker from outside, as its clients meet it, over TCP.
//!
//! Without `KAFKA=host:port` each test starts an embedded broker; with it they run against Apache Kafka, for which all
//! topics have unique names. What speaks the bare protocol (`cluster`) needs a cluster of one broker. The modules under `embedded` are about the own broker's process and start one in either case.
//! The modules say `cfg(test)` although nothing else is built here: it tells clippy that their helpers are test code too.

#[cfg(test)]
mod broker_configs;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod support;

#[cfg(test)]
mod clients_rdkafka;
#[cfg(test)]
mod clients_rskafka;
#[cfg(test)]
mod compaction;
#[cfg(test)]
mod configs;
#[cfg(test)]
mod consumer_groups;
#[cfg(test)]
mod descriptions;
#[cfg(test)]
mod fetching;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod listeners;
#[cfg(test)]
mod offsets;
#[cfg(test)]
mod producing;
#[cfg(test)]
mod security;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod topics;
#[cfg(test)]
mod transactions;
#[cfg(test)]
mod versions;
