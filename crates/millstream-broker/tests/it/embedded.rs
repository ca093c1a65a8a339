//! What only an own process can show: limits, restarts, broken bytes, memory.

mod broken;
mod churn;
mod crash;
mod deleting;
mod faults;
mod fixtures;
mod groups;
mod limits;
mod process;
mod restart;
mod transactions;

pub(crate) use process::{Process, variable};
