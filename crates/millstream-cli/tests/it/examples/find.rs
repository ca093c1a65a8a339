//! Where examples stand: the lines under `Example:` and `Examples:` of every command's `--help`, and in the code blocks of the
//! pages the lines that begin with `$ ` or `millstream `, also with variables set before them. Those of a section `Step by step` need one
//! another, and have a test of their own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::{Running, program};

/// One command line and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Example {
    pub(super) place: String,
    pub(super) line: String,
}

/// The commands below `path`, that one included.
fn commands(path: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let mut command = program();
    command.args(path).arg("--help").env("COLUMNS", "1000");
    let help = Running::start(command).end().expect(0).stdout;
    let below: Vec<String> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    found.push((path.to_vec(), help));
    for name in below {
        commands(&[path, &[name]].concat(), found);
    }
}

/// The examples of one help text.
fn of_help(place: &str, help: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut inside = false;
    for line in help.lines() {
        let single = line.strip_prefix("Example: ");
        inside = line == "Examples:" || (inside && line.starts_with("  "));
        if let Some(line) = single.or(inside.then(|| line.trim()))
            && line.contains("millstream")
        {
            examples.push(Example {
                place: place.to_owned(),
                line: line.to_owned(),
            });
        }
    }
    examples
}

/// The examples in the code blocks of a page.
fn of_page(place: &str, text: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let (mut inside, mut steps) = (false, false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            continue;
        }
        if !inside && line.starts_with('#') {
            steps = line.ends_with("Step by step");
        }
        let typed = line.strip_prefix("$ ").unwrap_or(line);
        let command = super::rewrite::words(typed).join(" ");
        let is_ours = command == "millstream"
            || command.starts_with("millstream ")
            || command.starts_with("cargo run --release -- ")
            || (line.starts_with("$ ") && typed.contains("millstream "));
        if !inside || steps || !is_ours {
            continue;
        }
        let mut whole = typed.to_owned();
        while let Some(first) = whole.strip_suffix('\\') {
            whole = format!("{first}{}", lines.next().unwrap().trim_start());
        }
        examples.push(Example {
            place: place.to_owned(),
            line: whole,
        });
    }
    examples
}

/// The repository's pages.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders = vec![root.join("docs")];
    let mut found = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every example there is.
pub(super) fn all() -> Vec<Example> {
    let mut helps = Vec::new();
    commands(&[], &mut helps);
    let mut examples: Vec<Example> = helps
        .iter()
        .flat_map(|(path, help)| of_help(&format!("millstream {} --help", path.join(" ")), help))
        .collect();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        examples.extend(of_page(&page.display().to_string(), &text));
    }
    examples
}

#[test]
fn examples_are_found_where_they_stand() {
    let help = "Usage\n\nExamples:\n  echo a | millstream send t\n  millstream tail t\n\nElse\n  millstream no\nExample: millstream man";
    let lines = |examples: Vec<Example>| examples.into_iter().map(|e| e.line).collect::<Vec<_>>();
    assert_eq!(
        lines(of_help("help", help)),
        [
            "echo a | millstream send t",
            "millstream tail t",
            "millstream man"
        ]
    );
    let page = "millstream no\n```sh\nmillstream up \\\n  --for 1s\n$ cargo test\n```\n`millstream no`\n```\n$ printf a | millstream send t\nmillstream is text\n```";
    assert_eq!(
        lines(of_page("page", page)),
        [
            "millstream up --for 1s",
            "printf a | millstream send t",
            "millstream is text"
        ]
    );
}
