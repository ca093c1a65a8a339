//! Transactions, as librdkafka runs them and request by request.

mod clients;
mod protocol;
mod second_generation;
mod views;

pub(crate) use clients::read;
