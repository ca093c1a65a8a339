//! The binary as a user has it: every test runs the real `millstream`, against a broker of its own or `KAFKA=host:port`.
//!
//! Without `KAFKA` each test starts `millstream broker` on a free port in a temporary folder. Nothing here sleeps or
//! measures time; a process that does not end is killed by a watchdog and fails its test.

#[cfg(test)]
mod broker;
#[cfg(test)]
mod broker_security;
#[cfg(test)]
mod completion;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod integrate;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod messages_pace;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod montecarlo;
#[cfg(test)]
mod partitions;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod tools_groups;
#[cfg(test)]
mod tools_send;
#[cfg(test)]
mod tools_tail;
#[cfg(test)]
mod tools_topics;
#[cfg(test)]
mod up;
#[cfg(test)]
mod up_control;
#[cfg(test)]
mod up_output;
#[cfg(test)]
mod up_refusals;
#[cfg(test)]
mod up_terminal;
#[cfg(test)]
mod world;
