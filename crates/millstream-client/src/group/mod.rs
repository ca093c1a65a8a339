//! Groups of readers: membership by the classic protocol, and committed offsets.
//!
//! `membership.rs` decides; `messages.rs` makes its requests; `assignor.rs` shares out partitions where this member leads; `protocol.rs` has the formats that
//! members agree on; `heartbeats.rs` keeps a member alive while the application works; `offsets.rs` commits and reads offsets, of members and of readers that are assigned by hand.

pub(crate) mod assignor;
pub(crate) mod heartbeats;
pub(crate) mod membership;
mod messages;
pub(crate) mod offsets;
pub(crate) mod protocol;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
