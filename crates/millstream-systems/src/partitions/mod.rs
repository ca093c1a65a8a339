//! Who reads which partition: a producer of many threads, and a consumer of many processes.
//!
//! `produce` writes a set number of records from N threads over one shared producer; `consume` starts M processes,
//! gives each its share of the partitions by hand, or leaves that to a consumer group, and shows who reads what.

pub mod board;
pub mod consume;
pub mod produce;
pub mod records;
pub mod share;
pub mod topics;
pub mod worker;
