//! Jobs that are stopped, continued, or run out of time.

use super::{ENDLESS, answer, bits, integrate, interrupt, number};
use crate::world::World;

#[test]
fn a_job_that_was_stopped_goes_on_from_its_checkpoint_to_the_same_bits() {
    let world = World::new();
    let job = [
        "exp(-x0*x1)",
        "--method",
        "plain",
        "--rel-error",
        "1e-9",
        "--max-samples",
        "3e8",
    ];
    let kept = [&job[..], &["--checkpoint", "job"]].concat();
    interrupt(&world, integrate(&world, &kept)).expect(1);
    let resumed = answer(&world, &kept, 1);
    let whole = answer(&world, &job, 1);
    assert_eq!(resumed["status"], "budget_exhausted");
    assert_eq!(bits(resumed), bits(whole));
    let other = integrate(&world, &["x0", "--checkpoint", "job"])
        .end()
        .expect(2);
    assert!(
        other.stderr.contains("holds another job: exp(-x0*x1)"),
        "{}",
        other.stderr
    );
    std::fs::write(world.folder.path().join("job"), "something").unwrap();
    let torn = integrate(&world, &kept).end().expect(2);
    assert!(
        torn.stderr.contains("`job` is no checkpoint"),
        "{}",
        torn.stderr
    );
}

#[test]
fn a_finished_job_is_tightened() {
    let world = World::new();
    let job = ["exp(-x0*x1)", "--method", "rqmc", "--checkpoint", "job"];
    let coarse = answer(&world, &[&job[..], &["--rel-error", "1e-3"]].concat(), 0);
    let fine = answer(&world, &[&job[..], &["--rel-error", "1e-7"]].concat(), 0);
    assert!(number(&fine, "samples") > number(&coarse, "samples"));
    assert!(number(&fine, "standard_error") < number(&coarse, "standard_error"));
}

#[test]
fn ctrl_c_still_gives_the_honest_answer() {
    let world = World::new();
    let words = [&ENDLESS[..], &["--json", "--checkpoint", "job"]].concat();
    let ended = interrupt(&world, integrate(&world, &words)).expect(1);
    let answer = ended.json().remove(0);
    assert_eq!(answer["status"], "cancelled");
    // Four ninths.
    assert!(
        (number(&answer, "value") - 4.0 / 9.0).abs() < 10.0 * number(&answer, "standard_error"),
        "{answer}"
    );
}

#[test]
fn a_deadline_ends_a_job_at_its_last_complete_wave() {
    let world = World::new();
    // How long the first wave takes is for the machine to say.
    let samples = ["300ms", "3s", "30s"].into_iter().map(|deadline| {
        let words = [&ENDLESS[..], &["--deadline", deadline]].concat();
        let answer = answer(&world, &words, 1);
        assert_eq!(answer["status"], "deadline");
        number(&answer, "samples")
    });
    assert!(samples.into_iter().any(|samples| samples > 0.0));
}
