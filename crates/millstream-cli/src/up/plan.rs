//! What `up` will run: the services of the chosen systems, how many of each, and the command line of each.
//!
//! A service is named by itself (`receive`), or with its system (`messages.receive`) when two chosen systems share
//! the name; several instances of one are numbered from 1 (`receive.1`). The names are the words of the command
//! line, so that every line of the plan can be typed by hand as well.

use std::collections::BTreeSet;
use std::ffi::OsString;

use anyhow::{bail, ensure};

use crate::config::nearest;

/// A system and its services in the order in which they start.
struct System {
    name: &'static str,
    services: &'static [&'static str],
}

/// Receivers before senders: a group that has joined sees the first record without waiting.
const SYSTEMS: [System; 3] = [
    System {
        name: "messages",
        services: &["receive", "send"],
    },
    System {
        name: "montecarlo",
        services: &["worker", "coordinator", "consumer", "producer"],
    },
    System {
        name: "partitions",
        services: &["consume", "produce"],
    },
];

/// The system that `up` runs when none is named.
const DEFAULT: &str = "messages";
/// More instances of one service than this are a typing error.
const MOST: u32 = 256;

/// One process to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    /// How its lines and its row are marked.
    pub(crate) name: String,
    /// Its system.
    pub(crate) system: &'static str,
    /// What it is called there.
    pub(crate) service: &'static str,
    /// Its command line after the program's name, without the options that all services get.
    pub(crate) arguments: Vec<OsString>,
}

impl Planned {
    /// Whether `word` means it: its name, or that of the service of which it is an instance.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        word == self.name
            || word == self.service
            || word.split_once('.') == Some((self.system, self.service))
    }
}

/// The positions in `plan` of the services that `word` names.
pub(crate) fn named(plan: &[Planned], word: &str) -> anyhow::Result<Vec<usize>> {
    let found: Vec<usize> = plan
        .iter()
        .enumerate()
        .filter(|(_, planned)| planned.is_called(word))
        .map(|(position, _)| position)
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let names = || plan.iter().map(|planned| planned.name.as_str());
    match nearest(word, names()) {
        Some(near) => bail!("there is no service `{word}`; did you mean `{near}`?"),
        None => bail!(
            "there is no service `{word}`; there are: {}",
            names().collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The positions in `plan` of the services that any of `words` names, each once.
pub(crate) fn all_named(plan: &[Planned], words: &[String]) -> anyhow::Result<BTreeSet<usize>> {
    let mut all = BTreeSet::new();
    for word in words {
        all.extend(named(plan, word)?);
    }
    Ok(all)
}

/// The names of all systems.
pub(crate) fn systems() -> impl Iterator<Item = &'static str> {
    SYSTEMS.iter().map(|system| system.name)
}

/// The processes of `chosen` systems, with `scale` (`service=number`) instances where it says so.
pub(crate) fn plan(chosen: &[String], scale: &[String]) -> anyhow::Result<Vec<Planned>> {
    let default = [DEFAULT.to_owned()];
    let chosen = if chosen.is_empty() {
        &default[..]
    } else {
        chosen
    };
    let mut services: Vec<(&'static str, &'static str)> = Vec::new();
    for name in chosen {
        let Some(system) = SYSTEMS.iter().find(|system| system.name == name) else {
            bail!(
                "unknown system `{name}`; there are: {}",
                systems().collect::<Vec<_>>().join(", ")
            );
        };
        ensure!(
            !services.iter().any(|(system, _)| system == name),
            "the system `{name}` is named twice"
        );
        services.extend(
            system
                .services
                .iter()
                .map(|service| (system.name, *service)),
        );
    }
    let mut numbers = vec![1_u32; services.len()];
    for word in scale {
        let (position, number) = scaled(&services, word)?;
        if let Some(entry) = numbers.get_mut(position) {
            *entry = number;
        }
    }
    Ok(services
        .iter()
        .zip(numbers)
        .flat_map(|(service, number)| instances(&services, *service, number))
        .collect())
}

fn instances(
    all: &[(&'static str, &'static str)],
    (system, service): (&'static str, &'static str),
    number: u32,
) -> Vec<Planned> {
    let unique = all.iter().filter(|(_, other)| *other == service).count() == 1;
    let base = if unique {
        service.to_owned()
    } else {
        format!("{system}.{service}")
    };
    let name = |i: u32| {
        if number == 1 {
            base.clone()
        } else {
            format!("{base}.{i}")
        }
    };
    (1..=number)
        .map(|i| Planned {
            name: name(i),
            system,
            service,
            arguments: vec![system.into(), service.into()],
        })
        .collect()
}

/// The position among `services` that `word` scales, and the number of instances it wants.
fn scaled(services: &[(&str, &str)], word: &str) -> anyhow::Result<(usize, u32)> {
    let Some((name, number)) = word.split_once('=') else {
        bail!("--scale {word}: write SERVICE=NUMBER, as in --scale receive=2");
    };
    let number: u32 = match number.parse() {
        Ok(number) if number <= MOST => number,
        _ => bail!("--scale {word}: `{number}` is not a number from 0 to {MOST}"),
    };
    let matches = |(system, service): &(&str, &str)| {
        *service == name || name.split_once('.') == Some((system, service))
    };
    let found: Vec<usize> = services
        .iter()
        .enumerate()
        .filter(|(_, s)| matches(s))
        .map(|(i, _)| i)
        .collect();
    match found.as_slice() {
        [one] => Ok((*one, number)),
        [] => {
            let names = || services.iter().map(|(_, service)| *service);
            match nearest(name, names()) {
                Some(near) => {
                    bail!("--scale {word}: there is no service `{name}`; did you mean `{near}`?")
                }
                None => bail!(
                    "--scale {word}: there is no service `{name}`; there are: {}",
                    names().collect::<Vec<_>>().join(", ")
                ),
            }
        }
        _ => bail!(
            "--scale {word}: several systems have a service `{name}`; name one as system.{name}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn names(chosen: &[&str], scale: &[&str]) -> Vec<String> {
        plan(&words(chosen), &words(scale))
            .unwrap()
            .into_iter()
            .map(|planned| planned.name)
            .collect()
    }

    fn refusal(chosen: &[&str], scale: &[&str]) -> String {
        plan(&words(chosen), &words(scale)).unwrap_err().to_string()
    }

    #[test]
    fn no_system_named_is_messages() {
        assert_eq!(names(&[], &[]), ["receive", "send"]);
    }

    #[test]
    fn instances_are_numbered_and_zero_leaves_a_service_out() {
        assert_eq!(
            names(&["messages"], &["receive=2"]),
            ["receive.1", "receive.2", "send"]
        );
        assert_eq!(names(&["messages"], &["messages.send=0"]), ["receive"]);
        assert_eq!(
            names(&["messages", "partitions"], &[]),
            ["receive", "send", "consume", "produce"]
        );
    }

    #[test]
    fn the_command_line_is_what_a_person_would_type() {
        let plan = plan(&words(&["partitions"]), &[]).unwrap();
        assert_eq!(plan[0].arguments, ["partitions", "consume"]);
    }

    #[test]
    fn a_word_names_one_instance_or_all() {
        let plan = plan(&words(&["messages"]), &words(&["receive=2"])).unwrap();
        let found = |word| named(&plan, word).map_err(|error| error.to_string());
        assert_eq!(found("receive"), Ok(vec![0, 1]));
        assert_eq!(found("messages.receive"), Ok(vec![0, 1]));
        assert_eq!(found("receive.2"), Ok(vec![1]));
        assert_eq!(
            found("sent"),
            Err("there is no service `sent`; did you mean `send`?".to_owned())
        );
    }

    #[test]
    fn wrong_words_are_refused_with_what_would_be_right() {
        assert_eq!(
            refusal(&["mesages"], &[]),
            "unknown system `mesages`; there are: messages, montecarlo, partitions"
        );
        assert_eq!(
            refusal(&["messages", "messages"], &[]),
            "the system `messages` is named twice"
        );
        assert_eq!(
            refusal(&[], &["recieve=2"]),
            "--scale recieve=2: there is no service `recieve`; did you mean `receive`?"
        );
        assert_eq!(
            refusal(&[], &["x=2"]),
            "--scale x=2: there is no service `x`; there are: receive, send"
        );
        assert_eq!(
            refusal(&[], &["receive=lots"]),
            "--scale receive=lots: `lots` is not a number from 0 to 256"
        );
        assert_eq!(
            refusal(&[], &["receive"]),
            "--scale receive: write SERVICE=NUMBER, as in --scale receive=2"
        );
    }
}
