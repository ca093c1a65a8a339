//! Runs a job in this process, in pieces short enough for someone to watch.
//!
//! There is no clock here: the watcher has one, and says whether pieces should take longer or shorter. How a wave is cut
//! into pieces changes no bit, for a piece is always a whole subtree of the wave's tiles.

use crate::answer::{Answer, Status};
use crate::job::Job;
use crate::partial::Partial;
use crate::tile::Prepared;
use crate::{Error, Registry};

/// Tiles of the first piece: a few hundredths of a second for a slow integrand, nothing for a fast one.
const FIRST: u64 = 16;
/// Tiles of a piece at most.
const MOST: u64 = 1 << 16;

/// What a watcher sees.
pub struct Progress<'a> {
    /// The job, as it was after its last complete wave.
    pub job: &'a Job,
    /// Samples so far, those of the unfinished wave included.
    pub samples: u64,
}

/// What a watcher wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Go on like this.
    Continue,
    /// Go on, and ask half as often: the last piece took too little time.
    Longer,
    /// Go on, and ask twice as often: the last piece took too long.
    Shorter,
    /// End at the last complete wave.
    Stop(Status),
}

/// Runs `job` to its end on the threads of the current pool, and gives its answer, whose `seconds` the caller fills in.
/// `watch` is called after every piece.
///
/// ```
/// use millstream_montecarlo::{Control, Job, Registry, Request, Status, run};
/// let functions = Registry::new();
/// let mut job = Job::new(Request::new("x0*x1"), &functions)?;
/// let answer = run(&mut job, &functions, &mut |_| Control::Continue)?;
/// assert_eq!(answer.status, Status::Converged);
/// # Ok::<(), millstream_montecarlo::Error>(())
/// ```
///
/// # Errors
/// A wave that this program cannot compute: other numerics, a function that the registry lacks.
pub fn run(
    job: &mut Job,
    functions: &Registry,
    watch: &mut dyn FnMut(&Progress<'_>) -> Control,
) -> Result<Answer, Error> {
    let mut pieces = Pieces {
        tiles: FIRST,
        watch,
    };
    while let Some(wave) = job.wave() {
        let prepared = wave.prepare(functions)?;
        match pieces.whole(job, &prepared, wave.tiles())? {
            Ok(whole) => job.complete(whole)?,
            Err(why) => job.stop(why),
        }
    }
    Ok(job.answer())
}

struct Pieces<'a> {
    /// Tiles of the next piece, a power of two.
    tiles: u64,
    watch: &'a mut dyn FnMut(&Progress<'_>) -> Control,
}

impl Pieces<'_> {
    /// The sums of a whole wave, or why it was given up.
    fn whole(
        &mut self,
        job: &Job,
        prepared: &Prepared,
        tiles: u64,
    ) -> Result<Result<Partial, Status>, Error> {
        // Neighbours of one size are merged as they come; what is left, from the right: the tree of `tree`.
        let mut stack: Vec<(u64, Partial)> = Vec::new();
        let (mut at, mut samples) = (0, job.samples());
        while at < tiles {
            let piece = self.piece(at, tiles);
            let partial = prepared.chunk(at..at + piece)?;
            at += piece;
            samples += partial.samples;
            let mut node = (piece, partial);
            while let Some((size, left)) = stack.pop_if(|(size, _)| *size == node.0) {
                node = (2 * size, left.merge(node.1)?);
            }
            stack.push(node);
            match (self.watch)(&Progress { job, samples }) {
                Control::Continue => {}
                Control::Longer => self.tiles = (self.tiles * 2).min(MOST),
                Control::Shorter => self.tiles = (self.tiles / 2).max(1),
                Control::Stop(why) if at < tiles => return Ok(Err(why)),
                Control::Stop(_) => {}
            }
        }
        let mut whole: Option<Partial> = None;
        while let Some((_, left)) = stack.pop() {
            whole = Some(match whole {
                Some(right) => left.merge(right)?,
                None => left,
            });
        }
        whole.map(Ok).ok_or(Error::Mismatch)
    }

    /// Tiles of the piece at `at`: a power of two that divides it and fits.
    const fn piece(&self, at: u64, tiles: u64) -> u64 {
        let mut piece = self.tiles;
        while !at.is_multiple_of(piece) || at + piece > tiles {
            piece /= 2;
        }
        piece
    }
}
