//! A file of jobs: a JSON array, or JSON Lines, one object a line; `-` is standard input.
//!
//! The file is read and checked as a whole. A job that cannot be computed is named by its number, its line and its name, and
//! nothing is begun: who has waited an hour for a file does not want to learn then that its last line was wrong.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use millstream_systems::montecarlo::mathematics::Request;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::check::check;

/// Jobs that are named when they cannot be computed; of more, the number is enough.
const NAMED: usize = 10;

/// One job as it stands in the file.
struct Entry<'a> {
    text: &'a str,
    /// Where it begins, from 1.
    line: usize,
}

/// The jobs of a file; `defaults` holds for those that do not say otherwise.
pub(super) fn read(
    path: &Path,
    defaults: &Map<String, Value>,
    elsewhere: bool,
) -> anyhow::Result<Vec<Request>> {
    let (name, text) = if path.as_os_str() == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.context("failed to read the jobs from standard input")?;
        ("standard input".to_owned(), text)
    } else {
        let name = format!("`{}`", path.display());
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("failed to read the jobs {name}"))?;
        (name, text)
    };
    parse(&text, defaults, elsewhere).context(name)
}

fn parse(
    text: &str,
    defaults: &Map<String, Value>,
    elsewhere: bool,
) -> anyhow::Result<Vec<Request>> {
    let entries = entries(text)?;
    ensure!(!entries.is_empty(), "there is no job in it");
    let (mut requests, mut faults) = (Vec::new(), Vec::new());
    for (number, entry) in entries.iter().enumerate() {
        match entry.request(defaults, elsewhere) {
            Ok(request) => requests.push(request),
            Err(error) => faults.push(entry.fault(number + 1, &error)),
        }
    }
    if faults.is_empty() {
        return Ok(requests);
    }
    let more = faults.len().saturating_sub(NAMED);
    let count = faults.len();
    faults.truncate(NAMED);
    if more > 0 {
        faults.push(format!("and {more} more"));
    }
    bail!(
        "{count} of {} jobs cannot be computed, and none was begun\n{}",
        entries.len(),
        faults.join("\n")
    );
}

/// The jobs of an array, of lines, or the only one.
fn entries(text: &str) -> anyhow::Result<Vec<Entry<'_>>> {
    let whole = |text| serde_json::from_str::<Vec<&RawValue>>(text);
    if text.trim_start().starts_with('[') {
        let jobs = whole(text).context("not a JSON array of jobs")?;
        return Ok(jobs
            .into_iter()
            .map(|job| Entry {
                text: job.get(),
                line: line_of(text, job.get()),
            })
            .collect());
    }
    if let Ok(only) = serde_json::from_str::<&RawValue>(text) {
        let text = only.get();
        return Ok(vec![Entry { text, line: 1 }]);
    }
    let lines = text.lines().zip(1..);
    Ok(lines
        .filter(|(text, _)| !text.trim().is_empty())
        .map(|(text, line)| Entry { text, line })
        .collect())
}

/// The line on which `part`, a part of `text`, begins.
fn line_of(text: &str, part: &str) -> usize {
    let at = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    let before = text.get(..at).unwrap_or_default();
    before.matches('\n').count() + 1
}

impl Entry<'_> {
    fn request(&self, defaults: &Map<String, Value>, elsewhere: bool) -> anyhow::Result<Request> {
        let mut job: Value = serde_json::from_str(self.text).context("not valid JSON")?;
        let object = job.as_object_mut().context("not a JSON object")?;
        for (key, value) in defaults {
            object.entry(key).or_insert_with(|| value.clone());
        }
        let request = serde_json::from_value(job)?;
        check(&request, elsewhere)?;
        Ok(request)
    }

    /// `  job 2 (line 4, `two`): what is wrong with it`
    fn fault(&self, number: usize, error: &anyhow::Error) -> String {
        let job: Option<Value> = serde_json::from_str(self.text).ok();
        let name = job.as_ref().and_then(|job| job.get("name")?.as_str());
        let name = name.map_or_else(String::new, |name| format!(", `{name}`"));
        // The place in a formula is shown on lines of its own.
        let error = format!("{error:#}").replace('\n', "\n  ");
        format!("  job {number} (line {}{name}): {error}", self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let jobs = parse(text, &Map::new(), false).unwrap();
        jobs.into_iter().map(|job| job.name).collect()
    }

    fn refusal(text: &str) -> String {
        format!("{:#}", parse(text, &Map::new(), false).unwrap_err())
    }

    #[test]
    fn an_array_lines_and_one_object_are_read() {
        let one = r#"{"name": "a", "expression": "x0"}"#;
        let two = r#"{"name": "b", "expression": "x0*x1"}"#;
        assert_eq!(names(&format!("[\n{one},\n{two}\n]\n")), ["a", "b"]);
        assert_eq!(names(&format!("{one}\n\n{two}\n")), ["a", "b"]);
        assert_eq!(names(&format!("\n{one}")), ["a"]);
        assert_eq!(
            names("{\n  \"name\": \"c\",\n  \"expression\": \"x0\"\n}\n"),
            ["c"]
        );
    }

    #[test]
    fn every_job_that_is_wrong_is_named_with_its_line() {
        let text = "[\n  {\"name\": \"one\", \"expression\": \"x0\"},\n  {\"name\": \"two\",\n   \"expression\": \"x0 +\"},\n  {\"expresion\": \"x0\"},\n  7\n]";
        let said = refusal(text);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines[0],
            "3 of 4 jobs cannot be computed, and none was begun"
        );
        assert!(
            lines[1].starts_with("  job 2 (line 3, `two`): failed to read the formula at byte 4: "),
            "{said}"
        );
        assert_eq!(lines[2], "    x0 +");
        assert!(
            lines[4].starts_with("  job 3 (line 5): unknown field `expresion`"),
            "{said}"
        );
        assert_eq!(lines[5], "  job 4 (line 6): not a JSON object");
    }

    #[test]
    fn a_line_that_is_no_json_is_named() {
        let said = refusal("{\"expression\": \"x0\"}\n{\"expression\": \n");
        assert!(
            said.contains("\n  job 2 (line 2): not valid JSON: "),
            "{said}"
        );
        assert_eq!(refusal(" \n"), "there is no job in it");
        assert!(
            refusal("[{]").starts_with("not a JSON array of jobs: "),
            "{}",
            refusal("[{]")
        );
    }
}
