//! Static members: they come back under a new id, and their old one is fenced.

use super::*;
use crate::groups::classic::sync::Committer;

/// A stable group of static members, who were assigned their names; the first leads.
fn stable(bench: &mut Bench, names: &[&str]) -> Vec<StrBytes> {
    let mut members: Vec<StrBytes> = Vec::new();
    for name in names {
        let mut joining = bench.join(fixed(name));
        for (known, name) in members.iter().zip(names) {
            bench.join(being(fixed(name), known));
        }
        members.push(joining.answer().member_id);
    }
    bench.hand_out(&members, names);
    members
}

#[test]
fn a_static_member_needs_no_second_round() {
    let mut bench = Bench::new();
    let joined = bench.join(fixed("one")).answer();
    assert_eq!(joined.error_code, 0);
    assert!(joined.member_id.starts_with("one-"));
    assert_eq!(joined.members[0].group_instance_id, Some(text("one")));
}

#[test]
fn a_follower_that_comes_back_keeps_its_assignment_without_a_rebalance() {
    let mut bench = Bench::new();
    let members = stable(&mut bench, &["a", "b"]);
    let generation = bench.group.generation;
    let back = bench.join(fixed("b")).answer();
    assert_eq!(back.error_code, 0);
    assert_ne!(back.member_id, members[1]);
    assert_eq!(back.generation_id, generation);
    assert!(!back.skip_assignment);
    assert_eq!(bench.state(), State::Stable);
    let mut sync = bench.sync(&back.member_id, generation, &[]);
    assert_eq!(sync.assignment(), "b".as_bytes());
    let mut stored = vec![members[0].clone(), back.member_id];
    stored.sort();
    assert_eq!(bench.disk.saved.last(), Some(&(generation, stored)));
}

#[test]
fn the_predecessor_of_a_static_member_is_fenced_everywhere() {
    let mut bench = Bench::new();
    let members = stable(&mut bench, &["a", "b"]);
    let generation = bench.group.generation;
    bench.join(fixed("b"));
    let (old, instance) = (&members[1], text("b"));
    let fenced = ResponseError::FencedInstanceId;
    let now = bench.moment();
    assert_eq!(
        bench.group.heartbeat(old, Some(&instance), generation, now),
        Err(fenced)
    );
    assert_eq!(
        bench.group.check_commit(
            &Committer {
                member_id: old,
                instance_id: Some(&instance),
                generation,
                transactional: false,
                knows_epochs: true,
            },
            now
        ),
        Err(fenced)
    );
    let sync = SyncGroupRequest::default()
        .with_member_id(old.clone())
        .with_group_instance_id(Some(instance.clone()))
        .with_generation_id(generation);
    assert_eq!(bench.sync_with(sync).code(), Some(fenced));
    assert_eq!(bench.join(being(fixed("b"), old)).code(), Some(fenced));
    let leaving = MemberIdentity::default()
        .with_member_id(old.clone())
        .with_group_instance_id(Some(instance));
    let responses = bench.act(|group, turn| group.leave(vec![leaving], turn));
    assert_eq!(responses[0].error_code, fenced.code());
    // Without the instance it is simply nobody.
    assert_eq!(
        bench.beat(old, generation),
        Err(ResponseError::UnknownMemberId)
    );
}

#[test]
fn a_leader_that_comes_back_leads_on_but_skips_the_assignment() {
    let mut bench = Bench::new();
    stable(&mut bench, &["a", "b"]);
    let back = bench.join(fixed("a")).answer();
    assert!(back.skip_assignment);
    assert_eq!(back.leader, back.member_id);
    assert_eq!(back.members.len(), 2);
    assert_eq!(bench.state(), State::Stable);
}

#[test]
fn a_leader_of_an_older_version_is_told_that_its_predecessor_leads() {
    let mut bench = Bench::new();
    let members = stable(&mut bench, &["a", "b"]);
    let mut old = fixed("a");
    old.can_skip_assignment = false;
    let back = bench.join(old).answer();
    assert!(!back.skip_assignment);
    assert_eq!(back.leader, members[0]);
    assert_eq!(back.members, []);
    // It does lead: a join of it makes the group rebalance.
    assert!(bench.join(being(fixed("a"), &back.member_id)).waits());
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn a_static_member_whose_change_would_change_the_protocol_makes_the_group_rebalance() {
    let mut bench = Bench::new();
    let a = bench
        .join(knowing(fixed("a"), &["sticky", "range"]))
        .answer()
        .member_id;
    bench.hand_out(std::slice::from_ref(&a), &["a"]);
    let back = bench
        .join(knowing(fixed("a"), &["range", "sticky"]))
        .answer();
    assert_eq!(back.generation_id, 2);
    assert_eq!(back.protocol_name, Some(text("range")));
    assert_eq!(bench.state(), State::CompletingRebalance);
}

#[test]
fn a_static_member_that_comes_back_before_the_assignment_restarts_the_rebalance() {
    let mut bench = Bench::new();
    let a = bench.join(fixed("a")).answer().member_id;
    let mut b_joins = bench.join(fixed("b"));
    bench.join(being(fixed("a"), &a));
    let b = b_joins.answer().member_id;
    let generation = bench.group.generation;
    let mut old_sync = bench.sync(&b, generation, &[]);
    let mut back = bench.join(fixed("b"));
    assert_eq!(old_sync.code(), Some(ResponseError::FencedInstanceId));
    assert!(back.waits());
    assert_eq!(bench.state(), State::PreparingRebalance);
    bench.join(being(fixed("a"), &a));
    assert_eq!(back.answer().generation_id, generation + 1);
}

#[test]
fn a_static_member_that_comes_back_while_its_join_waits_fences_that_join() {
    let mut bench = Bench::new();
    let members = stable(&mut bench, &["a", "b"]);
    let mut old = bench.join(being(fixed("a"), &members[0]));
    assert!(old.waits());
    let mut new = bench.join(fixed("a"));
    assert_eq!(old.code(), Some(ResponseError::FencedInstanceId));
    assert!(new.waits());
    bench.join(being(fixed("b"), &members[1]));
    assert_eq!(new.answer().members.len(), 2);
}

#[test]
fn a_change_of_place_that_cannot_be_stored_is_undone() {
    let mut bench = Bench::new();
    let members = stable(&mut bench, &["a", "b"]);
    let generation = bench.group.generation;
    bench.disk.refuse = Some(Unwritten::NoSpace);
    let refused = bench.join(fixed("a")).answer();
    assert_eq!(
        refused.error_code,
        ResponseError::CoordinatorNotAvailable.code()
    );
    let now = bench.moment();
    assert_eq!(
        bench
            .group
            .heartbeat(&members[0], Some(&text("a")), generation, now),
        Ok(())
    );
    assert_eq!(bench.group.leader, Some(members[0].clone()));
    assert_eq!(bench.group.members.len(), 2);
}

#[test]
fn a_static_member_that_does_not_rejoin_in_time_stays() {
    let mut bench = Bench::new();
    let members = stable(&mut bench, &["a", "b"]);
    let silent = bench.group.members.get_mut(&members[1]).unwrap();
    silent.session_timeout_ms = 10 * REBALANCE_MS;
    let now = bench.moment();
    let generation = bench.group.generation;
    bench
        .group
        .heartbeat(&members[1], None, generation, now)
        .unwrap();
    let mut a = bench.join(being(fixed("a"), &members[0]));
    bench.pass(REBALANCE_MS.into());
    assert_eq!(a.answer().members.len(), 2);
}

#[test]
fn a_static_member_is_removed_when_its_session_ends() {
    let mut bench = Bench::new();
    let a = bench.join(fixed("a")).answer().member_id;
    bench.hand_out(std::slice::from_ref(&a), &["a"]);
    bench.pass(SESSION_MS.into());
    assert_eq!(bench.state(), State::Empty);
    assert_eq!(bench.join(fixed("a")).answer().generation_id, 3);
}

#[test]
fn an_operator_sends_a_static_member_away_by_its_instance() {
    let mut bench = Bench::new();
    let members = stable(&mut bench, &["a", "b"]);
    let named = |name: &str| MemberIdentity::default().with_group_instance_id(Some(text(name)));
    let leaving = vec![named("a"), named("nobody")];
    let responses = bench.act(|group, turn| group.leave(leaving, turn));
    let codes: Vec<i16> = responses.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [0, ResponseError::UnknownMemberId.code()]);
    assert!(!bench.group.members.contains_key(&members[0]));
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn an_instance_that_the_group_does_not_know_is_unknown() {
    let mut bench = Bench::new();
    let members = stable(&mut bench, &["a"]);
    let mut other = being(fixed("b"), &members[0]);
    other.protocols = vec![protocol("range")];
    assert_eq!(
        bench.join(other).code(),
        Some(ResponseError::UnknownMemberId)
    );
}
