//! `millstream explain SYSTEM SERVICE`: what a service reads, writes and guarantees, from its own declaration.
//!
//! Nothing is asked of a cluster. What is shown is what would run, for the declaration is the same value.

use anyhow::{Context, bail};
use clap::FromArgMatches;
use millstream::{Delivery, Description, Shutdown, Start, TopicDescription};
use millstream_systems::messages::receive;
use millstream_systems::montecarlo::{self, consumer, coordinator};
use millstream_systems::partitions::{consume, worker};

use crate::config::File;
use crate::output::Output;
use crate::{Outcome, args};

/// Which service.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  millstream explain messages receive\n  millstream explain partitions consume --group mine --json"
)]
pub(crate) struct Args {
    /// The system
    system: String,
    /// The service
    service: String,
    /// Options of the service
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTION"
    )]
    options: Vec<String>,
}

impl Args {
    /// Prints the declaration that would run with these options, the file and the environment.
    pub(crate) fn run(self, file: &File) -> anyhow::Result<Outcome> {
        match (self.system.as_str(), self.service.as_str()) {
            ("messages", "receive") => {
                let (options, json) = self.options::<receive::Options>(file)?;
                let received = receive::Received::new(&options, Shutdown::new());
                print(&receive::service(&options, &received).describe(), json)
            }
            ("partitions", "consume") => {
                let (options, json) = self.options::<consume::Options>(file)?;
                print(&worker::explained(&options).describe(), json)
            }
            ("montecarlo", "coordinator") => {
                let (options, json) = self.options::<coordinator::Options>(file)?;
                print(&coordinator::explained(&options).describe(), json)
            }
            ("montecarlo", "worker") => {
                let (options, json) = self.options::<montecarlo::worker::Options>(file)?;
                print(&montecarlo::worker::explained(&options)?.describe(), json)
            }
            ("montecarlo", "consumer") => {
                let (options, json) = self.options::<consumer::Options>(file)?;
                let received = consumer::Received::new(
                    &consumer::Options {
                        store: None,
                        ..options.clone()
                    },
                    Shutdown::new(),
                )?;
                print(&consumer::service(&options, &received).describe(), json)
            }
            ("messages", "send") | ("montecarlo", "producer") | ("partitions", "produce") => bail!(
                "`{} {}` only writes and declares no service; try `millstream {0} {1} --help`",
                self.system,
                self.service
            ),
            _ => bail!(
                "unknown service `{} {}`; known services: messages receive, montecarlo consumer, montecarlo coordinator, montecarlo worker, partitions consume",
                self.system,
                self.service
            ),
        }
    }

    /// The options of the service as its own command would read them, and whether JSON is wanted.
    fn options<T: FromArgMatches>(&self, file: &File) -> anyhow::Result<(T, bool)> {
        let root = file.apply(args::command())?;
        let service = root
            .find_subcommand(&self.system)
            .and_then(|system| system.find_subcommand(&self.service));
        let service = service
            .cloned()
            .context("the command line has no such service")?
            .no_binary_name(true);
        let has_json = service
            .get_arguments()
            .any(|argument| argument.get_id() == "json");
        let service = if has_json {
            service
        } else {
            let json = clap::Arg::new("json").long("json");
            service.arg(json.action(clap::ArgAction::SetTrue))
        };
        let matches = service
            .try_get_matches_from(&self.options)
            .unwrap_or_else(|error| error.exit());
        Ok((T::from_arg_matches(&matches)?, matches.get_flag("json")))
    }
}

fn print(description: &Description, json: bool) -> anyhow::Result<Outcome> {
    let mut output = Output::new(json);
    if json {
        output.object(description)?;
    } else {
        for (name, value) in lines(description) {
            output.line(format_args!("{name:<14}{value}"))?;
        }
    }
    output.flush()?;
    Ok(Outcome::Done)
}

/// Name and value of each line; a further value of the same name has an empty one.
fn lines(of: &Description) -> Vec<(&'static str, String)> {
    let mut lines = vec![("service", of.service.clone()), ("group", of.group.clone())];
    several(&mut lines, "reads", of.inputs.iter().map(topic));
    several(&mut lines, "writes", of.outputs.iter().map(topic));
    let delivery = match of.delivery {
        Delivery::AtLeastOnce => {
            "at least once: an offset is committed after its effects are acknowledged"
        }
        _ => "see the documentation of this version",
    };
    lines.push(("delivery", delivery.to_owned()));
    lines.push(("on error", of.on_error.clone()));
    for exception in &of.exceptions {
        let (topic, policy) = (&exception.topic, &exception.on_error);
        lines.push(("", format!("{topic}: {policy}")));
    }
    several(
        &mut lines,
        "dead letters",
        of.dead_letter_topics.iter().cloned(),
    );
    if !of.dead_letter_topics.is_empty() {
        lines.push((
            "",
            format!(
                "stops if more than {:.0} % of the records go there",
                of.dead_letter_limit * 100.0
            ),
        ));
    }
    lines.push(("starts from", start(of.start_from).to_owned()));
    lines.push(("threads", of.threads.to_string()));
    several(
        &mut lines,
        "timers",
        of.timers_ms.iter().map(|every| format!("every {every} ms")),
    );
    lines.push((
        "commits",
        format!(
            "every {} ms, while records are being processed",
            of.commit_every_ms
        ),
    ));
    lines.push(("drains within", format!("{} ms", of.drain_within_ms)));
    lines
}

fn several(
    lines: &mut Vec<(&'static str, String)>,
    name: &'static str,
    values: impl Iterator<Item = String>,
) {
    let before = lines.len();
    for value in values {
        let name = if lines.len() == before { name } else { "" };
        lines.push((name, value));
    }
    if lines.len() == before {
        lines.push((name, "none".to_owned()));
    }
}

fn topic(of: &TopicDescription) -> String {
    let mut text = format!("{}, key {}, value {}", of.topic, of.key, of.value);
    if let Some(partitions) = of.partitions {
        text.push_str(&format!(", {partitions} partitions"));
    }
    if let Some(retention) = of.retention_ms {
        text.push_str(&format!(", retention {retention} ms"));
    }
    text
}

fn start(from: Start) -> &'static str {
    match from {
        Start::Earliest => "the earliest record, if nothing is committed",
        Start::Latest => "the end, if nothing is committed",
        Start::Fail => "the committed offset; an error if there is none",
    }
}
