//! Members come, stay and go, request by request, in every version.

use super::*;

#[test]
fn every_version_brings_a_member_in_and_out() {
    let cluster = Cluster::start();
    let group = fresh_group();
    let mut client = coordinator(&cluster, &group);
    for version in 0..=9 {
        let mut member = Member::new(&cluster, &group);
        let mut request = member.join_request();
        if version == 0 {
            request.rebalance_timeout_ms = -1;
        }
        let mut joined = client.call(version, &request);
        if version >= 4 {
            assert_eq!(joined.error_code, code(ResponseError::MemberIdRequired));
            request.member_id = joined.member_id;
            joined = client.call(version, &request);
        }
        assert_eq!(joined.error_code, 0, "version {version}");
        assert!(joined.member_id.starts_with("raw-test-"));
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.members.len(), 1);
        assert_eq!(joined.members[0].metadata, subscription("calls"));
        assert_eq!(joined.protocol_name, Some(text("range")));
        let protocol_type = (version >= 7).then(|| text("consumer"));
        assert_eq!(joined.protocol_type, protocol_type);
        member.id = joined.member_id;
        member.generation = joined.generation_id;

        let mine = SyncGroupRequestAssignment::default()
            .with_member_id(member.id.clone())
            .with_assignment(Bytes::from_static(b"all"));
        let mut sync = member.sync_request().with_assignments(vec![mine]);
        let sync_version = version.min(5);
        if sync_version < 5 {
            sync.protocol_type = None;
            sync.protocol_name = None;
        }
        let synced = client.call(sync_version, &sync);
        assert_eq!(synced.error_code, 0, "version {version}");
        assert_eq!(synced.assignment, "all".as_bytes());

        let beat = HeartbeatRequest::default()
            .with_group_id(group_id(&group))
            .with_generation_id(member.generation)
            .with_member_id(member.id.clone());
        assert_eq!(client.call(version.min(4), &beat).error_code, 0);

        let leave_version = version.min(5);
        let mut leave = LeaveGroupRequest::default().with_group_id(group_id(&group));
        match leave_version {
            ..3 => leave.member_id = member.id.clone(),
            _ => leave.members = vec![MemberIdentity::default().with_member_id(member.id.clone())],
        }
        let left = client.call(leave_version, &leave);
        assert_eq!(left.error_code, 0, "version {version}");
        assert!(left.members.iter().all(|one| one.error_code == 0));
    }
}

#[test]
fn every_version_tells_a_stranger_that_it_is_unknown() {
    let cluster = Cluster::start();
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group);
    member.id = text("stranger");
    member.generation = 1;
    let unknown = code(ResponseError::UnknownMemberId);
    for version in 0..=9 {
        let mut request = member.join_request();
        if version == 0 {
            request.rebalance_timeout_ms = -1;
        }
        let refused = member.client.call(version, &request);
        assert_eq!(refused.error_code, unknown, "version {version}");
        assert_eq!(refused.member_id, member.id);
        assert_eq!(refused.generation_id, -1);
    }
    for version in 0..=5 {
        let mut request = member.sync_request();
        if version < 5 {
            request.protocol_type = None;
            request.protocol_name = None;
        }
        let refused = member.client.call(version, &request);
        assert_eq!(refused.error_code, unknown, "version {version}");
        assert_eq!(refused.assignment, Bytes::new());
    }
    for version in 0..=4 {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&group))
            .with_generation_id(1)
            .with_member_id(member.id.clone());
        let refused = member.client.call(version, &request);
        assert_eq!(refused.error_code, unknown, "version {version}");
    }
    for version in 0..=5 {
        let mut request = LeaveGroupRequest::default().with_group_id(group_id(&group));
        match version {
            ..3 => request.member_id = member.id.clone(),
            _ => {
                request.members = vec![MemberIdentity::default().with_member_id(member.id.clone())];
            }
        }
        let refused = member.client.call(version, &request);
        match version {
            ..3 => assert_eq!(refused.error_code, unknown, "version {version}"),
            _ => assert_eq!(refused.members[0].error_code, unknown, "version {version}"),
        }
    }
}

#[test]
fn a_second_member_makes_the_first_rejoin_and_both_are_assigned() {
    let cluster = Cluster::start();
    let (mut first, mut second) = pair(&cluster, &fresh_group());
    assert_eq!(first.generation, second.generation);
    assert_eq!((first.beat(), second.beat()), (0, 0));
    // Whoever asks again gets the same.
    assert_eq!(second.sync(), Ok(Bytes::from_static(b"two")));
    assert_eq!(second.leave(), 0);
    first.beat_until(ResponseError::RebalanceInProgress);
    let alone = first.join();
    assert_eq!(alone.members.len(), 1);
}

#[test]
fn a_member_of_an_old_generation_is_told_so() {
    let cluster = Cluster::start();
    let (mut first, _second) = pair(&cluster, &fresh_group());
    first.generation -= 1;
    let illegal = code(ResponseError::IllegalGeneration);
    assert_eq!(first.beat(), illegal);
    assert_eq!(first.sync(), Err(illegal));
}

#[test]
fn a_follower_that_joins_again_unchanged_disturbs_nobody() {
    let cluster = Cluster::start();
    let (mut first, mut second) = pair(&cluster, &fresh_group());
    let generation = second.generation;
    assert_eq!(second.join().generation_id, generation);
    assert_eq!(first.beat(), 0);
    // A leader does: it may know of new partitions.
    first.begin_join();
    second.beat_until(ResponseError::RebalanceInProgress);
    second.begin_join();
    assert_eq!(first.end_join().generation_id, generation + 1);
    assert_eq!(second.end_join().generation_id, generation + 1);
}

#[test]
fn members_without_a_common_protocol_are_refused() {
    let cluster = Cluster::start();
    let group = fresh_group();
    let mut first = Member::new(&cluster, &group);
    first.settle();
    let inconsistent = code(ResponseError::InconsistentGroupProtocol);
    let mut other = first.join_request().with_member_id(StrBytes::new());
    other.protocols[0].name = text("roundrobin");
    let mut client = coordinator(&cluster, &group);
    assert_eq!(client.call(9, &other).error_code, inconsistent);
    let connect = first
        .join_request()
        .with_member_id(StrBytes::new())
        .with_protocol_type(text("connect"));
    assert_eq!(client.call(9, &connect).error_code, inconsistent);
    // A sync of version 5 has to name the protocol, and the right one.
    let nameless = first.sync_request().with_protocol_name(None);
    assert_eq!(client.call(5, &nameless).error_code, inconsistent);
    let wrong = first
        .sync_request()
        .with_protocol_name(Some(text("roundrobin")));
    assert_eq!(client.call(5, &wrong).error_code, inconsistent);
    assert_eq!(first.beat(), 0);
}

#[test]
fn sessions_outside_the_bounds_and_groups_without_name_are_refused() {
    let cluster = Cluster::start();
    let mut member = Member::new(&cluster, &fresh_group());
    let invalid = code(ResponseError::InvalidSessionTimeout);
    for session_timeout_ms in [0, SHORTEST_SESSION_MS - 1, 1_800_001] {
        member.session_timeout_ms = session_timeout_ms;
        let refused = member.client.call(9, &member.join_request());
        assert_eq!(refused.error_code, invalid, "{session_timeout_ms}");
    }
    member.session_timeout_ms = SESSION_MS;
    member.group = String::new();
    let nameless = code(ResponseError::InvalidGroupId);
    let refused = member.client.call(9, &member.join_request());
    assert_eq!(refused.error_code, nameless);
    assert_eq!(member.sync(), Err(nameless));
    assert_eq!(member.beat(), nameless);
    let leave = LeaveGroupRequest::default().with_group_id(group_id(""));
    assert_eq!(member.client.call(4, &leave).error_code, nameless);
}

#[test]
fn a_static_member_that_comes_back_keeps_its_place_and_fences_its_predecessor() {
    let cluster = Cluster::start();
    let group = fresh_group();
    let mut first = Member::fixed(&cluster, &group, "one");
    first.settle();
    let second = Member::fixed(&cluster, &group, "two");
    let (mut first, mut second) = bring_in(first, second);
    let generation = second.generation;
    let mut back = Member::fixed(&cluster, &group, "two");
    let joined = back.join();
    assert_ne!(back.id, second.id);
    assert_eq!(back.generation, generation);
    assert!(!joined.skip_assignment);
    assert_eq!(back.sync(), Ok(Bytes::from_static(b"two")));
    assert_eq!(first.beat(), 0);
    let fenced = code(ResponseError::FencedInstanceId);
    assert_eq!(second.beat(), fenced);
    assert_eq!(second.sync(), Err(fenced));
    assert_eq!(second.leave(), fenced);
    second.begin_join();
    assert_eq!(second.end_join().error_code, fenced);
    // A leader that comes back leads, but keeps the assignment.
    let mut leader = Member::fixed(&cluster, &group, "one");
    let joined = leader.join();
    assert!(joined.skip_assignment);
    assert_eq!(joined.leader, leader.id);
    assert_eq!(joined.members.len(), 2);
    assert_eq!(leader.generation, generation);
    assert_eq!(first.beat(), fenced);
}

#[test]
fn an_operator_removes_static_members_by_their_instance() {
    let cluster = Cluster::start();
    let group = fresh_group();
    let mut member = Member::fixed(&cluster, &group, "one");
    member.settle();
    let named = |name: &str| MemberIdentity::default().with_group_instance_id(Some(text(name)));
    let request = LeaveGroupRequest::default()
        .with_group_id(group_id(&group))
        .with_members(vec![named("one"), named("nobody")]);
    let left = coordinator(&cluster, &group).call(5, &request);
    let codes: Vec<_> = left
        .members
        .iter()
        .map(|one| (one.group_instance_id.clone().unwrap(), one.error_code))
        .collect();
    let unknown = code(ResponseError::UnknownMemberId);
    assert_eq!(codes, [(text("one"), 0), (text("nobody"), unknown)]);
    assert_eq!(member.beat(), unknown);
}

#[test]
fn a_silent_member_loses_its_session_and_the_others_rebalance() {
    let cluster = Cluster::start();
    let group = fresh_group();
    let mut first = Member::new(&cluster, &group);
    first.settle();
    let mut silent = Member::new(&cluster, &group);
    silent.session_timeout_ms = SHORTEST_SESSION_MS;
    let (mut first, mut silent) = bring_in(first, silent);
    first.beat_until(ResponseError::RebalanceInProgress);
    assert_eq!(silent.beat(), code(ResponseError::UnknownMemberId));
    assert_eq!(first.join().members.len(), 1);
}

#[test]
fn a_member_that_is_gone_with_its_connection_does_not_hold_the_others_for_ever() {
    let cluster = Cluster::start();
    let group = fresh_group();
    let mut first = Member::new(&cluster, &group);
    first.settle();
    let mut gone = Member::new(&cluster, &group);
    gone.session_timeout_ms = SHORTEST_SESSION_MS;
    gone.begin_join();
    drop(gone);
    first.beat_until(ResponseError::RebalanceInProgress);
    let joined = first.join();
    assert_eq!(joined.members.len(), 2);
    let id = first.id.clone();
    first.assign(&[(&id, "all")]).unwrap();
    first.beat_until(ResponseError::RebalanceInProgress);
    assert_eq!(first.join().members.len(), 1);
}
