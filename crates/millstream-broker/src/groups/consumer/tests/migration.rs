//! A group that changes its kind: what is stored of it, and what a restart makes of that.

use bytes::Bytes;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use tokio::sync::oneshot;

use super::*;
use crate::groups::classic::member::{Join, Protocol};

/// What a consumer of the classic protocol asks for that reads "calls".
pub(super) fn joining(member_id: StrBytes) -> Join {
    Join {
        member_id,
        instance_id: None,
        client_id: text("old"),
        client_host: text("/127.0.0.1"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        protocol_type: text("consumer"),
        protocols: vec![Protocol {
            name: text("range"),
            metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x05calls\xff\xff\xff\xff"),
        }],
        reason: StrBytes::new(),
        id_required: false,
        can_skip_assignment: false,
    }
}

fn join(bench: &mut Bench, member_id: &StrBytes) -> JoinGroupResponse {
    join_with(bench, joining(member_id.clone()))
}

/// The same of a cooperative consumer that holds these partitions of "calls".
fn join_holding(bench: &mut Bench, member_id: &StrBytes, held: &[u8]) -> JoinGroupResponse {
    let mut metadata =
        Vec::from(b"\0\x01\0\0\0\x01\0\x05calls\xff\xff\xff\xff\0\0\0\x01\0\x05calls");
    metadata.extend([0, 0, 0, u8::try_from(held.len()).unwrap()]);
    metadata.extend(held.iter().flat_map(|partition| [0, 0, 0, *partition]));
    let request = Join {
        protocols: vec![Protocol {
            name: text("range"),
            metadata: metadata.into(),
        }],
        ..joining(member_id.clone())
    };
    join_with(bench, request)
}

fn join_with(bench: &mut Bench, request: Join) -> JoinGroupResponse {
    let (waiter, mut answer) = oneshot::channel();
    bench.act(|group, turn| group.join(request, waiter, turn));
    answer.try_recv().unwrap()
}

fn sync(bench: &mut Bench, joined: &JoinGroupResponse, assignment: &[u8]) -> SyncGroupResponse {
    let own = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(Bytes::copy_from_slice(assignment));
    let request = SyncGroupRequest::default()
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(vec![own]);
    let (waiter, mut answer) = oneshot::channel();
    bench.act(|group, turn| group.sync(request, waiter, turn));
    answer.try_recv().unwrap()
}

fn classic_beat(bench: &mut Bench, joined: &JoinGroupResponse) -> Result<(), ResponseError> {
    let request = HeartbeatRequest::default()
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    bench.act(|group, turn| group.heartbeat(&request, turn))
}

/// Both partitions of "calls".
const ALL: &[u8] = b"\0\0\0\0\0\x01\0\x05calls\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";

/// The first of them.
const FIRST: &[u8] = b"\0\0\0\0\0\x01\0\x05calls\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";

/// A stable classic group of one member that has both partitions.
fn classic_group(bench: &mut Bench) -> JoinGroupResponse {
    bench.topics.put("calls", 2);
    let joined = join(bench, &StrBytes::new());
    assert_eq!(sync(bench, &joined, ALL).error_code, 0);
    joined
}

#[test]
fn an_upgrade_that_cannot_be_stored_leaves_the_classic_group() {
    let mut bench = Bench::new();
    let old = classic_group(&mut bench);
    let new = Client::new("new", &["calls"]);
    bench.disk.refuse = Some(Unwritten::NoSpace);
    let full = Err(ResponseError::CoordinatorNotAvailable);
    assert_eq!(bench.beat(&new.beat()), full);
    assert_eq!(bench.group.type_name(), "classic");
    assert_eq!(classic_beat(&mut bench, &old), Ok(()));
}

#[test]
fn a_restart_finds_the_kind_of_group_that_was_stored_last() {
    let mut bench = Bench::new();
    let old = classic_group(&mut bench);
    let mut new = Client::new("new", &["calls"]);
    new.go(&mut bench);
    assert_eq!(new.count(), 0);
    bench.restart();
    assert_eq!(bench.group.type_name(), "consumer");
    let again = Err(ResponseError::RebalanceInProgress);
    assert_eq!(classic_beat(&mut bench, &old), again);
    let joined = join(&mut bench, &old.member_id);
    assert_eq!(joined.generation_id, 2);
    let assigned = sync(&mut bench, &joined, b"").assignment;
    assert_eq!(assigned, FIRST);
    new.go(&mut bench);
    assert_eq!(new.count(), 1);
    bench.beat(&new.leaving(-1)).unwrap();
    bench.restart();
    assert_eq!(bench.group.type_name(), "classic");
    assert_eq!(bench.group.state(), "Stable");
    assert_eq!(classic_beat(&mut bench, &joined), Ok(()));
}

#[test]
fn a_classic_member_that_does_not_join_again_in_time_is_removed() {
    let mut bench = Bench::new();
    let old = classic_group(&mut bench);
    let mut new = Client::new("new", &["calls"]);
    new.go(&mut bench);
    for _ in 0..4 {
        let again = Err(ResponseError::RebalanceInProgress);
        assert_eq!(classic_beat(&mut bench, &old), again);
        bench.pass(5000);
    }
    let unknown = Err(ResponseError::UnknownMemberId);
    assert_eq!(classic_beat(&mut bench, &old), unknown);
    new.go(&mut bench);
    assert_eq!(new.count(), 2);
}

#[test]
fn the_last_new_member_that_falls_silent_leaves_a_classic_group_behind() {
    let mut bench = Bench::new();
    let old = classic_group(&mut bench);
    let mut new = Client::new("new", &["calls"]);
    new.go(&mut bench);
    let joined = join(&mut bench, &old.member_id);
    sync(&mut bench, &joined, b"");
    while bench.group.type_name() == "consumer" {
        classic_beat(&mut bench, &joined).ok();
        bench.pass(5000);
        assert!(bench.now <= SESSION_MS + 5000);
    }
    let again = Err(ResponseError::RebalanceInProgress);
    assert_eq!(classic_beat(&mut bench, &joined), again);
    let joined = join(&mut bench, &old.member_id);
    assert_eq!(joined.members.len(), 1);
}

#[test]
fn what_a_cooperative_member_has_not_given_back_yet_is_given_to_nobody_after_an_upgrade() {
    let mut bench = Bench::new();
    bench.topics.put("calls", 2);
    let old = join_holding(&mut bench, &StrBytes::new(), &[0, 1]);
    // Its leader takes the second partition away: it may not have heard that yet.
    assert_eq!(sync(&mut bench, &old, FIRST).error_code, 0);
    let mut new = Client::new("new", &["calls"]);
    new.go(&mut bench);
    new.go(&mut bench);
    assert_eq!((bench.group.type_name(), new.count()), ("consumer", 0));
    bench.restart();
    new.go(&mut bench);
    assert_eq!(new.count(), 0);
    let again = Err(ResponseError::RebalanceInProgress);
    assert_eq!(classic_beat(&mut bench, &old), again);
    let joined = join_holding(&mut bench, &old.member_id, &[0]);
    assert_eq!(sync(&mut bench, &joined, b"").assignment[2..], FIRST[2..]);
    new.go(&mut bench);
    assert_eq!((new.count(), bench.state()), (1, State::Stable));
}

#[test]
fn a_classic_member_that_was_removed_and_still_holds_partitions_hears_that_it_is_no_member() {
    let mut bench = Bench::new();
    let old = classic_group(&mut bench);
    let mut new = Client::new("new", &["calls"]);
    new.go(&mut bench);
    bench.pass(20_000);
    new.go(&mut bench);
    assert_eq!(new.count(), 2);
    let unknown = ResponseError::UnknownMemberId.code();
    let joined = join_holding(&mut bench, &old.member_id, &[0, 1]);
    assert_eq!(joined.error_code, unknown);
    // One that holds nothing may have been given its id a moment ago.
    assert_eq!(join(&mut bench, &old.member_id).error_code, 0);
}
