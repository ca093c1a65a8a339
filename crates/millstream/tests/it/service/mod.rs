//! Services on a broker: delivery, rebalances, failures, shutdown.

mod delivery;
mod failures;
mod outages;
mod running;
