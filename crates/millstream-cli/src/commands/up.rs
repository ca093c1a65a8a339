//! `millstream up`: a broker and whole systems on this machine, each service a supervised process.
//!
//! The command resolves what is to run and where; the work is in `crate::up`. With `--brokers` (or `KAFKA_BROKERS`,
//! or the file) it joins that cluster and starts no broker. Its subcommands talk to an `up` that runs already, in the
//! background or in another terminal, by the control socket in the data folder.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use millstream_systems::duration;

use crate::Outcome;
use crate::args;
use crate::config::File;
use crate::listen;
use crate::output::Output;
use crate::reach;
use crate::session::Session;
use crate::telemetry::Logs;
use crate::up::control::{Act, Reply, Request};
use crate::up::status::{self, State, Status};
use crate::up::{self, Broker, Lines, Planned, Source, Up, control, detach};

/// What to run.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "Examples:\n  millstream up --for 30s\n  millstream up messages --scale receive=2\n  millstream up montecarlo --scale worker=2 --quiet\n  millstream up --brokers kafka-1:9092,kafka-2:9092\n  millstream up --detach\n  millstream up status\n  millstream up stop"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The systems: messages, montecarlo, partitions [default: messages]
    #[arg(value_name = "SYSTEM")]
    systems: Vec<String>,
    /// Stops after this time, as in 30s, 5m, 1h30m
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    lasting: Option<Duration>,
    /// Runs this many instances of a service; may be repeated
    #[arg(long, value_name = "SERVICE=NUMBER")]
    scale: Vec<String>,
    /// Where the embedded broker keeps its data, and `up` its control socket and its log
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "./.millstream",
        global = true
    )]
    data: PathBuf,
    /// Where the embedded broker listens; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_parser = listen::address)]
    listen: SocketAddr,
    /// Listens beyond loopback although anyone who reaches the port may do everything
    #[arg(long)]
    allow_anyone: bool,
    /// Shows no lines of services and broker; the last ones of a service that fails are shown
    #[arg(long, short)]
    quiet: bool,
    /// Shows only the lines of these services (or of `broker`), separated by commas
    #[arg(
        long,
        value_name = "SERVICE",
        value_delimiter = ',',
        conflicts_with = "quiet"
    )]
    lines: Vec<String>,
    /// Runs in the background, also after the terminal is closed; see `up status` and `up stop`
    #[arg(long)]
    detach: bool,
    /// This process was started by `--detach`
    #[arg(long, hide = true)]
    background: bool,
    /// Prints the summary (or the status) as JSON
    #[arg(long, global = true)]
    json: bool,
}

/// What can be asked of an `up` that runs.
#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the services of a running `up`; exit code 1 if none runs or a service has failed
    Status,
    /// Stops a running `up`, or only some of its services
    Stop {
        /// The services to stop; `up` goes on [default: everything is stopped]
        services: Vec<String>,
    },
    /// Starts services that do not run
    Start {
        /// The services
        #[arg(required = true)]
        services: Vec<String>,
    },
    /// Restarts services
    Restart {
        /// The services
        #[arg(required = true)]
        services: Vec<String>,
    },
}

impl Args {
    /// Runs the systems until Ctrl-C, or for the time of `--for`; or asks an `up` that runs.
    pub(crate) fn run(
        self,
        session: &Session,
        file: &File,
        logs: &Logs,
    ) -> anyhow::Result<Outcome> {
        if let Some(command) = &self.command {
            return command.run(&self);
        }
        if let Some(origin) = &session.common.brokers_origin
            && session.common.given.contains(&"--listen")
        {
            bail!(
                "option `--listen` is for the embedded broker, but {origin} names a cluster; use one of the two"
            );
        }
        let plan = up::plan(&self.systems, &self.scale)?;
        refuse_wrong_options(&plan, file)?;
        let lines = self.lines(&plan)?;
        if session.common.brokers.is_some() {
            reach::refuse_dead(session)?;
        }
        if self.detach && !self.background {
            return self.detach(session);
        }
        let broker = match &session.common.brokers {
            Some(brokers) => Broker::Elsewhere {
                brokers: brokers.clone(),
                cluster: session.cluster.clone(),
            },
            None => Broker::Embedded {
                data: self.data.clone(),
                listen: self.listen,
                allow_anyone: self.allow_anyone,
            },
        };
        let up = Up {
            plan,
            broker,
            folder: self.data,
            common: session.common.clone(),
            lasting: self.lasting,
            lines,
            json: self.json,
            background: self.background,
        };
        up.run(logs)
    }

    fn lines(&self, plan: &[Planned]) -> anyhow::Result<Lines> {
        if self.quiet {
            return Ok(Lines::None);
        }
        if self.lines.is_empty() {
            return Ok(Lines::All);
        }
        let mut sources = Vec::new();
        for word in &self.lines {
            if word == "broker" {
                sources.push(Source::Broker);
                continue;
            }
            let found = up::named(plan, word).map_err(|error| error.context("--lines"))?;
            sources.extend(found.into_iter().map(Source::Service));
        }
        Ok(Lines::Of(sources))
    }

    fn detach(&self, session: &Session) -> anyhow::Result<Outcome> {
        let status = detach::start(&self.words(session), &self.data)?;
        let mut output = Output::new(self.json);
        if self.json {
            output.object(&status)?;
        } else {
            let data = self.data.display();
            let broker = status::title(&status.brokers, status.data.as_deref());
            output.line(format_args!("{broker}"))?;
            output.line(format_args!(
                "{} services in the background, process {}, log in {}",
                status.services.len(),
                status.pid,
                detach::log_path(&self.data).display()
            ))?;
            let folder = match self.data.as_os_str() == "./.millstream" {
                true => String::new(),
                false => format!(" --data {data}"),
            };
            output.line(format_args!(
                "`millstream up status{folder}` shows them, `millstream up stop{folder}` stops them"
            ))?;
        }
        output.flush()?;
        Ok(Outcome::Done)
    }

    /// The words that start the same in the background.
    fn words(&self, session: &Session) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["up".into(), "--background".into()];
        words.extend(self.systems.iter().map(OsString::from));
        let mut push = |name: &str, value: OsString| words.extend([name.into(), value]);
        push("--data", self.data.clone().into());
        if session.common.brokers.is_none() {
            push("--listen", self.listen.to_string().into());
        }
        for scale in &self.scale {
            push("--scale", scale.into());
        }
        for lines in &self.lines {
            push("--lines", lines.into());
        }
        if let Some(lasting) = self.lasting {
            push("--for", format!("{}ms", lasting.as_millis()).into());
        }
        if self.allow_anyone {
            words.push("--allow-anyone".into());
        }
        if self.quiet {
            words.push("--quiet".into());
        }
        if self.json {
            words.push("--json".into());
        }
        words.extend(session.common.words());
        words
    }
}

/// Reads the command line of each service here: one that cannot read its own would be restarted for ever.
fn refuse_wrong_options(plan: &[Planned], file: &File) -> anyhow::Result<()> {
    let mut command = file.apply(args::command())?;
    for planned in plan {
        let mut words: Vec<OsString> = vec![command.get_name().into()];
        words.extend(planned.arguments.iter().cloned());
        let Err(error) = command.try_get_matches_from_mut(&words) else {
            continue;
        };
        let text = error.to_string();
        let text = text.lines().next().unwrap_or_default();
        let text = text.trim_start_matches("error: ").to_owned();
        let error = match file.origin_of_refused(&error, &command, &words) {
            Some(origin) => anyhow::anyhow!(text).context(origin.to_string()),
            None => anyhow::anyhow!(text).context(planned.name.clone()),
        };
        return Err(error);
    }
    Ok(())
}

impl Command {
    fn run(&self, args: &Args) -> anyhow::Result<Outcome> {
        if let Some(system) = args.systems.first() {
            bail!(
                "`up {system} ..`: a system is named when `up` starts; name services after the command"
            );
        }
        let (act, services) = match self {
            Self::Status => return told(args, &Request::Status),
            Self::Stop { services } if services.is_empty() => return told(args, &Request::Stop),
            Self::Stop { services } => (Act::Stop, services),
            Self::Start { services } => (Act::Start, services),
            Self::Restart { services } => (Act::Restart, services),
        };
        let services = services.clone();
        match ask(&args.data, &Request::Services { services, act })? {
            Some(_) => Ok(Outcome::Done),
            None => nothing_runs(args),
        }
    }
}

/// Asks, and prints the status that comes back.
fn told(args: &Args, request: &Request) -> anyhow::Result<Outcome> {
    let Some(status) = ask(&args.data, request)? else {
        return nothing_runs(args);
    };
    let mut output = Output::new(args.json);
    if args.json {
        output.object(&status)?;
    } else {
        output.bytes(status.text(up::output_columns()).as_bytes())?;
    }
    output.flush()?;
    let failed = status.services.iter().any(|row| row.state == State::Failed);
    Ok(if failed {
        Outcome::Negative
    } else {
        Outcome::Done
    })
}

fn ask(folder: &Path, request: &Request) -> anyhow::Result<Option<Status>> {
    match control::ask(folder, request)? {
        None => Ok(None),
        Some(Reply::Status(status)) => Ok(Some(status)),
        Some(Reply::Refused(reason)) => bail!(reason),
    }
}

fn nothing_runs(args: &Args) -> anyhow::Result<Outcome> {
    // Data goes to standard output, and this is none.
    eprintln!("no `millstream up` runs in `{}`", args.data.display());
    Ok(Outcome::Negative)
}
