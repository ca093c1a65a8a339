//! What time does to a group: delays, timeouts, sessions.

use super::*;

#[test]
fn a_first_rebalance_waits_for_more_members() {
    let mut bench = Bench::new();
    bench.rules.initial_delay_ms = 3000;
    let (_, mut a) = bench.enter(consumer("a"));
    bench.pass(2999);
    assert!(a.waits());
    bench.pass(1);
    assert_eq!(a.answer().generation_id, 1);
}

#[test]
fn each_newcomer_extends_the_first_rebalance_by_the_delay_until_the_rebalance_timeout() {
    let mut bench = Bench::new();
    bench.rules.initial_delay_ms = 3000;
    let slow = |client: &str| {
        let mut join = consumer(client);
        join.rebalance_timeout_ms = 7000;
        join
    };
    let (_, mut a) = bench.enter(slow("a"));
    bench.pass(2000);
    let (_, mut b) = bench.enter(slow("b"));
    bench.pass(2000);
    // Past the first three seconds: b has extended them to six.
    assert!(a.waits());
    let (_, mut c) = bench.enter(slow("c"));
    bench.pass(2999);
    // Past six seconds: c has extended them, but by one second only, since seven is the most.
    assert!(a.waits());
    bench.pass(1);
    assert_eq!(a.answer().generation_id, 1);
    assert_eq!(b.answer().generation_id, 1);
    assert_eq!(c.answer().generation_id, 1);
}

#[test]
fn members_that_leave_during_the_first_rebalance_leave_an_empty_group() {
    let mut bench = Bench::new();
    bench.rules.initial_delay_ms = 3000;
    let (a, mut joins) = bench.enter(consumer("a"));
    assert_eq!(bench.leave(&a), 0);
    assert_eq!(joins.code(), Some(ResponseError::UnknownMemberId));
    bench.pass(3000);
    assert_eq!(bench.state(), State::Empty);
}

#[test]
fn members_that_do_not_rejoin_in_time_are_left_behind() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    let (c, mut c_joins) = bench.enter(consumer("c"));
    let mut a_joins = bench.join(being(consumer("a"), &members[0]));
    // b lives, but does not join.
    for _ in 0..11 {
        bench.pass(5000);
        let generation = bench.group.generation;
        assert_eq!(
            bench.beat(&members[1], generation),
            Err(ResponseError::RebalanceInProgress)
        );
    }
    bench.pass(4999);
    assert!(a_joins.waits());
    bench.pass(1);
    assert_eq!(a_joins.answer().members.len(), 2);
    assert_eq!(c_joins.code(), None);
    let known: Vec<_> = bench.group.members.keys().cloned().collect();
    assert_eq!(known, [members[0].clone(), c]);
}

#[test]
fn the_longest_rebalance_timeout_of_all_members_counts() {
    let mut bench = Bench::new();
    let mut patient = consumer("a");
    patient.rebalance_timeout_ms = 2 * REBALANCE_MS;
    patient.session_timeout_ms = 4 * REBALANCE_MS;
    let (a, _) = bench.enter(patient);
    bench.hand_out(std::slice::from_ref(&a), &["a"]);
    let (_, mut b) = bench.enter(consumer("b"));
    bench.pass(2 * i64::from(REBALANCE_MS) - 1);
    assert!(b.waits());
    bench.pass(1);
    assert_eq!(b.code(), None);
}

#[test]
fn leadership_passes_to_someone_who_joined() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    bench
        .group
        .members
        .get_mut(&members[0])
        .unwrap()
        .session_timeout_ms = i32::MAX;
    bench.beat(&members[0], bench.group.generation).unwrap();
    let changed = knowing(consumer("b"), &["range", "more"]);
    let mut b = bench.join(being(changed, &members[1]));
    bench.pass(REBALANCE_MS.into());
    assert_eq!(b.answer().leader, members[1]);
}

#[test]
fn a_rebalance_waits_for_an_id_that_was_handed_out() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a"]);
    let told = bench.join(consumer("b")).answer();
    // The handshake alone disturbs nobody.
    assert_eq!(bench.state(), State::Stable);
    let mut a = bench.join(being(consumer("a"), &members[0]));
    assert!(a.waits());
    let mut b = bench.join(being(consumer("b"), &told.member_id));
    assert_eq!(a.answer().members.len(), 2);
    assert_eq!(b.code(), None);
}

#[test]
fn a_rebalance_goes_on_when_a_handed_out_id_is_not_used() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a"]);
    bench.join(consumer("b"));
    let mut a = bench.join(being(consumer("a"), &members[0]));
    assert!(a.waits());
    bench.pass(SESSION_MS.into());
    assert_eq!(a.answer().members.len(), 1);
}

#[test]
fn a_silent_member_is_removed_when_its_session_ends() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    let generation = bench.group.generation;
    bench.pass(i64::from(SESSION_MS) - 1);
    bench.beat(&members[0], generation).unwrap();
    bench.pass(1);
    assert_eq!(
        bench.beat(&members[1], generation),
        Err(ResponseError::UnknownMemberId)
    );
    assert_eq!(
        bench.beat(&members[0], generation),
        Err(ResponseError::RebalanceInProgress)
    );
    let alone = bench.join(being(consumer("a"), &members[0])).answer();
    assert_eq!(
        (alone.generation_id, alone.members.len()),
        (generation + 1, 1)
    );
}

#[test]
fn a_group_whose_last_member_is_lost_is_stored_as_empty() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let generation = bench.group.generation;
    bench.pass(SESSION_MS.into());
    assert_eq!(bench.state(), State::Empty);
    assert_eq!(bench.disk.saved.last(), Some(&(generation + 1, vec![])));
    assert_eq!(bench.group.deadline(), i64::MAX);
}

#[test]
fn a_member_that_waits_in_a_join_does_not_lose_its_session() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    bench
        .group
        .members
        .get_mut(&members[1])
        .unwrap()
        .session_timeout_ms = i32::MAX;
    bench.beat(&members[1], bench.group.generation).unwrap();
    let mut a = bench.join(being(consumer("a"), &members[0]));
    bench.pass(i64::from(REBALANCE_MS) - 1);
    assert!(a.waits());
    bench.pass(1);
    assert_eq!(a.code(), None);
    // From the answer on, it counts again.
    bench.pass(SESSION_MS.into());
    assert_eq!(bench.state(), State::Empty);
}

#[test]
fn a_newcomer_that_waits_for_five_minutes_is_given_up() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a"]);
    let patient = bench.group.members.get_mut(&members[0]).unwrap();
    patient.session_timeout_ms = i32::MAX;
    patient.rebalance_timeout_ms = i32::MAX;
    bench.beat(&members[0], bench.group.generation).unwrap();
    let (b, mut joins) = bench.enter(consumer("b"));
    bench.pass(5 * 60 * 1000 - 1);
    assert!(joins.waits());
    bench.pass(1);
    assert_eq!(joins.code(), Some(ResponseError::UnknownMemberId));
    assert!(!bench.group.members.contains_key(&b));
}

#[test]
fn a_client_that_is_gone_while_its_join_waits_is_removed_by_its_session() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a"]);
    let (b, joins) = bench.enter(consumer("b"));
    drop(joins);
    bench.join(being(consumer("a"), &members[0]));
    assert_eq!(bench.group.members.len(), 2);
    let generation = bench.group.generation;
    for _ in 0..4 {
        bench.pass(2500);
        bench.beat(&members[0], generation).ok();
    }
    assert!(!bench.group.members.contains_key(&b));
}

#[test]
fn members_that_never_ask_for_their_assignment_are_left_behind() {
    let mut bench = Bench::new();
    let (a, _) = bench.enter(consumer("a"));
    let (b, _b_joins) = bench.enter(consumer("b"));
    bench.join(being(consumer("a"), &a));
    let generation = bench.group.generation;
    let mut syncing = bench.sync(&b, generation, &[]);
    // The leader lives, but does not assign.
    for _ in 0..12 {
        assert!(syncing.waits());
        bench.beat(&a, generation).unwrap();
        bench.pass(5000);
    }
    assert_eq!(syncing.code(), Some(ResponseError::RebalanceInProgress));
    let joined = bench.join(being(consumer("b"), &b)).answer();
    assert_eq!(joined.leader, b);
    assert_eq!(joined.members.len(), 1);
}

#[test]
fn leaving_members_make_the_others_rebalance() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    assert_eq!(bench.leave(&members[0]), 0);
    assert_eq!(bench.state(), State::PreparingRebalance);
    let joined = bench.join(being(consumer("b"), &members[1])).answer();
    assert_eq!(joined.leader, members[1]);
}

#[test]
fn a_rebalance_goes_on_when_the_missing_member_leaves() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    let mut a = bench.join(being(consumer("a"), &members[0]));
    assert!(a.waits());
    bench.leave(&members[1]);
    assert_eq!(a.answer().members.len(), 1);
}

#[test]
fn unknown_members_cannot_leave_and_disturb_nobody() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let unknown = ResponseError::UnknownMemberId.code();
    assert_eq!(bench.leave(&text("stranger")), unknown);
    assert_eq!(bench.leave(&StrBytes::new()), unknown);
    assert_eq!(bench.state(), State::Stable);
}

#[test]
fn an_id_that_was_handed_out_can_leave() {
    let mut bench = Bench::new();
    let told = bench.join(consumer("a")).answer();
    assert_eq!(bench.leave(&told.member_id), 0);
    assert!(!bench.group.has_pending());
}

#[test]
fn many_leave_at_once_each_with_its_own_verdict() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b", "c"]);
    let names = [&members[0], &text("stranger"), &members[2]];
    let leaving = names.map(|name| MemberIdentity::default().with_member_id(name.clone()));
    let responses = bench.act(|group, turn| group.leave(leaving.to_vec(), turn));
    let codes: Vec<i16> = responses.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [0, ResponseError::UnknownMemberId.code(), 0]);
    assert_eq!(bench.group.members.len(), 1);
}

#[test]
fn a_restored_group_goes_on_in_its_generation() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let generation = bench.group.generation;
    let members = std::mem::take(&mut bench.group.members)
        .into_values()
        .collect();
    let mut restored = Group::new(bench.group.id.clone(), WALL);
    restored.generation = generation;
    restored.protocol_type = bench.group.protocol_type.clone();
    restored.protocol = bench.group.protocol.clone();
    restored.leader = bench.group.leader.clone();
    bench.now = 500;
    restored.restore(members, 500);
    bench.group = restored;
    assert_eq!(bench.state(), State::Stable);
    assert!(bench.group.reads("calls"));
    bench.pass(i64::from(SESSION_MS) - 1);
    bench.beat(&ids[0], generation).unwrap();
    assert_eq!(
        bench.sync(&ids[1], generation, &[]).assignment(),
        "b".as_bytes()
    );
    bench.pass(1);
    assert_eq!(
        bench.beat(&ids[1], generation),
        Err(ResponseError::UnknownMemberId)
    );
}

#[test]
fn an_abandoned_group_answers_all_that_wait() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    let mut joining = bench.join(being(consumer("a"), &members[0]));
    bench.group.abandon(ResponseError::NotCoordinator);
    assert_eq!(joining.code(), Some(ResponseError::NotCoordinator));
    let mut bench = Bench::new();
    let (a, _) = bench.enter(consumer("a"));
    let (b, _b_joins) = bench.enter(consumer("b"));
    bench.join(being(consumer("a"), &a));
    let mut syncing = bench.sync(&b, bench.group.generation, &[]);
    bench.group.abandon(ResponseError::NotCoordinator);
    assert_eq!(syncing.code(), Some(ResponseError::NotCoordinator));
}

#[test]
fn a_client_that_grants_no_time_for_joining_does_not_keep_the_group_spinning() {
    let mut bench = Bench::new();
    let mut hasty = fixed("a");
    hasty.rebalance_timeout_ms = 0;
    hasty.session_timeout_ms = 60_000;
    let mut joined = bench.join(hasty);
    let a = joined.answer().member_id;
    bench.hand_out(std::slice::from_ref(&a), &["a"]);
    let mut other = fixed("b");
    other.rebalance_timeout_ms = -1;
    bench.join(other);
    let before = bench.group.deadline();
    assert!(before >= bench.now + 100, "{before} at {}", bench.now);
}

#[test]
fn members_that_start_together_share_their_first_generation() {
    let mut bench = Bench::new();
    let delay = crate::Config::new("").group_initial_rebalance_delay_ms;
    bench.rules.initial_delay_ms = delay.into();
    let (_, mut first) = bench.enter(consumer("a"));
    bench.pass(i64::from(delay) - 1);
    let (_, mut second) = bench.enter(consumer("b"));
    bench.pass(i64::from(delay) + 1);
    assert_eq!(
        (first.answer().generation_id, second.answer().generation_id),
        (1, 1)
    );
}
