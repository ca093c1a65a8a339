//! What may go wrong in a simulation, and how often.
//!
//! Each fault is something that real clusters, networks or machines do; those that lose records by design are apart
//! from those that at-least-once delivery has to survive.

/// How likely each fault is, each time it could happen; 0 is never, 1 is always.
///
/// ```
/// use millstream::testing::Faults;
///
/// let only_crashes = Faults { crash: 0.01, ..Faults::none() };
/// assert_eq!(only_crashes.failed_send, 0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// A worker's process is killed; another is started a while later. For each step of a worker.
    pub crash: f64,
    /// A thread of a process cannot be started; the process ends in order, and another is started a while later. For each thread.
    pub failed_spawn: f64,
    /// The group moves its partitions to other members without need. For each step.
    pub rebalance: f64,
    /// A worker stands still, for so long at worst that its group gives it up: then it comes back as a zombie. For each
    /// step.
    pub stall: f64,
    /// The group uses an assignor that takes everything from everybody at each rebalance. Drawn once per world.
    pub eager: f64,
    /// A record sent is refused by the cluster after a while, and not written.
    pub failed_send: f64,
    /// A record sent is reported as timed out although it was written.
    pub unknown_send: f64,
    /// A batch of several records is refused as a whole, though each of them alone would be taken.
    pub refused_batch: f64,
    /// A member's producer fails for good: its sequence is broken, or it may not write any more. For each record sent.
    pub fatal_send: f64,
    /// No broker answers for up to twenty minutes. For each step.
    pub outage: f64,
    /// A record sent is written twice.
    pub duplicated_send: f64,
    /// The member's queue of sent records is full.
    pub full_queue: f64,
    /// A commit is refused, and not applied.
    pub failed_commit: f64,
    /// A commit is applied and answered with an error.
    pub unknown_commit: f64,
    /// A commit is neither applied nor ever answered.
    pub dropped_commit: f64,
    /// A commit is applied a while after it was asked for, and refused if the group has had a rebalance meanwhile.
    pub late_commit: f64,
    /// Commits are refused for a while because the group has not settled. For each rebalance.
    pub unsettled_group: f64,
    /// The cluster does not tell committed offsets when a member asks where to begin.
    pub failed_admit: f64,
    /// A partition has no leader when a member asks where it starts and ends; another question is needed.
    pub leaderless: f64,
    /// Partitions cannot be released at once.
    pub failed_release: f64,
    /// A partition cannot be read from another position at once.
    pub failed_seek: f64,
    /// A partition that is paused still gives some of its records.
    pub late_record: f64,
    /// There are records, and a poll finds none.
    pub empty_poll: f64,
    /// The client fetches several records at once, and still gives them when its position is gone from the cluster.
    pub prefetch: f64,
    /// Retention takes records away, read or not: what a group then misses is lost by design, and counted. For each step.
    pub retention: f64,
}

impl Faults {
    /// Everything works.
    #[must_use]
    pub const fn none() -> Faults {
        Faults {
            crash: 0.0,
            failed_spawn: 0.0,
            rebalance: 0.0,
            stall: 0.0,
            eager: 0.0,
            failed_send: 0.0,
            unknown_send: 0.0,
            refused_batch: 0.0,
            fatal_send: 0.0,
            outage: 0.0,
            duplicated_send: 0.0,
            full_queue: 0.0,
            failed_commit: 0.0,
            unknown_commit: 0.0,
            dropped_commit: 0.0,
            late_commit: 0.0,
            unsettled_group: 0.0,
            failed_admit: 0.0,
            leaderless: 0.0,
            failed_release: 0.0,
            failed_seek: 0.0,
            late_record: 0.0,
            empty_poll: 0.0,
            prefetch: 0.0,
            retention: 0.0,
        }
    }

    /// Everything that loses nothing: all faults but [`Faults::retention`].
    #[must_use]
    pub const fn all() -> Faults {
        Faults {
            crash: 0.004,
            failed_spawn: 0.01,
            rebalance: 0.01,
            stall: 0.004,
            eager: 0.3,
            failed_send: 0.01,
            unknown_send: 0.01,
            refused_batch: 0.01,
            fatal_send: 0.001,
            outage: 0.0005,
            duplicated_send: 0.01,
            full_queue: 0.05,
            failed_commit: 0.1,
            unknown_commit: 0.1,
            dropped_commit: 0.02,
            late_commit: 0.2,
            unsettled_group: 0.2,
            failed_admit: 0.1,
            leaderless: 0.1,
            failed_release: 0.1,
            failed_seek: 0.1,
            late_record: 0.3,
            empty_poll: 0.2,
            prefetch: 0.3,
            retention: 0.0,
        }
    }
}

impl Default for Faults {
    fn default() -> Faults {
        Faults::none()
    }
}
