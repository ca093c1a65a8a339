//! A cluster in memory, driven by one seed: topics, groups, faults and a clock that moves only when a test moves it.
//!
//! Nothing here runs by itself. A scheduler (`testing`) steps workers in an order drawn from the seed and moves the
//! clock; every answer of the cluster, its delay and whether it fails is drawn from the same generator, so a run is
//! a function of its seed and can be replayed. What a member sees is what librdkafka shows it, including the
//! parts that hurt: a commit that was applied and answered with an error, a delivery of unknown outcome, a member that is
//! thrown out of its group and learns of it late.

mod clock;
mod commits;
mod faults;
mod group;
mod journal;
mod log;
mod member;
mod partitioner;
mod reading;
mod topics;
mod world;
mod writing;

pub(crate) use clock::VirtualClock;
pub use faults::Faults;
pub(crate) use journal::{Journal, Requested};
pub(crate) use log::SimulatedLog;
pub(crate) use member::Subscription;
pub(crate) use topics::Stored;
pub(crate) use world::{MemberId, Simulation};
