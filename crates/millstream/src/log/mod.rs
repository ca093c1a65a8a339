//! Where records come from and go to: the narrow face of a Kafka cluster, and its implementations.

pub(crate) mod kafka;
