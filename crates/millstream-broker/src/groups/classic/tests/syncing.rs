//! The assignment on its way from the leader to all, and heartbeats.

use super::*;

/// A group of a and b whose assignment is not made yet; a leads.
fn completing(bench: &mut Bench) -> (StrBytes, StrBytes) {
    let (a, _) = bench.enter(consumer("a"));
    let (b, _b_joins) = bench.enter(consumer("b"));
    bench.join(being(consumer("a"), &a));
    assert_eq!(bench.state(), State::CompletingRebalance);
    (a, b)
}

#[test]
fn the_leaders_assignment_reaches_those_who_wait_and_those_who_ask_later() {
    let mut bench = Bench::new();
    let (a, b) = completing(&mut bench);
    let mut waiting = bench.sync(&b, 2, &[]);
    assert!(waiting.waits());
    let mut leader = bench.sync(&a, 2, &[(&a, "one"), (&b, "two")]);
    assert_eq!(leader.assignment(), "one".as_bytes());
    assert_eq!(waiting.assignment(), "two".as_bytes());
    assert_eq!(bench.state(), State::Stable);
    assert_eq!(bench.sync(&b, 2, &[]).assignment(), "two".as_bytes());
    assert_eq!(bench.disk.saved, [(2, vec![a, b])]);
}

#[test]
fn an_answer_names_the_protocol() {
    let mut bench = Bench::new();
    let (a, _) = completing(&mut bench);
    let answer = bench.sync(&a, 2, &[]).answer();
    assert_eq!(answer.protocol_type, Some(text("consumer")));
    assert_eq!(answer.protocol_name, Some(text("range")));
}

#[test]
fn members_that_the_leader_left_out_have_nothing_to_do() {
    let mut bench = Bench::new();
    let (a, b) = completing(&mut bench);
    bench.sync(&a, 2, &[(&a, "all"), (&text("stranger"), "lost")]);
    assert_eq!(bench.sync(&b, 2, &[]).assignment(), Bytes::new());
}

#[test]
fn a_sync_is_checked_against_member_generation_and_protocol() {
    let mut bench = Bench::new();
    let (a, _) = completing(&mut bench);
    let unknown = bench.sync(&text("stranger"), 2, &[]).code();
    assert_eq!(unknown, Some(ResponseError::UnknownMemberId));
    for generation in [1, 3, -1] {
        let code = bench.sync(&a, generation, &[]).code();
        assert_eq!(code, Some(ResponseError::IllegalGeneration));
    }
    let named = |kind: &str, name: &str| {
        SyncGroupRequest::default()
            .with_member_id(a.clone())
            .with_generation_id(2)
            .with_protocol_type(Some(text(kind)))
            .with_protocol_name(Some(text(name)))
    };
    let inconsistent = Some(ResponseError::InconsistentGroupProtocol);
    assert_eq!(
        bench.sync_with(named("connect", "range")).code(),
        inconsistent
    );
    assert_eq!(
        bench.sync_with(named("consumer", "sticky")).code(),
        inconsistent
    );
    assert_eq!(bench.sync_with(named("consumer", "range")).code(), None);
}

#[test]
fn a_sync_during_a_rebalance_is_told_to_join() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    bench.join(being(consumer("a"), &members[0]));
    let generation = bench.group.generation;
    assert_eq!(
        bench.sync(&members[1], generation, &[]).code(),
        Some(ResponseError::RebalanceInProgress)
    );
}

#[test]
fn those_who_wait_for_an_assignment_are_told_when_someone_else_joins() {
    let mut bench = Bench::new();
    let (_, b) = completing(&mut bench);
    let mut waiting = bench.sync(&b, 2, &[]);
    bench.enter(consumer("c"));
    assert_eq!(waiting.code(), Some(ResponseError::RebalanceInProgress));
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn an_assignment_that_cannot_be_stored_reaches_nobody() {
    let mut bench = Bench::new();
    let (a, b) = completing(&mut bench);
    let mut waiting = bench.sync(&b, 2, &[]);
    bench.disk.refuse = Some(Unwritten::NoSpace);
    let mut leader = bench.sync(&a, 2, &[(&a, "one"), (&b, "two")]);
    let code = Some(ResponseError::CoordinatorNotAvailable);
    assert_eq!(leader.code(), code);
    assert_eq!(waiting.code(), code);
    assert_eq!(bench.state(), State::PreparingRebalance);
    // When there is space again, the group gets through.
    bench.disk.refuse = None;
    bench.join(being(consumer("b"), &b));
    bench.join(being(consumer("a"), &a));
    bench.hand_out(&[a, b], &["one", "two"]);
}

#[test]
fn heartbeats_are_checked_against_member_and_generation() {
    let mut bench = Bench::new();
    let (a, _) = completing(&mut bench);
    assert_eq!(bench.beat(&a, 2), Ok(()));
    assert_eq!(bench.beat(&a, 1), Err(ResponseError::IllegalGeneration));
    assert_eq!(bench.beat(&a, 3), Err(ResponseError::IllegalGeneration));
    let unknown = Err(ResponseError::UnknownMemberId);
    assert_eq!(bench.beat(&text("stranger"), 2), unknown);
    assert_eq!(bench.beat(&StrBytes::new(), -1), unknown);
}

#[test]
fn heartbeats_of_an_empty_group_are_unknown() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a"]);
    let generation = bench.group.generation;
    bench.leave(&members[0]);
    assert_eq!(
        bench.beat(&members[0], generation),
        Err(ResponseError::UnknownMemberId)
    );
}

#[test]
fn descriptions_tell_subscriptions_only_while_the_group_is_stable() {
    let mut bench = Bench::new();
    let (a, b) = completing(&mut bench);
    let described = bench.group.described();
    assert_eq!(described.group_state, text("CompletingRebalance"));
    assert_eq!(described.protocol_data, StrBytes::new());
    assert_eq!(described.members[0].member_metadata, Bytes::new());
    bench.hand_out(&[a.clone(), b], &["one", "two"]);
    let described = bench.group.described();
    assert_eq!(described.group_state, text("Stable"));
    assert_eq!(described.protocol_type, text("consumer"));
    assert_eq!(described.protocol_data, text("range"));
    let first = &described.members[0];
    assert_eq!(first.member_id, a);
    assert_eq!(first.client_id, text("a"));
    assert_eq!(first.client_host, text("/127.0.0.1"));
    assert_eq!(first.member_metadata, subscription("calls"));
    assert_eq!(first.member_assignment, "one".as_bytes());
}
