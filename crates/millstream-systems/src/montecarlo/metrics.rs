//! Every metric of the system, by name.
//!
//! Labels come from closed sets: a status of an answer, a kind of task. What all services count (records, lag, failures) is
//! counted by the library.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Samples that workers have computed.
pub const SAMPLES: &str = "montecarlo_samples_total";
/// Tasks that workers have done, by kind.
pub const TASKS: &str = "montecarlo_tasks_total";
/// Time a worker computes for one task, in seconds.
pub const TASK_SECONDS: &str = "montecarlo_task_seconds";
/// Tasks that workers refused because they compute another version of the numbers.
pub const REFUSED: &str = "montecarlo_tasks_refused_total";
/// Jobs that ended, by status.
pub const JOBS: &str = "montecarlo_jobs_total";
/// Jobs that are open.
pub const OPEN: &str = "montecarlo_jobs_open";
/// Time from a job's opening to its answer, in seconds.
pub const JOB_SECONDS: &str = "montecarlo_job_seconds";
/// Tasks issued again because they were missing for too long.
pub const REISSUED: &str = "montecarlo_tasks_reissued_total";
/// Chunks whose second result differed from the first.
pub const NONDETERMINISM: &str = "montecarlo_nondeterminism_total";

/// Says what a worker counts, and shows what has not happened yet as zero.
pub(crate) fn describe_worker() {
    describe_counter!(SAMPLES, Unit::Count, "samples computed");
    describe_counter!(TASKS, Unit::Count, "tasks done");
    describe_histogram!(TASK_SECONDS, Unit::Seconds, "time computing one task");
    describe_counter!(
        REFUSED,
        Unit::Count,
        "tasks of another version of the numbers"
    );
    counter!(SAMPLES).increment(0);
    counter!(REFUSED).increment(0);
}

/// Says what a coordinator counts, and shows what has not happened yet as zero: alerts wait for it.
pub(crate) fn describe_coordinator() {
    describe_counter!(JOBS, Unit::Count, "jobs that ended");
    describe_gauge!(OPEN, Unit::Count, "jobs that are open");
    describe_histogram!(
        JOB_SECONDS,
        Unit::Seconds,
        "from a job's opening to its answer"
    );
    describe_counter!(REISSUED, Unit::Count, "tasks given out again");
    describe_counter!(
        NONDETERMINISM,
        Unit::Count,
        "chunks whose second result differed"
    );
    gauge!(OPEN).increment(0.0);
    counter!(REISSUED).increment(0);
    counter!(NONDETERMINISM).increment(0);
}

/// A task of `kind` is done.
pub(crate) fn task(kind: &'static str, samples: u64, took: Duration) {
    counter!(SAMPLES).increment(samples);
    counter!(TASKS, "kind" => kind).increment(1);
    histogram!(TASK_SECONDS).record(took.as_secs_f64());
}

/// A task was refused.
pub(crate) fn refused() {
    counter!(REFUSED).increment(1);
}

/// A job was opened here.
pub(crate) fn opened() {
    gauge!(OPEN).increment(1.0);
}

/// A job is no longer here: it ended, or its partition left.
pub(crate) fn left() {
    gauge!(OPEN).decrement(1.0);
}

/// A job ended with `status`.
pub(crate) fn ended(status: &'static str, took: Duration) {
    counter!(JOBS, "status" => status).increment(1);
    histogram!(JOB_SECONDS).record(took.as_secs_f64());
}

/// A task was issued again.
pub(crate) fn reissued() {
    counter!(REISSUED).increment(1);
}

/// Two results of one chunk differ.
pub(crate) fn nondeterminism() {
    counter!(NONDETERMINISM).increment(1);
}
