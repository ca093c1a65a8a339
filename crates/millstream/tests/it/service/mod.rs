//! Services on a broker: delivery, rebalances, failures, shutdown.

mod delivery;
mod effects;
mod failures;
mod outages;
mod rebalances;
mod running;
