//! Members over restarts, and when the coordinator stops.

use super::*;

#[tokio::test]
async fn members_of_a_stable_group_go_on_after_a_kill() {
    let bench = Bench::new();
    let member = bench.stable("one").await;
    let bench = bench.restart();
    assert_eq!(bench.state("one").await, "Stable");
    assert_eq!(bench.beat("one", &member, 1).await, 0);
    let codes = bench
        .commit_as("one", Some((&member, 1)), &[("calls", 0, 5)])
        .await;
    assert_eq!(codes, [0]);
    let described = bench.describe("one").await;
    let described = &described.groups[0].members[0];
    assert_eq!(described.client_host, text("/127.0.0.1"));
    assert_eq!(described.client_id, text("app"));
    assert_eq!(described.member_assignment, "everything".as_bytes());
}

#[tokio::test]
async fn a_group_that_was_killed_in_a_rebalance_is_as_before_it() {
    let bench = Bench::new();
    let member = bench.stable("one").await;
    tokio::select! {
        biased;
        joined = bench.join(join("one"), 3) => {
            panic!("joined without the other: {joined:?}")
        }
        () = std::future::ready(()) => {}
    }
    assert_eq!(bench.state("one").await, "PreparingRebalance");
    let bench = bench.restart();
    assert_eq!(bench.state("one").await, "Stable");
    assert_eq!(bench.beat("one", &member, 1).await, 0);
}

#[tokio::test]
async fn a_group_with_members_is_kept_without_offsets() {
    let bench = Bench::new();
    let member = bench.stable("one").await;
    bench.expire().await;
    assert_eq!(bench.beat("one", &member, 1).await, 0);
}

#[tokio::test]
async fn a_refused_join_leaves_no_group_behind() {
    let bench = Bench::new();
    let none = join("one").with_protocols(Vec::new());
    let refused = bench.join(none, 9).await;
    assert_eq!(
        refused.error_code,
        ResponseError::InconsistentGroupProtocol.code()
    );
    let stranger = join("one").with_member_id(text("app-1"));
    let refused = bench.join(stranger, 9).await;
    assert_eq!(refused.error_code, ResponseError::UnknownMemberId.code());
    let hasty = join("one").with_session_timeout_ms(5999);
    let refused = bench.join(hasty, 9).await;
    assert_eq!(
        refused.error_code,
        ResponseError::InvalidSessionTimeout.code()
    );
    let nameless = join("");
    let refused = bench.join(nameless, 9).await;
    assert_eq!(refused.error_code, ResponseError::InvalidGroupId.code());
    assert_eq!(bench.names().await, [""; 0]);
}

#[tokio::test]
async fn a_coordinator_that_stops_answers_those_who_wait_and_those_who_come() {
    let bench = Bench::new();
    let member = bench.stable("one").await;
    let waiting = bench.join(join("one"), 3);
    let run = bench.groups().run(std::future::ready(()));
    let (waited, ()) = tokio::join!(waiting, run);
    let gone = ResponseError::NotCoordinator;
    assert_eq!(waited.error_code, gone.code());
    assert_eq!(bench.beat("one", &member, 1).await, gone.code());
    let late = bench.join(join("two"), 3).await;
    assert_eq!(late.error_code, gone.code());
    assert_eq!(
        bench.commit_as("three", None, &[("calls", 0, 1)]).await,
        [gone.code()]
    );
    assert_eq!(bench.fetch("one").await.error_code, gone.code());
    bench.groups().close().unwrap();
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type() {
    let bench = Bench::new();
    bench.commit("empty", &[("calls", 0, 5)]).await;
    bench.stable("stable").await;
    assert_eq!(bench.names().await, ["empty", "stable"]);
    assert_eq!(bench.names_of(&["stable"], &[]).await, ["stable"]);
    let empty = bench.names_of(&["Empty", "dead"], &["Classic"]).await;
    assert_eq!(empty, ["empty"]);
    assert_eq!(bench.names_of(&[], &["consumer"]).await, [""; 0]);
    let all = bench.list(&[], &[]).await;
    assert_eq!(all[0].protocol_type, StrBytes::new());
    assert_eq!(all[1].protocol_type, text("consumer"));
    assert_eq!(all[1].group_state, text("Stable"));
    assert_eq!(all[1].group_type, text("classic"));
}
