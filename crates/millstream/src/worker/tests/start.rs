//! Where a group begins, and positions that are not on the cluster.

use super::{Bench, IN, OUT, SECOND, copier, copy, kafka, part};
use crate::codec::{NoKey, Text};
use crate::error::{Class, Error};
use crate::log::{Begin, Event, Log as _};
use crate::policy::{OnError, Start};
use crate::service::Service;
use crate::topic::{NextOffset, Partition, Topic, TopicPartition};

fn bench() -> Bench<()> {
    Bench::new(copier().start_from(Start::Latest))
}

fn commits(bench: &Bench<()>) -> Vec<String> {
    let calls = bench.log.calls().into_iter();
    calls.filter(|call| call.starts_with("commit")).collect()
}

/// The cluster answers a commit of the first partitions.
fn answer(bench: &Bench<()>, offsets: &[i64], result: Result<(), Error>) {
    let offsets = (0..).zip(offsets);
    let offsets = offsets.map(|(number, offset)| (part(number), NextOffset::new(*offset)));
    bench.log.event(Event::Committed {
        offsets: offsets.collect(),
        result,
    });
}

#[test]
fn a_group_that_starts_at_the_end_commits_its_start_before_it_handles_a_record() {
    let mut bench = bench();
    bench.log.begin(Begin::Chosen(NextOffset::new(0)));
    bench.log.commits_fail(1);
    bench.log.write(0, &["a"]);
    bench.log.assign([0]);
    bench.settle();
    for result in [Err(kafka(Class::Retriable)), Ok(())] {
        bench.after(SECOND / 2);
        assert_eq!(bench.log.values("out"), Vec::<String>::new());
        answer(&bench, &[0], result);
        bench.settle();
    }
    assert_eq!(bench.log.values("out"), ["a"]);
    let calls = bench.log.calls();
    let moves: Vec<_> = calls
        .iter()
        .filter(|call| !call.starts_with("pause"))
        .collect();
    let expected = [
        "admit in[0]",
        "commit now in[0]=0",
        "commit in[0]=0",
        "commit in[0]=0",
        "resume in[0]",
    ];
    assert_eq!(moves, expected);
}

/// Each of them waits for the cluster's answer: one by one they would hold up the worker for as many answers.
#[test]
fn the_starts_of_several_partitions_are_committed_at_once() {
    let mut bench = bench();
    bench.log.commits_fail(1);
    bench.log.assign([0, 1, 2]);
    bench.settle();
    bench.after(SECOND / 2);
    let all = "in[0]=0 in[1]=0 in[2]=0";
    let expected = ["commit now ", "commit "].map(|call| format!("{call}{all}"));
    assert_eq!(commits(&bench), expected);
}

/// Without permission to commit no record would ever be handled.
#[test]
fn a_start_that_may_never_be_committed_ends_the_service() {
    let mut bench = bench();
    bench.log.commits_fail_with(Class::Fatal);
    bench.log.write(0, &["a"]);
    bench.log.assign([0]);
    assert_eq!(bench.failed(), kafka(Class::Fatal).to_string());
    assert_eq!(bench.log.values("out"), Vec::<String>::new());
}

/// Retention has taken what was to be read next: a successor would go to an end of its own.
#[test]
fn a_new_position_at_the_end_is_committed_before_the_next_record_is_handled() {
    let mut bench = bench();
    bench.log.begin(Begin::Committed(NextOffset::new(10)));
    bench.log.commits_fail(1);
    bench.log.write(0, &["x"; 91]);
    bench.log.seek(&part(0), NextOffset::new(90)).unwrap();
    bench.log.assign([0]);
    bench.log.event(Event::OutOfRange {
        partition: part(0),
        wanted: NextOffset::new(10),
        start: NextOffset::new(40),
        end: NextOffset::new(90),
    });
    bench.settle();
    bench.after(SECOND / 2);
    assert_eq!(bench.log.values("out"), Vec::<String>::new());
    answer(&bench, &[90], Ok(()));
    bench.settle();
    assert_eq!(bench.log.values("out"), ["x"]);
    assert_eq!(commits(&bench), ["commit now in[0]=90", "commit in[0]=90"]);
}

/// The log was cut behind what is committed: a successor begins there, and the end is not committed over what is under way.
#[test]
fn a_committed_position_that_is_still_there_is_kept() {
    let mut bench = bench();
    bench.log.begin(Begin::Committed(NextOffset::new(10)));
    bench.log.assign([0]);
    bench.log.event(Event::OutOfRange {
        partition: part(0),
        wanted: NextOffset::new(30),
        start: NextOffset::new(0),
        end: NextOffset::new(20),
    });
    bench.settle();
    assert_eq!(bench.log.calls(), ["admit in[0]"]);
}

/// The client has fetched what retention takes, and gives it after it was told that its position is gone.
#[test]
fn records_that_come_after_a_new_position_do_not_take_it_back() {
    let mut bench = bench();
    bench.log.begin(Begin::Committed(NextOffset::new(10)));
    bench.log.write(0, &["x"; 30]);
    bench.log.seek(&part(0), NextOffset::new(10)).unwrap();
    bench.log.assign([0]);
    bench.log.event(Event::OutOfRange {
        partition: part(0),
        wanted: NextOffset::new(30),
        start: NextOffset::new(60),
        end: NextOffset::new(90),
    });
    bench.settle();
    bench.after(SECOND);
    assert_eq!(bench.log.values("out").len(), 20);
    assert_eq!(commits(&bench), ["commit now in[0]=90"]);
}

#[test]
fn a_retry_of_a_record_that_is_gone_does_not_take_the_new_position_back() {
    let mut bench = Bench::new(
        copier()
            .start_from(Start::Latest)
            .on_error(OnError::retry(1)),
    );
    bench.log.begin(Begin::Committed(NextOffset::new(0)));
    bench.log.write(0, &["flaky"]);
    bench.log.assign([0]);
    bench.settle();
    bench.log.event(Event::OutOfRange {
        partition: part(0),
        wanted: NextOffset::new(1),
        start: NextOffset::new(60),
        end: NextOffset::new(90),
    });
    bench.settle();
    bench.after(SECOND);
    bench.after(SECOND);
    assert_eq!(bench.log.values("out"), ["flaky"]);
    assert_eq!(commits(&bench), ["commit now in[0]=90"]);
}

/// Two inputs share a partition number: a record of one waits for its retry when the other begins anew at its end.
#[test]
fn a_start_that_cannot_be_committed_at_once_takes_the_place_of_no_retry() {
    static RIGHT: Topic<(), String> = Topic::new("right", &NoKey, &Text);
    let right = TopicPartition::new("right", Partition(0));
    let service = Service::new("join", || ())
        .input(&IN, copy)
        .input(&RIGHT, copy);
    let service = service.output(&OUT).start_from(Start::Latest);
    let mut bench = Bench::new(service.on_error(OnError::retry(1).backoff(SECOND, SECOND)));
    bench.log.begin(Begin::Committed(NextOffset::new(0)));
    bench.log.write(0, &["flaky", "after"]);
    bench
        .log
        .event(Event::Assigned(vec![part(0), right.clone()]));
    bench.settle();
    bench.log.commits_fail(1);
    bench.log.event(Event::OutOfRange {
        partition: right.clone(),
        wanted: NextOffset::new(1),
        start: NextOffset::new(60),
        end: NextOffset::new(90),
    });
    bench.settle();
    bench.after(SECOND / 2);
    bench.log.event(Event::Committed {
        offsets: vec![(right, NextOffset::new(90))],
        result: Ok(()),
    });
    bench.after(SECOND);
    assert_eq!(bench.log.values("out"), ["flaky", "after"]);
}

/// A commit that is waited for holds up the whole worker; a coordinator that is away may be so for long.
#[test]
fn a_start_that_is_not_committed_is_waited_for_once() {
    let mut bench = bench();
    bench.log.commits_fail(100);
    bench.log.assign([0]);
    bench.settle();
    for _ in 0..10 {
        bench.after(SECOND);
        answer(&bench, &[0], Err(kafka(Class::Retriable)));
        bench.settle();
    }
    let commits = commits(&bench);
    let waited_for = commits.iter().filter(|call| call.starts_with("commit now"));
    assert_eq!((waited_for.count(), commits.len()), (1, 11), "{commits:?}");
}

/// Nobody says where it ends: the others are read, and it is read from the end that its leader tells when it is back.
#[test]
fn a_partition_without_a_leader_begins_when_its_leader_is_back_and_the_others_at_once() {
    let mut bench = bench();
    bench.log.begin(Begin::Chosen(NextOffset::new(1)));
    for partition in 0..2 {
        bench.log.write(partition, &["old", "new"]);
        bench
            .log
            .seek(&part(partition), NextOffset::new(1))
            .unwrap();
    }
    bench.log.lose_leader(1);
    bench.log.calls();
    bench.log.assign([0, 1]);
    bench.settle();
    bench.after(SECOND * 5);
    assert_eq!(bench.log.values("out"), ["new"]);
    bench.log.find_leader(1);
    bench.after(SECOND * 5);
    assert_eq!(bench.log.values("out"), ["new", "new"]);
    let calls = bench.log.calls().into_iter();
    let calls = calls.filter(|call| !call.starts_with("commit in"));
    let calls: Vec<_> = calls.filter(|call| !call.starts_with("pause")).collect();
    let expected = [
        "admit in[0] in[1]",
        "commit now in[0]=1",
        "begin again in[1]",
        "begin again in[1]",
        "commit now in[1]=1",
        "resume in[1]",
    ];
    assert_eq!(calls, expected);
}

/// A service that is told to fail where nothing is committed does so when it is known what is there.
#[test]
fn a_partition_without_a_leader_refuses_the_service_when_its_leader_is_back() {
    let mut bench = Bench::new(copier().start_from(Start::Fail));
    bench.log.begin(Begin::Committed(NextOffset::new(0)));
    bench.log.write(0, &["a"]);
    bench.log.lose_leader(1);
    bench.log.assign([0, 1]);
    bench.settle();
    assert_eq!(bench.log.values("out"), ["a"]);
    let (start, end) = (NextOffset::new(3), NextOffset::new(9));
    bench.log.begin(Begin::Refused { start, end });
    bench.log.find_leader(1);
    bench.after(SECOND * 5);
    assert_eq!(
        bench.failed(),
        "service `copier` cannot read in[1] from offset none: the cluster has 3 to 9"
    );
}
