//! The program of the README's first page: how long each caller has talked.
//!
//! `tests.rs` holds the README to this file, word for word, and runs the service.

use std::collections::HashMap;

use millstream::codec::{Json, Text};
use millstream::{
    Cluster, Context, Error, OnError, ProcessError, Record, Service, Shutdown, Topic,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Call {
    seconds: f64,
}

static CALLS: Topic<String, Call> = Topic::new("calls", &Text, &Json).partitions(4);
static TOTALS: Topic<String, f64> = Topic::new("call-totals", &Text, &Json).partitions(4);

/// The state of one partition: the seconds each caller has talked.
#[derive(Default)]
struct Totals(HashMap<String, f64>);

impl Totals {
    fn on_call(
        &mut self,
        call: Record<String, Call>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        let before = self.0.get(&call.key).copied().unwrap_or_default();
        let total = before + call.value.seconds;
        context.emit(&TOTALS, &call.key, &total)?;
        // Last, when nothing can fail any more: a retry must not count the call twice.
        self.0.insert(call.key, total);
        Ok(())
    }
}

fn call_totals() -> Service<Totals> {
    Service::new("call-totals", Totals::default)
        .input(&CALLS, Totals::on_call)
        .output(&TOTALS)
        .on_error(OnError::retry(3).then_dead_letter())
}

fn main() -> Result<(), Error> {
    let summary = call_totals().run(&Cluster::new("kafka:9092"), Shutdown::on_signals()?)?;
    println!("{} records", summary.read);
    Ok(())
}

#[cfg(test)]
mod tests;
