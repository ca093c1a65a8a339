//! Coordinators and workers in the simulated cluster: whatever goes wrong, every job is answered, and with the same bits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream::testing::{Running, World, simulate};
use millstream::{Clock, Moment, Partition, Service, Timestamp};
use millstream_montecarlo::{Closure, Job, Registry, Request};

use super::super::records::{Action, Control, Outcome};
use super::super::topics::{PREFIX, Topics};
use super::super::wire::{By, Event, Task, Ticket, What, Work};
use super::super::worker::{self, Ended, Evaluator, Shared};
use super::*;

/// Everything is divided, into chunks as small as there are.
const DIVIDED: Pace = Pace {
    run_below: 0.0,
    run_ms: 0,
    shortest: 0.0,
    longest: 1e-9,
};

fn topics() -> Topics {
    Topics::new(PREFIX)
}

fn coordinator(pace: Pace) -> Service<Unit> {
    service(settings(pace, functions()))
}

fn settings(pace: Pace, functions: Registry) -> Settings {
    static INCARNATION: AtomicU64 = AtomicU64::new(0);
    let mut topics = topics();
    topics.requests = topics.requests.partitions(3);
    topics.partials = topics.partials.partitions(3);
    topics.control = topics.control.partitions(3);
    topics.tasks = topics.tasks.partitions(6);
    Settings {
        topics,
        functions,
        task_partitions: 6,
        pace,
        incarnation: Box::new(|| INCARNATION.fetch_add(1, Ordering::Relaxed)),
    }
}

fn functions() -> Registry {
    Registry::default()
}

/// A millisecond passes between two looks at it: how a wave is divided depends on its samples, not on the machine.
#[derive(Default)]
struct Steps(AtomicU64);

impl Clock for Steps {
    fn now(&self) -> Moment {
        Moment::at(Duration::from_millis(
            self.0.fetch_add(1, Ordering::Relaxed),
        ))
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }
}

fn shared() -> Shared {
    static WORKER: AtomicU64 = AtomicU64::new(0);
    let evaluator = Evaluator::new(functions(), Some(1)).unwrap();
    let evaluator = evaluator.with_clock(Steps::default());
    let worker = WORKER.fetch_add(1, Ordering::Relaxed);
    Shared::new(
        topics(),
        evaluator,
        Ended::default(),
        Box::new(|_, _| Ok(())),
        worker,
    )
}

fn request(seed: u64, samples: u64) -> Request {
    let text = format!(
        r#"{{"expression": "x0^2", "lower": [0], "upper": [1], "method": "plain", "seed": {seed}, "rel_error": 1e-9, "max_samples": {samples}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

/// What the request comes to in one process.
fn in_one_process(request: &Request) -> String {
    let functions = functions();
    let mut job = Job::new(request.clone(), &functions).unwrap();
    while let Some(wave) = job.wave() {
        let whole = wave
            .prepare(&functions)
            .unwrap()
            .chunk(0..wave.tiles())
            .unwrap();
        job.complete(whole).unwrap();
    }
    bits(&Outcome {
        answer: job.answer(),
        exact: None,
    })
}

/// Everything of an answer but the time it took.
fn bits(outcome: &Outcome) -> String {
    let mut answer = outcome.answer.clone();
    answer.seconds = 0.0;
    serde_json::to_string(&answer).unwrap()
}

fn ask(world: &mut World, id: &str, request: &Request) {
    let bytes = serde_json::to_vec(request).unwrap();
    world.send(&topics().requests, &Some(id.to_owned()), &bytes);
}

fn cancel(world: &mut World, id: &str) {
    let control = Control {
        action: Action::Cancel,
        job: Some(id.to_owned()),
        ticket: None,
        reason: None,
    };
    for partition in 0..3 {
        let key = Some(id.to_owned());
        world
            .record(&topics().control, &key, &control)
            .partition(Partition(partition))
            .send();
    }
}

/// The answers by job; two of one job must be equal.
#[track_caller]
fn answers(world: &World) -> BTreeMap<String, String> {
    let mut answers = BTreeMap::new();
    for record in world.read(&topics().results) {
        if record.value.is_last() {
            let text = bits(&record.value);
            let earlier = answers.insert(record.key.clone(), text.clone());
            assert!(
                earlier.as_ref().is_none_or(|earlier| *earlier == text),
                "job {}: {earlier:?}, then {text}",
                record.key
            );
        }
    }
    answers
}

fn start(world: &mut World, pace: Pace) -> (Running, Running) {
    let coordinator = world.start(coordinator(pace).threads(2)).unwrap();
    let worker = world.start(worker::service(shared()).threads(3)).unwrap();
    (coordinator, worker)
}

#[test]
fn a_divided_job_has_the_bits_of_one_process() {
    let mut world = World::new();
    start(&mut world, DIVIDED);
    let request = request(7, 1 << 18);
    ask(&mut world, "one", &request);
    world.run().unwrap();
    assert_eq!(
        answers(&world),
        BTreeMap::from([("one".to_owned(), in_one_process(&request))])
    );
    let chunks = world.read(&topics().tasks).len();
    assert!(chunks > 8, "{chunks} tasks");
}

#[test]
fn a_small_job_is_one_task() {
    let mut world = World::new();
    start(&mut world, Pace::default());
    let request = request(7, 1 << 18);
    ask(&mut world, "one", &request);
    world.run().unwrap();
    assert_eq!(
        answers(&world),
        BTreeMap::from([("one".to_owned(), in_one_process(&request))])
    );
    assert_eq!(world.read(&topics().tasks).len(), 1);
}

/// Workers and coordinators killed in the middle of waves, partitions moved, records doubled and out of order, deliveries and
/// commits failed: seeds 0 to 39.
#[test]
fn under_all_faults_every_job_is_answered_with_the_same_bits() {
    let requests: Vec<Request> = (0..6)
        .map(|seed| request(seed, 1 << (15 + seed % 3)))
        .collect();
    let expected: BTreeMap<String, String> = requests
        .iter()
        .enumerate()
        .map(|(number, request)| (format!("job {number}"), in_one_process(request)))
        .collect();
    for pace in [DIVIDED, Pace::default()] {
        simulate(0..100, |world| {
            start(world, pace);
            for (number, request) in requests.iter().enumerate() {
                ask(world, &format!("job {number}"), request);
            }
            world.run().unwrap();
            assert_eq!(answers(world), expected);
        });
    }
}

#[test]
fn a_coordinator_killed_in_the_middle_of_a_wave_goes_on_from_its_checkpoint() {
    let mut world = World::new();
    let (coordinator, _) = start(&mut world, DIVIDED);
    let request = request(3, 1 << 19);
    ask(&mut world, "one", &request);
    for _ in 0..20 {
        world.advance(Duration::from_millis(40)).unwrap();
        world.crash(coordinator);
    }
    world.run().unwrap();
    assert_eq!(
        answers(&world),
        BTreeMap::from([("one".to_owned(), in_one_process(&request))])
    );
    // Had each life begun anew, the first steps would have been worked on again and again.
    let first = world.read(&topics().tasks);
    let first = first.iter().filter(|task| task.value.step == 0).count();
    assert!(first < 15, "the first step was given out {first} times");
}

#[test]
fn a_worker_killed_in_the_middle_of_a_chunk_costs_nothing_but_time() {
    let mut world = World::new();
    let (_, worker) = start(&mut world, DIVIDED);
    let request = request(3, 1 << 19);
    ask(&mut world, "one", &request);
    for _ in 0..30 {
        world.advance(Duration::from_millis(20)).unwrap();
        world.crash(worker);
    }
    world.run().unwrap();
    assert_eq!(
        answers(&world),
        BTreeMap::from([("one".to_owned(), in_one_process(&request))])
    );
}

#[test]
fn partials_that_come_twice_and_out_of_order_change_no_bit() {
    let mut world = World::new();
    let (coordinator, worker) = start(&mut world, DIVIDED);
    let request = request(5, 1 << 19);
    ask(&mut world, "one", &request);
    world.advance(Duration::from_millis(100)).unwrap();
    // Everything that was said so far is said again, backwards.
    for record in world.read(&topics().partials).into_iter().rev() {
        if matches!(record.value.what, What::Done(_) | What::Ran(_)) {
            let partition = record.position.partition;
            world
                .record(&topics().partials, &record.key, &record.value)
                .partition(partition)
                .send();
        }
    }
    world.rebalance(coordinator);
    world.rebalance(worker);
    world.run().unwrap();
    assert_eq!(
        answers(&world),
        BTreeMap::from([("one".to_owned(), in_one_process(&request))])
    );
}

#[test]
fn a_request_that_cannot_be_a_job_is_answered_with_the_reason() {
    let mut world = World::new();
    start(&mut world, Pace::default());
    let requests = topics().requests;
    world.send(&requests, &Some("text".to_owned()), &b"not json".to_vec());
    world.send(
        &requests,
        &Some("key".to_owned()),
        &b"{\"expresion\": \"x0\"}".to_vec(),
    );
    world.send(&requests, &None, &b"{\"expression\": \"x0+\"}".to_vec());
    world.run().unwrap();
    let outcomes = world.read(&topics().results);
    assert_eq!(outcomes.len(), 3);
    for outcome in outcomes {
        assert!(outcome.value.is_failed(), "{outcome:?}");
        assert_eq!(outcome.value.answer.warnings.len(), 1, "{outcome:?}");
    }
}

#[test]
fn a_cancelled_job_ends_at_its_last_complete_wave() {
    let mut world = World::new();
    start(&mut world, DIVIDED);
    ask(&mut world, "one", &request(1, 1 << 40));
    ask(&mut world, "two", &request(1, 1 << 16));
    let runs = |world: &World| {
        let results = world.read(&topics().results);
        results.iter().any(|result| result.key == "one")
    };
    while !runs(&world) {
        world.advance(Duration::from_millis(10)).unwrap();
    }
    cancel(&mut world, "one");
    world.run().unwrap();
    let results = world.read(&topics().results);
    let last = results.iter().rfind(|result| result.key == "one").unwrap();
    assert_eq!(last.value.status_word(), "cancelled");
    let progress = results
        .iter()
        .rfind(|result| result.key == "one" && !result.value.is_last())
        .unwrap();
    assert_eq!(last.value.answer.samples, progress.value.answer.samples);
    assert_eq!(last.value.text("value"), progress.value.text("value"));
    assert_eq!(
        answers(&world).get("two"),
        Some(&in_one_process(&request(1, 1 << 16)))
    );
}

#[test]
fn a_cancellation_that_overtakes_its_request_is_remembered() {
    let mut world = World::new();
    start(&mut world, DIVIDED);
    world.advance(Duration::from_secs(2)).unwrap();
    ask(&mut world, "one", &request(1, 1 << 40));
    cancel(&mut world, "one");
    world.run().unwrap();
    let results = world.read(&topics().results);
    assert_eq!(results.last().unwrap().value.status_word(), "cancelled");
}

#[test]
fn a_deadline_ends_a_job_by_the_coordinators_clock() {
    let mut world = World::new();
    // Nobody works: the job stays where it is.
    world.start(coordinator(DIVIDED)).unwrap();
    let mut request = request(1, 1 << 40);
    request.deadline = Some(30.0);
    ask(&mut world, "one", &request);
    world.advance(Duration::from_secs(29)).unwrap();
    assert_eq!(answers(&world), BTreeMap::new());
    world.advance(Duration::from_secs(3)).unwrap();
    let results = world.read(&topics().results);
    assert_eq!(results.last().unwrap().value.status_word(), "deadline");
}

#[test]
fn a_task_that_nobody_answers_is_given_out_again() {
    let mut world = World::new();
    world.start(coordinator(DIVIDED)).unwrap();
    let request = request(1, 1 << 15);
    ask(&mut world, "one", &request);
    world.advance(Duration::from_secs(20)).unwrap();
    let tasks = world.read(&topics().tasks).len();
    assert!((3..10).contains(&tasks), "{tasks} tasks");
    world.start(worker::service(shared())).unwrap();
    world.run().unwrap();
    assert_eq!(
        answers(&world),
        BTreeMap::from([("one".to_owned(), in_one_process(&request))])
    );
}

#[test]
fn two_results_of_one_chunk_that_differ_are_told_in_the_answer() {
    let mut world = World::new();
    let (_, worker) = start(&mut world, DIVIDED);
    ask(&mut world, "one", &request(5, 1 << 22));
    // In the middle of a wave of many chunks all workers leave.
    let is_large = |task: &Task| match &task.work {
        Work::Chunk { wave, chunk, .. } => wave.tiles() >= 64 && *chunk >= 8,
        Work::Run { .. } => false,
    };
    let given = |world: &World| world.read(&topics().tasks).pop().map(|task| task.value);
    while !given(&world).is_some_and(|task| is_large(&task)) {
        world.advance(Duration::from_millis(1)).unwrap();
    }
    world.stop(worker).unwrap();
    world.advance(Duration::from_secs(1)).unwrap();
    // One of the tasks they left is done by hand, and once more with other numbers.
    let task = given(&world).unwrap();
    let by = By {
        worker: 99,
        partition: 0,
    };
    let evaluator = Evaluator::new(functions(), Some(1)).unwrap();
    let What::Done(done) = evaluator.work(&task, by).unwrap() else {
        panic!("not a chunk")
    };
    let mut forged = done.clone();
    forged.partial.bad.count += 1;
    for done in [done, forged] {
        let event = Event {
            ticket: task.ticket,
            what: What::Done(done),
        };
        let partition = Partition(task.ticket.partition);
        world
            .record(&topics().partials, &"k".to_owned(), &event)
            .partition(partition)
            .send();
    }
    for _ in 0..3 {
        world.add_worker(worker);
    }
    world.run().unwrap();
    let last = world.read(&topics().results).pop().unwrap().value;
    let is_told = |warning: &String| warning.contains("different numbers");
    assert!(
        last.answer.warnings.iter().any(is_told),
        "{:?}",
        last.answer.warnings
    );
}

#[test]
fn a_worker_of_another_version_leaves_the_work_to_others() {
    let mut world = World::new();
    world.start(coordinator(DIVIDED)).unwrap();
    let old = Shared::of_numerics(shared(), u32::MAX);
    world.start(worker::service(old)).unwrap();
    world.start(worker::service(shared())).unwrap();
    let request = request(1, 1 << 17);
    ask(&mut world, "one", &request);
    world.run().unwrap();
    assert_eq!(
        answers(&world),
        BTreeMap::from([("one".to_owned(), in_one_process(&request))])
    );
}

#[test]
fn a_job_that_only_workers_of_another_version_could_do_fails_and_says_so() {
    let mut world = World::new();
    world.start(coordinator(DIVIDED)).unwrap();
    world
        .start(worker::service(shared().of_numerics(u32::MAX)))
        .unwrap();
    ask(&mut world, "one", &request(1, 1 << 17));
    world.run().unwrap();
    let last = world.read(&topics().results).pop().unwrap().value;
    assert!(last.is_failed());
    assert!(
        last.answer
            .warnings
            .iter()
            .any(|w| w.contains("no worker computes version")),
        "{last:?}"
    );
}

/// A task whose worker is killed each time it begins: what the coordinator hears of it is that it was begun.
#[test]
fn a_task_that_ends_every_worker_ends_its_job_with_the_reason() {
    let mut world = World::new();
    world.start(coordinator(Pace::default())).unwrap();
    ask(&mut world, "one", &request(1, 1 << 17));
    world.advance(Duration::from_secs(1)).unwrap();
    let task = world.read(&topics().tasks).remove(0).value;
    for life in 1..=4 {
        assert_eq!(answers(&world), BTreeMap::new(), "life {life}");
        let what = What::Began {
            step: 0,
            chunk: task.work.chunk(),
        };
        let event = Event {
            ticket: task.ticket,
            what,
        };
        let partition = Partition(task.ticket.partition);
        world
            .record(&topics().partials, &"k".to_owned(), &event)
            .partition(partition)
            .send();
        world.advance(Duration::from_millis(500)).unwrap();
    }
    let last = world.read(&topics().results).pop().unwrap().value;
    assert!(last.is_failed());
    assert!(
        last.answer
            .warnings
            .iter()
            .any(|w| w.contains("ended 3 workers")),
        "{last:?}"
    );
    let said = world.read(&topics().control).pop().unwrap().value;
    assert_eq!(
        (said.action, said.ticket),
        (Action::Forget, Some(task.ticket))
    );
    assert!(
        world
            .read(&topics().control)
            .iter()
            .any(|record| record.value.action == Action::Poison)
    );
}

#[test]
fn a_task_that_panics_is_tried_three_times_and_dead_lettered() {
    let mut functions = Registry::default();
    let planted = |_: &[f64]| -> f64 { panic!("planted") };
    functions.insert("planted", Arc::new(Closure::new(1, planted)));
    let mut world = World::new();
    let coordinator = settings(DIVIDED, functions.clone());
    world.start(service(coordinator)).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let tell = move |task: &Task, what: What| {
        heard.lock().unwrap().push((task.ticket, what));
        Ok(())
    };
    let evaluator = Evaluator::new(functions, Some(1)).unwrap();
    let shared = Shared::new(topics(), evaluator, Ended::default(), Box::new(tell), 1);
    world.start(worker::service(shared)).unwrap();
    let request = Request::new("@planted");
    ask(&mut world, "one", &request);
    let tries = |told: &Mutex<Vec<(Ticket, What)>>| told.lock().unwrap().len();
    while tries(&told) < 4 {
        world.advance(Duration::from_millis(10)).unwrap();
    }
    // What a worker tells goes to the log at once, past the simulated member.
    let (ticket, what) = told.lock().unwrap().pop().unwrap();
    assert!(
        matches!(&what, What::Failed { reason, .. } if reason == "the integrand panicked: planted"),
        "{what:?}"
    );
    let partition = Partition(ticket.partition);
    let event = Event { ticket, what };
    world
        .record(&topics().partials, &"k".to_owned(), &event)
        .partition(partition)
        .send();
    world.run().unwrap();
    let last = world.read(&topics().results).pop().unwrap().value;
    assert!(last.is_failed());
    assert_eq!(
        last.answer.warnings.last().unwrap(),
        "the integrand panicked: planted"
    );
    let dead = topics().tasks.named("integration-tasks.dlq");
    assert_eq!(world.read(&dead).len(), 1);
}

#[test]
fn a_flood_of_requests_is_taken_a_few_at_a_time_and_all_are_answered() {
    let mut world = World::new();
    let (coordinator, _) = start(&mut world, Pace::default());
    for number in 0..400 {
        ask(
            &mut world,
            &format!("job {number}"),
            &request(number, 1 << 14),
        );
    }
    world.advance(Duration::from_millis(30)).unwrap();
    let open = world.read(&topics().tasks).len();
    assert!(open <= 3 * 32, "{open} tasks at once");
    world.run().unwrap();
    assert_eq!(answers(&world).len(), 400);
    let committed: i64 = (0..3)
        .filter_map(|partition| {
            world.committed(coordinator, topics().requests.name(), Partition(partition))
        })
        .map(|offset| offset.get())
        .sum();
    assert_eq!(committed, 400);
}

#[test]
fn a_small_job_does_not_wait_for_the_end_of_a_large_one() {
    let mut world = World::new();
    start(&mut world, DIVIDED);
    // All in one partition: the same coordinator has both.
    let large = serde_json::to_vec(&request(1, 1 << 24)).unwrap();
    let small = serde_json::to_vec(&request(2, 1 << 15)).unwrap();
    let requests = topics().requests;
    world
        .record(&requests, &Some("large".to_owned()), &large)
        .partition(Partition(0))
        .send();
    world.advance(Duration::from_millis(200)).unwrap();
    world
        .record(&requests, &Some("small".to_owned()), &small)
        .partition(Partition(0))
        .send();
    world.run().unwrap();
    let results = world.read(&topics().results);
    let ends: Vec<&str> = results
        .iter()
        .filter(|result| result.value.is_last())
        .map(|result| result.key.as_str())
        .collect();
    assert_eq!(ends, ["small", "large"]);
}

/// To partition 0, so that one coordinator has all of them.
fn ask_first(world: &mut World, id: &str, request: &Request) {
    let bytes = serde_json::to_vec(request).unwrap();
    world
        .record(&topics().requests, &Some(id.to_owned()), &bytes)
        .partition(Partition(0))
        .send();
}

#[test]
fn a_small_job_does_not_wait_behind_forty_large_ones() {
    let mut world = World::new();
    start(&mut world, DIVIDED);
    for number in 0..40 {
        ask_first(
            &mut world,
            &format!("large {number}"),
            &request(number, 1 << 24),
        );
    }
    world.advance(Duration::from_millis(100)).unwrap();
    let small = request(2, 1 << 15);
    ask_first(&mut world, "small", &small);
    while answers(&world).is_empty() {
        world.advance(Duration::from_millis(10)).unwrap();
    }
    assert_eq!(
        answers(&world),
        BTreeMap::from([("small".to_owned(), in_one_process(&small))])
    );
}

#[test]
fn a_cancellation_ends_every_job_of_its_id() {
    let mut world = World::new();
    start(&mut world, DIVIDED);
    for seed in 1..=3 {
        ask_first(&mut world, "one", &request(seed, 1 << 40));
    }
    world.advance(Duration::from_secs(2)).unwrap();
    cancel(&mut world, "one");
    world.run().unwrap();
    let results = world.read(&topics().results);
    let ends = results.iter().filter(|result| result.value.is_last());
    let ends: Vec<&str> = ends.map(|result| result.value.status_word()).collect();
    assert_eq!(ends, ["cancelled"; 3]);
}
