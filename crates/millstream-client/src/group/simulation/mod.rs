//! A simulated group: members as they are, a coordinator by Kafka's rules, and a network between them that loses, delays and cuts.
//!
//! What runs here is what runs on sockets, offsets and metadata included; [`world`] moves requests and keeps the applications, [`coordinator`] answers.

mod coordinator;
mod questions;
mod tests;
mod world;
