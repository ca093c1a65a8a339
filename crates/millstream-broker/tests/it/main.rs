//! The broker from outside, as clients see it. Without `KAFKA=host:port` each test starts an embedded broker.
//!
//! The modules say `cfg(test)` although nothing else is built here: it tells clippy that their helpers are test code too.

#[cfg(test)]
mod clients_rdkafka;
#[cfg(test)]
mod clients_rskafka;
#[cfg(test)]
mod support;
