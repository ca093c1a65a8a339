//! `millstream integrate FORMULA`, or `--file FILE`: integrals in this process, or with `--brokers` on all workers of a cluster.
//!
//! Words become requests (`problem`, `job_file`), which are checked before anything else happens (`check`); they run here
//! (`local`) or there (`remote`), and what is known of them is shown while they run (`live`) and at the end (`report`). Where
//! they run changes no bit of an answer, and nothing but `--brokers` and `--cluster` decides it: a variable that names a
//! cluster for other commands does not move an integral there. Exit code 0: all converged; 1: not all; 2: an error.

mod check;
mod checkpoint;
mod job_file;
mod jobs;
mod live;
mod local;
mod missing;
mod numbers;
mod plot;
mod problem;
mod remote;
mod report;
mod sweep;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use millstream_systems::montecarlo::mathematics::{Answer, Limit, Map, Request, Status, StoredMap};
use millstream_systems::montecarlo::topics::PREFIX;
use millstream_systems::number;

use crate::args::Common;
use crate::config::{File, Origin};
use crate::output::Output;
use crate::session::Session;
use crate::{Outcome, life, reach};

use self::live::{Course, Live};
use self::local::Local;
use self::problem::{Axis, Problem};
use self::remote::Remote;

/// What to integrate and where.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  millstream integrate 'exp(-x0^2-x1^2)' --lower -3,-3 --upper 3,3 --rel-error 1e-5\n  \
    millstream integrate 'exp(-x^2)' --lower -inf --upper inf\n  \
    millstream integrate 'cos(a*x*y)' --param a=0:10:21 --plot sweep.svg\n  \
    millstream integrate --file jobs.json > answers.jsonl\n  \
    millstream integrate 'exp(-100*((x0-0.5)^2+(x1-0.5)^2))' --brokers 127.0.0.1:9092\n\n\
    A formula that begins with a minus is written after `--`: millstream integrate --rel-error 1e-3 -- '-x^2'\n\
    Exit codes: 0 all integrals converged, 1 not all of them, 2 an error."
)]
pub(crate) struct Args {
    #[command(flatten)]
    problem: Problem,
    /// Computes the jobs of this file: a JSON array or JSON Lines, objects with the keys `expression lower upper ..`. Prints one
    /// JSON object per job, in their order. `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "formula")]
    file: Option<PathBuf>,
    /// Prints the answer as a JSON object
    #[arg(long)]
    json: bool,
    /// Threads that compute in this process [default: one per core]
    #[arg(long, value_name = "NUMBER", value_parser = number::whole(1..=1024_u16))]
    threads: Option<u16>,
    /// Draws the convergence with its 95 % interval, and in two dimensions the adapted map; for a sweep its curve
    #[arg(long, value_name = "FILE.svg", value_parser = svg, conflicts_with = "file")]
    plot: Option<PathBuf>,
    /// Saves the job in this file after each wave, and resumes it from there if the file exists. A smaller target error continues
    /// a finished job
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    checkpoint: Option<PathBuf>,
    /// Starts with the adapted map of this file
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    map: Option<PathBuf>,
    /// Saves the adapted map to this file at the end
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    save_map: Option<PathBuf>,
    /// Computes on the workers of the cluster in KAFKA_BROKERS or millstream.toml. --brokers does the same for another cluster
    #[arg(long)]
    cluster: bool,
    /// On a cluster: prefix of the topic names [default: integration]
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
}

/// What there is to compute, checked.
enum Work {
    Jobs(Vec<Request>),
    One(Request),
    Sweep(Request, Vec<Axis>),
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
    pub(crate) fn run(self, common: Common, file: &File) -> anyhow::Result<Outcome> {
        let elsewhere =
            self.cluster || matches!(common.brokers_origin, Some(Origin::Option("--brokers")));
        self.refuse_what_would_be_ignored(elsewhere, &common)?;
        let work = self.work(elsewhere)?;
        for path in [&self.plot, &self.checkpoint, &self.save_map] {
            path.as_deref().map_or(Ok(()), writable)?;
        }
        let engine = self.engine(elsewhere, common, file)?;
        match work {
            Work::Jobs(jobs) => jobs::run(&engine, &jobs),
            Work::One(request) => self.one(&engine, request),
            Work::Sweep(request, axes) => {
                sweep::run(&engine, &request, &axes, self.json, self.plot.as_deref())
            }
        }
    }

    fn refuse_what_would_be_ignored(&self, elsewhere: bool, common: &Common) -> anyhow::Result<()> {
        let only_here = [
            ("--threads", self.threads.is_some()),
            ("--checkpoint", self.checkpoint.is_some()),
            ("--save-map", self.save_map.is_some()),
        ];
        let only_there = [
            ("--prefix", self.prefix.is_some()),
            ("-X", !common.properties.is_empty()),
        ];
        let given = |options: &[(&'static str, bool)]| {
            let mut given = options.iter().filter(|(_, given)| *given);
            given.next().map(|(option, _)| *option)
        };
        if let (true, Some(option)) = (elsewhere, given(&only_here)) {
            bail!(
                "{option} is for a job in this process; remove it, or remove --brokers and --cluster"
            );
        }
        if let (false, Some(option)) = (elsewhere, given(&only_there)) {
            bail!("{option} is for jobs on a cluster; remove it, or add --brokers or --cluster");
        }
        Ok(())
    }

    /// Reads and checks everything that is to be computed.
    fn work(&self, elsewhere: bool) -> anyhow::Result<Work> {
        if let Some(path) = &self.file {
            let jobs = job_file::read(path, &self.problem.defaults(), elsewhere)?;
            return Ok(Work::Jobs(jobs));
        }
        let mut request = self.problem.request(&self.formula()?)?;
        if let Some(path) = &self.map {
            request.map = Some(read_map(path)?);
        }
        check::check(&request, elsewhere)?;
        ensure!(
            self.save_map.is_none() || check::is_adaptive(&request),
            "method {} adapts no map, so --save-map has nothing to save; auto, vegas and map-rqmc may",
            request.method
        );
        let axes = self.problem.axes()?;
        if axes.is_empty() {
            return Ok(Work::One(request));
        }
        ensure!(
            self.checkpoint.is_none() && self.save_map.is_none(),
            "a sweep has many jobs: --checkpoint and --save-map are for one"
        );
        Ok(Work::Sweep(request, axes))
    }

    fn formula(&self) -> anyhow::Result<String> {
        let given = self.problem.formula.as_deref();
        let given = given.context("a formula is missing")?;
        if given != "-" {
            return Ok(given.to_owned());
        }
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("failed to read the formula from standard input")?;
        Ok(text.trim_end().to_owned())
    }

    fn engine(&self, elsewhere: bool, common: Common, file: &File) -> anyhow::Result<Engine> {
        if !elsewhere {
            return Ok(Engine::Local(Local::new(self.threads, life::begin()?)?));
        }
        let session = Session::new(common, file)?;
        reach::refuse_dead(&session)?;
        let prefix = self.prefix.as_deref().unwrap_or(PREFIX);
        let remote = Remote::new(&session.cluster, prefix, life::begin()?)?;
        Ok(Engine::Remote(Box::new(remote)))
    }

    /// One job, shown to people or programs.
    fn one(&self, engine: &Engine, request: Request) -> anyhow::Result<Outcome> {
        let finished = engine.run(&request, Live::one(&request), self.checkpoint.as_deref())?;
        let mut output = Output::new(self.json);
        if self.json {
            output.object(&finished.answer)?;
        } else {
            output.bytes(report::block(&request, &finished.answer).as_bytes())?;
        }
        output.flush()?;
        if let Some(path) = &self.save_map {
            match &finished.map {
                Some(map) => write(path, serde_json::to_string(map)?.as_bytes())?,
                None => note(&format!(
                    "method {} adapts no map: `{}` is not written",
                    finished.answer.method,
                    path.display()
                )),
            }
        }
        if let Some(path) = &self.plot {
            let grid = finished
                .map
                .as_ref()
                .and_then(|stored| grid(&request, &stored.map));
            let chart = finished.course.chart(&request);
            write(path, plot::svg(&chart, grid.as_ref()).as_bytes())?;
        }
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

/// A line for people, beside the answer.
fn note(text: &str) {
    _ = writeln!(std::io::stderr(), "note: {text}");
}

/// A picture can only be drawn as SVG.
fn svg(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("svg") => Ok(path),
        _ => Err("pictures are drawn as SVG; name a file that ends in .svg".to_owned()),
    }
}

/// Refuses a file that could not be written at the end, before the work of hours is done.
fn writable(path: &Path) -> anyhow::Result<()> {
    let fresh = fresh(path);
    ensure!(!path.is_dir(), "`{}` is a folder", path.display());
    std::fs::write(&fresh, [])
        .and_then(|()| std::fs::remove_file(&fresh))
        .with_context(|| format!("failed to write `{}`", path.display()))
}

/// The name under which a file is written before it takes its place.
fn fresh(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Writes a whole file, or leaves what was there.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let fresh = fresh(path);
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
