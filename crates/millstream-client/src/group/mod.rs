//! What is kept for a group of readers at its coordinator.
//!
//! So far: offsets, committed and read without membership, by readers that are assigned by hand. Members, heartbeats and assignors are not there yet.

pub(crate) mod offsets;
