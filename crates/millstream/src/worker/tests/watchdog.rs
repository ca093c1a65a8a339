//! What an operator sees of a worker that does not move.

use super::{Bench, SECOND, copier};
use crate::log::SendError;
use crate::topic::NextOffset;

fn stalled(bench: &Bench<()>) -> Vec<String> {
    let slots = bench.worker.core.table.slots();
    let stalled = slots.filter(|slot| slot.activity.stalled);
    stalled.map(|slot| slot.source.to_string()).collect()
}

fn ends(bench: &Bench<()>) -> Vec<Option<NextOffset>> {
    let slots = bench.worker.core.table.slots();
    slots.map(|slot| slot.activity.end).collect()
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
fn what_was_read_and_the_ends_are_published_while_effects_wait() {
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
    assert_eq!(ends(&bench), [Some(NextOffset::new(3))]);
}
