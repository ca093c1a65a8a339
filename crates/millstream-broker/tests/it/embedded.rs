//! What only an own process can show: limits, restarts, broken bytes, memory.

mod broken;
mod limits;
mod restart;
