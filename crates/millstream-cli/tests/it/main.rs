//! The binary as a user has it: every test runs the real `millstream`, against a broker of its own or `KAFKA=host:port`.
//!
//! Without `KAFKA` each test starts `millstream broker` on a free port in a temporary folder. Nothing here sleeps or
//! measures time; a process that does not end is killed by a watchdog and fails its test.

mod configuration;
mod messages;
mod partitions;
mod tools;
mod up;
mod world;
