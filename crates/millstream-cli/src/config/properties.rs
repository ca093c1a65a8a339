//! Properties of the Kafka client from file, environment and flags; which of them are secrets, which are dangerous.
//!
//! Whether the client knows a property is the library's business (`Cluster::property`). Here: a value of a secret
//! is never printed and never taken from a flag, a file that merely lay in the working directory cannot name code to
//! load or a command to run, and each property keeps its origin for the error that may follow.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use anyhow::{Context, bail};
use toml::{Table, Value};

use super::Origin;

/// The environment names properties by this prefix: `MILLSTREAM_PROPERTY_SASL_PASSWORD` is `sasl.password`. No other
/// variable of the project begins with it.
const PREFIX: &str = "MILLSTREAM_PROPERTY_";
/// Properties that make librdkafka load a library or run a command.
const RUNS_CODE: [&str; 4] = [
    "plugin.library.paths",
    "sasl.kerberos.kinit.cmd",
    "ssl.engine.location",
    "ssl.providers",
];

/// One property of the Kafka client; printing it shows the value unless it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Property {
    /// The name as librdkafka spells it.
    pub(crate) name: String,
    /// The value.
    pub(crate) value: String,
    /// Where it was given.
    pub(crate) origin: Origin,
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if is_secret(&self.name) {
            "***"
        } else {
            &self.value
        };
        write!(f, "{}={value}", self.name)
    }
}

/// Whether the value of this property must not be seen.
pub(crate) fn is_secret(name: &str) -> bool {
    let marks = [
        "password",
        "secret",
        "ssl.key.pem",
        "ssl_key",
        "oauthbearer.config",
        "oauthbearer.assertion.private",
    ];
    marks.iter().any(|mark| name.contains(mark)) && !name.ends_with(".location")
}

/// The `[kafka]` table of the file at `path`; `named` when the user named that file.
pub(super) fn from_table(path: &Path, table: &Table, named: bool) -> anyhow::Result<Vec<Property>> {
    let mut found = Vec::new();
    flatten(path, "", table, &mut found)?;
    for property in &found {
        if !named && RUNS_CODE.contains(&property.name.as_str()) {
            bail!(
                "`kafka.{}` in `{}` can run other code and is refused in a file that was only found here; name the file with --config if you trust it",
                property.name,
                path.display()
            );
        }
    }
    found.into_iter().map(read_secret_file).collect()
}

fn flatten(
    path: &Path,
    prefix: &str,
    table: &Table,
    found: &mut Vec<Property>,
) -> anyhow::Result<()> {
    for (key, value) in table {
        let name = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            // TOML reads `sasl.username = ".."` as tables in tables.
            Value::Table(inner) => flatten(path, &name, inner, found)?,
            other => {
                let value = super::text(other)
                    .with_context(|| format!("`kafka.{name}` in `{}`", path.display()))?;
                let origin = Origin::Key {
                    path: path.to_owned(),
                    key: format!("kafka.{name}"),
                };
                found.push(Property {
                    name,
                    value,
                    origin,
                });
            }
        }
    }
    Ok(())
}

/// The properties among the environment's variables.
pub(super) fn from_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Vec<Property>> {
    let mut found = Vec::new();
    for (variable, value) in variables {
        let Some(name) = variable
            .to_str()
            .and_then(|variable| variable.strip_prefix(PREFIX))
        else {
            continue;
        };
        let Some(value) = value.to_str() else {
            bail!("the value of {PREFIX}{name} is not UTF-8")
        };
        let name = match name.strip_suffix("_FILE") {
            Some(name) => format!("{}_file", dotted(name)),
            None => dotted(name),
        };
        found.push(read_secret_file(Property {
            name,
            value: value.to_owned(),
            origin: Origin::Variable(variable.to_string_lossy().into_owned()),
        })?);
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn dotted(variable: &str) -> String {
    variable.to_ascii_lowercase().replace('_', ".")
}

/// The properties of `-X name=value`.
pub(super) fn from_flags(flags: &[String]) -> anyhow::Result<Vec<Property>> {
    flags.iter().map(|flag| from_flag(flag)).collect()
}

fn from_flag(flag: &str) -> anyhow::Result<Property> {
    // The text itself may be a secret with a typing error in it: only the part before a `=` is ever repeated.
    let Some((name, value)) = flag.split_once('=') else {
        bail!("option `-X` takes name=value, as in -X socket.timeout.ms=10000");
    };
    let name = name.trim();
    if is_secret(name) {
        bail!(
            "`{name}` is a secret and everyone who lists processes sees flags; set {PREFIX}{}, or {name}_file = \"PATH\" under [kafka] in millstream.toml",
            name.to_ascii_uppercase().replace('.', "_")
        );
    }
    Ok(Property {
        name: name.to_owned(),
        value: value.to_owned(),
        origin: Origin::Option("-X"),
    })
}

/// `sasl.password_file = "/run/secrets/kafka"` becomes `sasl.password` with the content of that file.
fn read_secret_file(property: Property) -> anyhow::Result<Property> {
    match property.name.strip_suffix("_file") {
        Some(name) if is_secret(name) => {
            let content = std::fs::read_to_string(&property.value).with_context(|| {
                format!(
                    "{}: failed to read `{}` for the property `{name}`",
                    property.origin, property.value
                )
            })?;
            Ok(Property {
                name: name.to_owned(),
                value: content.trim_end_matches(['\r', '\n']).to_owned(),
                origin: property.origin,
            })
        }
        _ => Ok(property),
    }
}
