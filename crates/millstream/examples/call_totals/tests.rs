//! The program on the README's first page: it is the example, word for word, and counts right when an attempt fails.

use millstream::testing::World;

use super::*;

const README: &str = include_str!("../../../../README.md");
const EXAMPLE: &str = include_str!("main.rs");

#[test]
fn the_readme_shows_the_example_word_for_word() {
    let after_head = EXAMPLE.split_once("\n\n").unwrap().1;
    let program = after_head.split_once("\n#[cfg(test)]").unwrap().0;
    assert!(program.contains("fn main()"), "{program}");
    let shown = format!("```rust\n{program}```\n");
    assert!(
        README.contains(&shown),
        "the README's program is not crates/millstream/examples/call_totals/main.rs:\n{shown}"
    );
}

/// What the service has written after two calls of Ann, of 60 and of 30 seconds, when the first attempt at each fails.
fn totals_when_first_attempts_fail(service: Service<Totals>) -> Vec<f64> {
    let mut world = World::new();
    world.fail_first_attempts();
    world.start(service).unwrap();
    for seconds in [60.0, 30.0] {
        world.send(&CALLS, "ann", &Call { seconds });
    }
    world.run().unwrap();
    assert_eq!(world.handled(), 4);
    let totals = world.read(&TOTALS).into_iter();
    totals.map(|total| total.value).collect()
}

#[test]
fn the_readmes_totals_are_right_when_the_first_attempt_fails() {
    assert_eq!(totals_when_first_attempts_fail(call_totals()), [60.0, 90.0]);
}

/// The form that the README warns of: what shows that the test above can fail.
#[test]
fn a_state_that_is_changed_before_the_last_failure_is_changed_twice() {
    fn on_call(
        totals: &mut Totals,
        call: Record<String, Call>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        let total = totals.0.entry(call.key.clone()).or_default();
        *total += call.value.seconds;
        context.emit(&TOTALS, &call.key, total)
    }
    let service = Service::new("call-totals", Totals::default)
        .input(&CALLS, on_call)
        .output(&TOTALS)
        .on_error(OnError::retry(3).then_dead_letter());
    assert_eq!(totals_when_first_attempts_fail(service), [120.0, 180.0]);
}
