//! `millstream explain SYSTEM SERVICE`: what a service reads, writes and promises, from its own declaration.
//!
//! Nothing is asked of a cluster. What is shown is what would run, for the declaration is the same value.

use anyhow::bail;
use clap::Parser;
use millstream::Shutdown;
use millstream_systems::messages::receive;
use millstream_systems::partitions::{consume, worker};
use serde_json::Value;

use crate::Outcome;
use crate::output::Output;

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
    /// Options of the service, which change what is explained
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTION"
    )]
    options: Vec<String>,
}

/// The options of a service, and `--json`.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Of<T: clap::Args> {
    #[command(flatten)]
    options: T,
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Prints the declaration.
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match (self.system.as_str(), self.service.as_str()) {
            ("messages", "receive") => {
                let of: Of<receive::Options> = Of::try_parse_from(self.options)?;
                let received = receive::Received::new(&of.options, Shutdown::new());
                print(
                    &receive::service(&of.options, &received).describe(),
                    of.json,
                )
            }
            ("partitions", "consume") => {
                let of: Of<consume::Options> = Of::try_parse_from(self.options)?;
                print(&worker::explained(&of.options).describe(), of.json)
            }
            ("messages", "send") | ("partitions", "produce") => bail!(
                "`{} {}` only writes and is no service with a declaration; try `millstream {0} {1} --help`",
                self.system,
                self.service
            ),
            _ => bail!(
                "unknown service `{} {}`; there are: messages receive, partitions consume",
                self.system,
                self.service
            ),
        }
    }
}

fn print(description: &millstream::Description, json: bool) -> anyhow::Result<Outcome> {
    let mut output = Output::new(json);
    if json {
        output.object(description)?;
    } else {
        let value = serde_json::to_value(description)?;
        for line in lines(&value) {
            output.line(line)?;
        }
    }
    output.flush()?;
    Ok(Outcome::Done)
}

/// `name  value`, a topic on a line of its own.
fn lines(description: &Value) -> Vec<String> {
    let fields = description.as_object().into_iter().flatten();
    let width = 20;
    let mut lines = Vec::new();
    for (name, value) in fields {
        let name = name.replace('_', " ");
        match value {
            Value::Array(values) if values.is_empty() => lines.push(format!("{name:width$}none")),
            Value::Array(values) => {
                for (position, value) in values.iter().enumerate() {
                    let name = if position == 0 { name.as_str() } else { "" };
                    lines.push(format!("{name:width$}{}", text(value)));
                }
            }
            value => lines.push(format!("{name:width$}{}", text(value))),
        }
    }
    lines
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let known = fields.iter().filter(|(_, value)| !value.is_null());
            known
                .map(|(name, value)| {
                    if name == "topic" {
                        text(value)
                    } else {
                        format!("{} {}", name.replace('_', " "), text(value))
                    }
                })
                .collect::<Vec<_>>()
                .join(", ")
        }
        other => other.to_string(),
    }
}
