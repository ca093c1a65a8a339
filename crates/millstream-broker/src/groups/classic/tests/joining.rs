//! Who may come in, and what members hear when they join.

use super::*;

#[test]
fn a_first_join_without_id_is_given_one_and_told_to_come_again() {
    let mut bench = Bench::new();
    let told = bench.join(consumer("app")).answer();
    assert_eq!(told.error_code, ResponseError::MemberIdRequired.code());
    assert!(told.member_id.starts_with("app-"), "{:?}", told.member_id);
    assert_eq!(bench.state(), State::Empty);
    let joined = bench.join(being(consumer("app"), &told.member_id)).answer();
    assert_eq!(joined.error_code, 0);
    assert_eq!(joined.generation_id, 1);
    assert_eq!(joined.member_id, told.member_id);
    assert_eq!(joined.leader, told.member_id);
    assert_eq!(bench.state(), State::CompletingRebalance);
}

#[test]
fn a_join_without_id_before_version_4_needs_one_round() {
    let mut bench = Bench::new();
    let mut join = consumer("old");
    join.id_required = false;
    let joined = bench.join(join).answer();
    assert_eq!(joined.error_code, 0);
    assert!(joined.member_id.starts_with("old-"));
}

#[test]
fn an_id_that_nobody_comes_back_with_is_forgotten_after_the_session_timeout() {
    let mut bench = Bench::new();
    let told = bench.join(consumer("app")).answer();
    bench.pass(i64::from(SESSION_MS) - 1);
    assert!(bench.group.has_pending());
    bench.pass(1);
    assert!(!bench.group.has_pending());
    let mut late = bench.join(being(consumer("app"), &told.member_id));
    assert_eq!(late.code(), Some(ResponseError::UnknownMemberId));
}

#[test]
fn an_id_that_the_group_never_gave_is_unknown() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let stranger = being(consumer("b"), &text("b-1234"));
    let told = bench.join(stranger).answer();
    assert_eq!(told.error_code, ResponseError::UnknownMemberId.code());
    assert_eq!(told.member_id, text("b-1234"));
    assert_eq!(bench.state(), State::Stable);
}

#[test]
fn an_id_that_is_waited_for_cannot_become_a_static_member() {
    let mut bench = Bench::new();
    let told = bench.join(consumer("app")).answer();
    let mut mixed = bench.join(being(fixed("app"), &told.member_id));
    assert_eq!(mixed.code(), Some(ResponseError::UnknownMemberId));
}

#[test]
fn only_the_leader_learns_of_the_members_and_their_metadata() {
    let mut bench = Bench::new();
    let (a, _) = bench.enter(consumer("a"));
    let (b, mut b_joins) = bench.enter(consumer("b"));
    let a_joined = bench.join(being(consumer("a"), &a)).answer();
    let b_joined = b_joins.answer();
    assert_eq!(a_joined.leader, a);
    assert_eq!(b_joined.leader, a);
    assert_eq!(b_joined.members, []);
    assert_eq!(a_joined.protocol_name, Some(text("range")));
    assert_eq!(a_joined.protocol_type, Some(text("consumer")));
    let told: Vec<_> = a_joined
        .members
        .into_iter()
        .map(|member| (member.member_id, member.metadata))
        .collect();
    let metadata = subscription("calls");
    assert_eq!(told, [(a, metadata.clone()), (b, metadata)]);
}

#[test]
fn members_vote_for_the_protocol_among_those_that_all_know() {
    let mut bench = Bench::new();
    let (a, _) = bench.enter(knowing(consumer("a"), &["mine", "range", "sticky"]));
    let (b, mut b_joins) = bench.enter(knowing(consumer("b"), &["sticky", "range"]));
    let (c, mut c_joins) = bench.enter(knowing(consumer("c"), &["sticky", "range", "other"]));
    let a_joined = bench
        .join(being(
            knowing(consumer("a"), &["mine", "range", "sticky"]),
            &a,
        ))
        .answer();
    assert_eq!(a_joined.protocol_name, Some(text("sticky")));
    assert_eq!(b_joins.answer().protocol_name, Some(text("sticky")));
    assert_eq!(c_joins.answer().protocol_name, Some(text("sticky")));
    assert_eq!(bench.group.members.len(), 3, "{b:?} {c:?}");
}

#[test]
fn a_member_without_a_common_protocol_is_refused() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let inconsistent = Some(ResponseError::InconsistentGroupProtocol);
    let mut other = bench.join(knowing(consumer("b"), &["roundrobin"]));
    assert_eq!(other.code(), inconsistent);
    let mut connect = consumer("b");
    connect.protocol_type = text("connect");
    assert_eq!(bench.join(connect).code(), inconsistent);
    assert_eq!(bench.state(), State::Stable);
}

#[test]
fn a_member_that_gives_up_the_common_protocol_is_refused() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    let other = knowing(consumer("b"), &["roundrobin"]);
    let mut again = bench.join(being(other, &members[1]));
    assert_eq!(again.code(), Some(ResponseError::InconsistentGroupProtocol));
    assert_eq!(bench.state(), State::Stable);
}

#[test]
fn an_empty_group_refuses_a_member_without_protocols_or_type() {
    let mut bench = Bench::new();
    let inconsistent = Some(ResponseError::InconsistentGroupProtocol);
    assert_eq!(bench.join(knowing(consumer("a"), &[])).code(), inconsistent);
    let mut untyped = consumer("a");
    untyped.protocol_type = StrBytes::new();
    assert_eq!(bench.join(untyped).code(), inconsistent);
}

#[test]
fn an_emptied_group_takes_another_protocol_type() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a"]);
    bench.leave(&members[0]);
    let mut connect = knowing(consumer("b"), &["sessioned"]);
    connect.protocol_type = text("connect");
    let (_, mut joins) = bench.enter(connect);
    assert_eq!(joins.answer().protocol_type, Some(text("connect")));
}

#[test]
fn a_follower_that_joins_again_unchanged_gets_the_generation_as_it_is() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    let generation = bench.group.generation;
    let joined = bench.join(being(consumer("b"), &members[1])).answer();
    assert_eq!(joined.generation_id, generation);
    assert_eq!(joined.members, []);
    assert_eq!(bench.state(), State::Stable);
    assert_eq!(
        bench.sync(&members[1], generation, &[]).assignment(),
        "b".as_bytes()
    );
}

#[test]
fn a_follower_that_changed_makes_the_group_rebalance() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    let mut changed = being(consumer("b"), &members[1]);
    changed.protocols[0].metadata = subscription("other");
    assert!(bench.join(changed).waits());
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn a_leader_that_joins_again_makes_the_group_rebalance() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    let generation = bench.group.generation;
    let mut leader = bench.join(being(consumer("a"), &members[0]));
    assert!(leader.waits());
    assert_eq!(
        bench.beat(&members[1], generation),
        Err(ResponseError::RebalanceInProgress)
    );
    let follower = bench.join(being(consumer("b"), &members[1])).answer();
    assert_eq!(follower.generation_id, generation + 1);
    assert_eq!(leader.answer().members.len(), 2);
}

#[test]
fn a_member_that_lost_the_answer_to_its_join_gets_it_again() {
    let mut bench = Bench::new();
    let (a, _) = bench.enter(consumer("a"));
    let generation = bench.group.generation;
    assert_eq!(bench.state(), State::CompletingRebalance);
    let again = bench.join(being(consumer("a"), &a)).answer();
    assert_eq!(again.generation_id, generation);
    assert_eq!(again.members.len(), 1);
    assert_eq!(bench.state(), State::CompletingRebalance);
}

#[test]
fn a_changed_member_restarts_a_rebalance_that_is_not_complete() {
    let mut bench = Bench::new();
    let (a, _) = bench.enter(consumer("a"));
    let mut syncing = bench.sync(&text("nobody"), 1, &[]);
    assert_eq!(syncing.code(), Some(ResponseError::UnknownMemberId));
    let changed = knowing(consumer("a"), &["roundrobin", "range"]);
    let joined = bench.join(being(changed, &a)).answer();
    assert_eq!(joined.generation_id, 2);
    assert_eq!(joined.protocol_name, Some(text("roundrobin")));
}

#[test]
fn a_member_that_joins_twice_is_answered_on_the_later_request() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    let mut first = bench.join(being(consumer("a"), &members[0]));
    let mut second = bench.join(being(consumer("a"), &members[0]));
    assert!(!first.waits());
    first
        .0
        .try_recv()
        .expect_err("the first request is given up");
    bench.join(being(consumer("b"), &members[1]));
    assert_eq!(second.code(), None);
}

#[test]
fn a_full_group_takes_its_own_members_only() {
    let mut bench = Bench::new();
    bench.rules.max_size = 2;
    let members = bench.stable(&["a", "b"]);
    let refused = bench.join(consumer("c")).answer();
    assert_eq!(
        refused.error_code,
        ResponseError::GroupMaxSizeReached.code()
    );
    assert_eq!(refused.member_id, StrBytes::new());
    assert_eq!(bench.join(being(consumer("b"), &members[1])).code(), None);
}

#[test]
fn a_group_that_is_too_large_turns_the_last_to_rejoin_away() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b", "c"]);
    bench.rules.max_size = 2;
    let mut a = bench.join(being(consumer("a"), &members[0]));
    let mut c = bench.join(being(
        knowing(consumer("c"), &["range", "more"]),
        &members[2],
    ));
    let mut b = bench.join(being(consumer("b"), &members[1]));
    assert_eq!(b.code(), Some(ResponseError::GroupMaxSizeReached));
    assert_eq!(a.code(), None);
    assert_eq!(c.code(), None);
    assert_eq!(bench.group.members.len(), 2);
}
