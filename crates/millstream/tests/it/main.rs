//! What the library promises, held against a broker, and in the simulation where no broker is needed.
//!
//! The broker is Apache Kafka at `KAFKA=host:port`, or else the embedded one, started here on a port of its own.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod emitter;
#[cfg(test)]
mod names;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod reader;
#[cfg(test)]
mod service;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod support;
