//! The file of answers: JSON Lines or CSV by its ending, one answer a line, each job once however often it comes.
//!
//! A line is written whole and handed to the operating system before its record counts as done, so a killed process loses no
//! answer; what a kill left of a last line is cut off at the next start, and jobs that stand in the file already are not
//! written again.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::Value;

/// The columns of a CSV file: the job, then what its answer has under these names.
const COLUMNS: [&str; 19] = [
    "name",
    "status",
    "value",
    "standard_error",
    "interval",
    "exact",
    "deviation",
    "degrees_of_freedom",
    "chi2_per_dof",
    "q",
    "samples",
    "bad_samples",
    "method",
    "waves",
    "seed",
    "plan_hash",
    "numerics",
    "seconds",
    "warnings",
];

/// An open file of answers.
#[derive(Debug)]
pub struct Store {
    file: File,
    csv: bool,
    jobs: HashSet<String>,
}

impl Store {
    /// Opens or makes the file: CSV when its name ends in `.csv`, else JSON Lines.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let csv = path.extension().is_some_and(|ending| ending == "csv");
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let mut store = Self {
            file: file.try_clone()?,
            csv,
            jobs: HashSet::new(),
        };
        let whole = store.read(&mut file)?;
        file.set_len(whole)?;
        if whole == 0 && csv {
            store.line(&format!("job,{}", COLUMNS.join(",")))?;
        }
        Ok(store)
    }

    /// How many answers stand in the file.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Adds an answer; false when the job's answer is there already.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, job: &str, answer: &Value) -> io::Result<bool> {
        if self.jobs.contains(job) {
            return Ok(false);
        }
        let line = if self.csv {
            let cells = COLUMNS.iter().map(|column| cell(answer.get(column)));
            let cells: Vec<String> = std::iter::once(quoted(job)).chain(cells).collect();
            cells.join(",")
        } else {
            let mut object = serde_json::Map::new();
            object.insert("job".to_owned(), Value::from(job));
            if let Value::Object(fields) = answer {
                object.extend(fields.clone());
            }
            Value::Object(object).to_string()
        };
        self.line(&line)?;
        self.jobs.insert(job.to_owned());
        Ok(true)
    }

    /// One write for a line, so that a kill leaves all of it or a piece that the next start finds.
    fn line(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())
    }

    /// Notes the jobs of all whole lines; where they end.
    fn read(&mut self, file: &mut File) -> io::Result<u64> {
        file.seek(SeekFrom::Start(0))?;
        let mut lines = BufReader::new(file);
        let (mut whole, mut line) = (0_u64, Vec::new());
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line)?;
            if read == 0 || line.last() != Some(&b'\n') {
                return Ok(whole);
            }
            let is_head = whole == 0 && self.csv;
            whole += u64::try_from(read).unwrap_or(0);
            if !is_head && let Some(job) = self.job_of(&String::from_utf8_lossy(&line)) {
                self.jobs.insert(job);
            }
        }
    }

    fn job_of(&self, line: &str) -> Option<String> {
        if self.csv {
            return first_cell(line);
        }
        let object: Value = serde_json::from_str(line).ok()?;
        Some(object.get("job")?.as_str()?.to_owned())
    }
}

/// A value as one cell: lists by semicolons, nothing for null.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => quoted(text),
        Some(Value::Array(list)) => {
            let parts: Vec<String> = list.iter().map(plain).collect();
            quoted(&parts.join(";"))
        }
        Some(other) => quoted(&other.to_string()),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Quoted as RFC 4180 wants it, where it has to be.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!(
            "\"{}\"",
            text.replace('"', "\"\"").replace(['\n', '\r'], " ")
        )
    } else {
        text.to_owned()
    }
}

fn first_cell(line: &str) -> Option<String> {
    let Some(rest) = line.strip_prefix('"') else {
        return Some(line.split([',', '\n']).next()?.to_owned());
    };
    let mut text = String::new();
    let mut letters = rest.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if letters.peek() == Some(&'"') => {
                letters.next();
                text.push('"');
            }
            '"' => break,
            other => text.push(other),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(value: f64) -> Value {
        json!({"name": "a, \"b\"", "status": "converged", "value": [value, 2.0], "interval": [[1.0, 2.0], [3.0, 4.0]], "q": null})
    }

    #[test]
    fn a_job_stands_once_in_the_file_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["answers.jsonl", "answers.csv"] {
            let path = folder.path().join(name);
            let mut store = Store::open(&path).unwrap();
            assert!(store.add("one, \"1\"", &answer(1.5)).unwrap());
            assert!(!store.add("one, \"1\"", &answer(1.5)).unwrap());
            drop(store);
            let mut store = Store::open(&path).unwrap();
            assert_eq!(store.len(), 1);
            assert!(!store.add("one, \"1\"", &answer(1.5)).unwrap());
            assert!(store.add("two", &answer(2.5)).unwrap());
        }
        let csv = std::fs::read_to_string(folder.path().join("answers.csv")).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[1].starts_with(
                "\"one, \"\"1\"\"\",\"a, \"\"b\"\"\",converged,1.5;2.0,,1.0 2.0;3.0 4.0,"
            ),
            "{}",
            lines[1]
        );
    }

    #[test]
    fn what_a_kill_left_of_a_line_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.jsonl");
        let mut store = Store::open(&path).unwrap();
        store.add("one", &answer(1.0)).unwrap();
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        let torn = [&whole[..], b"{\"job\":\"tw"].concat();
        std::fs::write(&path, torn).unwrap();
        let mut store = Store::open(&path).unwrap();
        assert_eq!(store.len(), 1);
        store.add("two", &answer(2.0)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(
            text.lines()
                .all(|line| serde_json::from_str::<Value>(line).is_ok()),
            "{text}"
        );
    }
}
