//! What programs outside say and hear, as JSON: requests are those of the mathematics, outcomes its answers, and a word of control.
//!
//! An outcome has the keys of an answer and no envelope; while its job runs its status is `running`. What stands beside the
//! answer's own keys is `exact`, when the request carried it, so that whoever reads results alone can compare.

use millstream::Timestamp;
use millstream_montecarlo::{Answer, Request, Status};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::{Saved, Ticket};

/// A word to coordinators, or from them to workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// What is to happen.
    pub action: Action,
    /// The job's id, from programs outside; the record's key when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The job's place, from coordinators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The job is to end at its last complete wave: what programs outside may say.
    Cancel,
    /// To workers: the job has ended, its tasks need not be done.
    Forget,
    /// To workers: the job's tasks end whoever begins them; to the dead letters with them.
    Poison,
}

/// What is known of a job: its answer, or as far as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// The exact value that the request carried: a number, or one for each component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<Value>,
}

impl Outcome {
    /// The answer to a request that cannot be a job.
    #[must_use]
    pub fn refused(request: Option<&Request>, reason: &str) -> Self {
        Self {
            answer: Answer::refused(request, reason),
            exact: None,
        }
    }

    /// What is known of a job that runs, at `now`.
    #[must_use]
    pub fn progress(saved: &Saved, now: Timestamp) -> Self {
        let mut answer = saved.job.answer();
        answer.warnings.extend(saved.warnings.iter().cloned());
        let took = now.millis().saturating_sub(saved.opened).max(0);
        answer.seconds = took as f64 / 1000.0;
        let exact = saved.job.request().exact.as_ref();
        Self {
            answer,
            exact: exact.and_then(|exact| serde_json::to_value(exact).ok()),
        }
    }

    /// Whether the job has ended.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.answer.status != Status::Running
    }

    /// Whether the answer is as good as was asked for.
    #[must_use]
    pub fn is_converged(&self) -> bool {
        self.answer.status == Status::Converged
    }

    /// Whether there is no answer.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.answer.status == Status::Failed
    }

    /// The status as it stands in the JSON.
    #[must_use]
    pub const fn status_word(&self) -> &'static str {
        self.answer.status.name()
    }

    /// How far the value is from the exact one, in half-widths of the 95 % interval; the worst of all components. `None` when one of
    /// the three is not known.
    #[must_use]
    pub fn deviation(&self) -> Option<f64> {
        let exact = numbers(self.exact.as_ref()?);
        let answer = serde_json::to_value(&self.answer).ok()?;
        let values = numbers(answer.get("value")?);
        let ends = numbers(answer.get("interval")?);
        let one = |((value, exact), ends): ((&f64, &f64), &[f64])| {
            let half = match ends {
                [low, high] => 0.5 * (high - low),
                _ => f64::NAN,
            };
            let off = (value - exact).abs();
            // A rule of cubature may be exact to the last bit and say so.
            let rounding = 4.0 * f64::EPSILON * exact.abs();
            if off <= rounding { 0.0 } else { off / half }
        };
        if values.len() != exact.len() || ends.len() != 2 * values.len() {
            return None;
        }
        let each = values.iter().zip(&exact).zip(ends.chunks(2)).map(one);
        each.reduce(f64::max).filter(|worst| !worst.is_nan())
    }

    /// The record with its deviation, for a file.
    ///
    /// # Errors
    /// It has no form as JSON.
    pub fn with_deviation(&self) -> Result<Value, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        if let (Value::Object(object), Some(deviation)) = (&mut value, self.deviation()) {
            object.insert("deviation".to_owned(), Value::from(deviation));
        }
        Ok(value)
    }

    /// A key of the answer as text, for logs.
    #[must_use]
    pub fn text(&self, key: &str) -> String {
        let value = serde_json::to_value(self).ok();
        match value.as_ref().and_then(|value| value.get(key)) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

/// All numbers of a value, in order.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        other => other.as_f64().into_iter().collect(),
    }
}
