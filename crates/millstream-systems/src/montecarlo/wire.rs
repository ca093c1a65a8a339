//! What coordinator and workers say to each other: tasks one way, events the other. MessagePack, between equal versions of
//! this program only.
//!
//! Every record names its job by a [`Ticket`], the place of its request, because ids are chosen by users and may come twice; and
//! the `step` of the job it belongs to, which counts its checkpoints. What belongs to an earlier step comes too late and is
//! dropped. An event that holds a [`Job`] is a checkpoint of it.

use millstream_montecarlo::{Job, Partial, Wave};
use serde::{Deserialize, Serialize};

use super::records::Outcome;

/// A request's place, and its time, so that requests are told apart also when their topic was made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket {
    /// The partition of the request.
    pub partition: i32,
    /// The offset of the request.
    pub offset: i64,
    /// Its time, in milliseconds since 1970.
    pub millis: i64,
}

/// Work for one worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// Whose.
    pub ticket: Ticket,
    /// The job's step that it belongs to.
    pub step: u32,
    /// The version of the numbers that the job was begun with.
    pub numerics: u32,
    /// What to do.
    pub work: Work,
}

/// What a task is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Work {
    /// Run the job on, wave by wave, for as long as the budget lasts.
    Run {
        /// The job as it stands.
        saved: Box<Saved>,
        /// How long, in milliseconds, the waves may take together.
        budget_ms: u32,
    },
    /// Compute some tiles of a wave.
    Chunk {
        /// The wave.
        wave: Box<Wave>,
        /// The number of the chunk.
        chunk: u64,
        /// Tiles of each chunk of the wave but its last.
        tiles: u64,
    },
}

impl Work {
    /// The chunk's number; a run is the one chunk of its step.
    #[must_use]
    pub const fn chunk(&self) -> u64 {
        match self {
            Self::Run { .. } => 0,
            Self::Chunk { chunk, .. } => *chunk,
        }
    }

    /// The name of its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Run { .. } => "run",
            Self::Chunk { .. } => "chunk",
        }
    }
}

/// One record of the coordinator's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Whose; a log's own events are nobody's.
    pub ticket: Ticket,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum What {
    /// A coordinator that took the partition over has read what was there before it.
    Caught {
        /// Which one, for others may have written the same before.
        incarnation: u64,
    },
    /// A checkpoint.
    Saved(Box<Saved>),
    /// A worker has run the job on.
    Ran(Box<Ran>),
    /// A worker has computed a chunk.
    Done(Box<Done>),
    /// A worker begins a task of which it is not sure to see the end.
    Began {
        /// The step.
        step: u32,
        /// The chunk.
        chunk: u64,
    },
    /// A worker cannot do a task, however often it tries.
    Failed {
        /// The step.
        step: u32,
        /// Why.
        reason: String,
    },
    /// A worker computes another version of the numbers.
    Refused {
        /// The step.
        step: u32,
        /// The chunk.
        chunk: u64,
        /// Its version.
        numerics: u32,
        /// Who.
        by: By,
    },
    /// The job has ended. The answer goes out when this is read, so that one is not lost between the two.
    Closed(Box<Outcome>),
}

/// Who did something, and where it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// The worker's process, by a number drawn at its start.
    pub worker: u64,
    /// The partition of the task.
    pub partition: i32,
}

/// A job and what belongs to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Saved {
    /// The job's id.
    pub id: String,
    /// The checkpoint's number, from 0.
    pub step: u32,
    /// The job.
    pub job: Job,
    /// When it was opened, by its coordinator's clock, in milliseconds since 1970.
    pub opened: i64,
    /// Samples per second of one worker, as far as they are known.
    pub speed: Option<f64>,
    /// Tiles of each chunk of the present wave; `None` when a worker runs the job.
    pub tiles: Option<u64>,
    /// What the coordinator has to add to the answer's warnings.
    pub warnings: Vec<String>,
}

/// A job that was run on: a checkpoint too.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ran {
    /// The job as it stands now, one step after the one it was run from.
    pub saved: Saved,
    /// Samples computed.
    pub samples: u64,
    /// The time they took.
    pub seconds: f64,
    /// Who.
    pub by: By,
}

/// A chunk that was computed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// The step.
    pub step: u32,
    /// The chunk.
    pub chunk: u64,
    /// Tiles of each chunk of the wave but its last.
    pub tiles: u64,
    /// The sums.
    pub partial: Partial,
    /// The time they took.
    pub seconds: f64,
    /// Who.
    pub by: By,
}
