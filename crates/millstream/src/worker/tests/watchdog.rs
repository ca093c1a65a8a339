//! What an operator sees of a worker that does not move.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::{Bench, SECOND, copier, part};
use crate::log::{Begin, Event, Log as _, SendError};
use crate::metrics::LAG;
use crate::policy::OnError;
use crate::topic::NextOffset;

fn stalled(bench: &Bench<()>) -> Vec<String> {
    let slots = bench.worker.core.table.slots();
    let stalled = slots.filter(|slot| slot.activity.stalled);
    stalled.map(|slot| slot.source.to_string()).collect()
}

#[test]
fn a_partition_without_a_leader_hides_no_other_that_is_stalled() {
    let mut bench = Bench::new(copier());
    bench.log.freeze(0);
    bench.log.freeze(1);
    bench.log.lose_leader(0);
    bench.log.write(0, &["a"]);
    bench.log.write(1, &["b"]);
    bench.log.assign([0, 1]);
    bench.settle();
    for _ in 0..6 {
        bench.after(SECOND * 10);
    }
    assert_eq!(stalled(&bench), ["in[1]"]);
}

#[test]
fn what_was_read_and_the_lag_are_published_while_effects_wait() {
    let lag = with_lag(|lag| {
        let mut bench = Bench::new(copier());
        bench
            .log
            .refuse(|_, value| (value == "b").then_some(SendError::Full));
        bench.log.write(0, &["a", "b", "c"]);
        bench.log.assign([0]);
        for _ in 0..20 {
            bench.clock.advance(SECOND);
            bench.step();
        }
        assert_eq!(bench.worker.totals().read, 2);
        bench.log.write(0, &["d"; 10]);
        for _ in 0..20 {
            bench.clock.advance(SECOND);
            bench.step();
        }
        lag()
    });
    assert_eq!(
        lag.as_deref(),
        Some("12"),
        "nobody looks at the end of what is paused"
    );
}

/// The first record of a group that has committed nothing waits for its retry: that is a lag, too.
#[test]
fn the_lag_is_known_before_the_first_record_is_done() {
    let lag = with_lag(|lag| {
        let mut bench =
            Bench::new(copier().on_error(OnError::retry(9).backoff(SECOND * 60, SECOND * 60)));
        bench.log.begin(Begin::Chosen(NextOffset::new(2)));
        bench.log.seek(&part(0), NextOffset::new(2)).unwrap();
        bench.log.write(0, &["", "", "bad", "c", "d"]);
        bench.log.assign([0]);
        bench.settle();
        for _ in 0..2 {
            bench.after(SECOND * 10);
        }
        lag()
    });
    assert_eq!(lag.as_deref(), Some("3"));
}

/// A topic that is made anew with fewer records has the end of the new one.
#[test]
fn the_end_of_a_topic_that_is_gone_is_forgotten() {
    let lag = with_lag(|lag| {
        let mut bench =
            Bench::new(copier().on_error(OnError::retry(1).backoff(SECOND * 25, SECOND * 25)));
        bench.log.write(0, &["flaky"]);
        bench.log.write(0, &["x"; 99]);
        bench.log.assign([0]);
        bench.settle();
        bench.after(SECOND * 20);
        bench.after(SECOND);
        assert_eq!(lag().as_deref(), Some("100"));
        bench.after(SECOND * 10);
        bench.log.make_anew(0, &["a", "b"]);
        bench.log.event(Event::OutOfRange {
            partition: part(0),
            wanted: NextOffset::new(100),
            start: NextOffset::new(0),
            end: NextOffset::new(2),
        });
        bench.settle();
        bench.after(SECOND);
        lag()
    });
    assert_eq!(lag.as_deref(), Some("0"));
}

/// Runs a story that can look at the lag of its partition as the metrics show it.
fn with_lag<T>(story: impl FnOnce(&dyn Fn() -> Option<String>) -> T) -> T {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        story(&|| {
            let text = recorder.handle().render();
            let line = text.lines().find(|line| line.starts_with(LAG))?;
            line.rsplit(' ').next().map(str::to_owned)
        })
    })
}
