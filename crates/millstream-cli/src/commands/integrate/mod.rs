//! `millstream integrate FORMULA`, or `--file FILE`: integrals in this process, or with `--brokers` on all workers of a cluster.
//!
//! Words become requests (`problem`, `jobs`), requests are run here (`local`) or there (`remote`), and what is known of them is
//! shown while they run (`live`) and at the end (`report`). Where they are run changes no bit of an answer. Ctrl-C ends a job at
//! its last complete wave, and the answer is as honest as any. Exit code 0: all converged; 1: not all; 2: an error.

mod checkpoint;
mod jobs;
mod live;
mod local;
mod plot;
mod problem;
mod remote;
mod report;
mod sweep;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use millstream_systems::montecarlo::mathematics::{Answer, Limit, Map, Request, Status, StoredMap};
use millstream_systems::montecarlo::topics::PREFIX;

use crate::output::Output;
use crate::session::Session;
use crate::{Outcome, life};

use self::live::{Course, Live};
use self::local::Local;
use self::problem::Problem;
use self::remote::Remote;

/// What to integrate and where.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  millstream integrate 'exp(-x0^2-x1^2)' --lower -3,-3 --upper 3,3 --rel-error 1e-5\n  \
    millstream integrate 'exp(-x^2)' --lower -inf --upper inf\n  \
    millstream integrate 'cos(a*x*y)' --param a=0:10:21 --plot sweep.svg\n  \
    millstream integrate --file jobs.json > answers.jsonl\n  \
    millstream integrate 'exp(-100*((x0-0.5)^2+(x1-0.5)^2))' --brokers kafka:9092"
)]
pub(crate) struct Args {
    #[command(flatten)]
    problem: Problem,
    /// Computes the jobs of this file, a JSON array of objects with the keys `expression lower upper ..`; one JSON object a line
    /// comes out for each, in their order
    #[arg(long, value_name = "FILE", conflicts_with = "formula")]
    file: Option<PathBuf>,
    /// Prints the answer as a JSON object
    #[arg(long)]
    json: bool,
    /// Threads that compute here [default: one for each core]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Draws the convergence with its error band, and in two dimensions the adapted map; for a sweep its curve
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Keeps the job in this file after each wave, and goes on from it when it is there; with smaller errors it is tightened
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    checkpoint: Option<PathBuf>,
    /// Begins with the adapted map of this file
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    map: Option<PathBuf>,
    /// Stores the adapted map in this file at the end
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    save_map: Option<PathBuf>,
    /// Computes here, although a cluster is named
    #[arg(long)]
    local: bool,
    /// With --brokers: what the names of the topics begin with
    #[arg(long, default_value = PREFIX)]
    prefix: String,
}

/// Where jobs are run.
enum Engine {
    Local(Local),
    Remote(Box<Remote>),
}

/// What became of a job.
struct Finished {
    answer: Answer,
    course: Course,
    map: Option<StoredMap>,
}

impl Args {
    /// Computes what was asked for.
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        let engine = self.engine(session)?;
        if let Some(path) = &self.file {
            return jobs::run(&engine, &jobs::read(path, &self.problem)?);
        }
        let mut request = self.problem.request()?;
        if let Some(path) = &self.map {
            request.map = Some(read_map(path)?);
        }
        let axes = self.problem.axes()?;
        if axes.is_empty() {
            self.one(&engine, request)
        } else {
            ensure!(
                self.checkpoint.is_none() && self.save_map.is_none(),
                "a sweep has many jobs: --checkpoint and --save-map are for one"
            );
            sweep::run(&engine, &request, &axes, self.json, self.plot.as_deref())
        }
    }

    fn engine(&self, session: &Session) -> anyhow::Result<Engine> {
        let stop = life::begin()?;
        if self.local || session.common.brokers.is_none() {
            return Ok(Engine::Local(Local::new(self.threads, stop)?));
        }
        let only_here = [
            ("--threads", self.threads.is_some()),
            ("--checkpoint", self.checkpoint.is_some()),
            ("--save-map", self.save_map.is_some()),
        ];
        if let Some((flag, _)) = only_here.into_iter().find(|(_, given)| *given) {
            bail!("{flag} is for a job in this process; leave it away, or add --local");
        }
        let remote = Remote::new(&session.cluster, &self.prefix, stop)?;
        Ok(Engine::Remote(Box::new(remote)))
    }

    /// One job, shown to people or programs.
    fn one(&self, engine: &Engine, request: Request) -> anyhow::Result<Outcome> {
        let finished = engine.run(&request, Live::one(&request), self.checkpoint.as_deref())?;
        if let (Some(path), Some(map)) = (&self.save_map, &finished.map) {
            let text = serde_json::to_string(map)?;
            write(path, text.as_bytes())?;
        }
        if let Some(path) = &self.plot {
            let grid = finished
                .map
                .as_ref()
                .and_then(|stored| grid(&request, &stored.map));
            let chart = finished.course.chart(&request);
            write(path, plot::svg(&chart, grid.as_ref()).as_bytes())?;
        }
        let mut output = Output::new(self.json);
        if self.json {
            output.object(&finished.answer)?;
        } else {
            output.bytes(report::block(&request, &finished.answer).as_bytes())?;
        }
        output.flush()?;
        outcome(&[finished.answer])
    }
}

impl Engine {
    fn run(
        &self,
        request: &Request,
        live: Live,
        checkpoint: Option<&Path>,
    ) -> anyhow::Result<Finished> {
        match self {
            Self::Local(local) => local.run(request, live, checkpoint),
            Self::Remote(remote) => remote.run(request, live),
        }
    }
}

/// What all these answers come to together.
fn outcome(answers: &[Answer]) -> anyhow::Result<Outcome> {
    if let Some(failed) = answers
        .iter()
        .find(|answer| answer.status == Status::Failed)
    {
        bail!("failed to integrate: {}", failed.warnings.join("; "));
    }
    let all = answers
        .iter()
        .all(|answer| answer.status == Status::Converged);
    Ok(if all {
        Outcome::Done
    } else {
        Outcome::Negative
    })
}

fn read_map(path: &Path) -> anyhow::Result<StoredMap> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the map `{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is not a stored map", path.display()))
}

/// Writes a whole file, or leaves what was there.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    std::fs::write(&fresh, bytes)
        .and_then(|()| std::fs::rename(&fresh, path))
        .with_context(|| format!("failed to write `{}`", path.display()))
}

/// The cells of a map of two dimensions; in the unit square where an axis is infinite.
fn grid(request: &Request, map: &Map) -> Option<plot::Grid> {
    let [x, y] = map.edges() else { return None };
    let limit = |limits: &[Limit], axis: usize, default: f64| match limits {
        [] => default,
        [one] => one.0,
        many => many.get(axis).map_or(default, |limit| limit.0),
    };
    let axis = |number: usize, edges: &[f64]| {
        let (low, high) = (
            limit(&request.lower, number, 0.0),
            limit(&request.upper, number, 1.0),
        );
        let (low, width) = if low.is_finite() && high.is_finite() {
            (low, high - low)
        } else {
            (0.0, 1.0)
        };
        let ends = edges.iter().chain(std::iter::once(&1.0));
        ends.map(|edge| low + width * edge).collect()
    };
    Some(plot::Grid {
        x: axis(0, x),
        y: axis(1, y),
    })
}
