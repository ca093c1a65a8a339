//! The journal under the groups: written anew, slow, full, broken.

use super::*;

#[tokio::test]
async fn a_group_in_a_rebalance_is_kept_when_the_journal_is_written_anew() {
    let bench = Bench::new();
    let member = bench.stable("one").await;
    let leader = join("one").with_member_id(member.clone());
    let rejoined = bench.join(leader, 5).await;
    assert_eq!(rejoined.generation_id, 2);
    assert_eq!(bench.state("one").await, "CompletingRebalance");
    fill_until_rewritten(&bench, "filler").await;
    let bench = bench.restart();
    assert_eq!(bench.state("one").await, "Stable");
    assert_eq!(bench.beat("one", &member, 1).await, 0);
}

/// Commits to a group until the journal has shrunk; returns the last offset.
async fn fill_until_rewritten(bench: &Bench, group: &str) -> i64 {
    let note = "x".repeat(4000);
    let mut largest = 0;
    for offset in 0.. {
        let codes = bench
            .commit_with(&note, group, None, &[("calls", 0, offset)])
            .await;
        assert_eq!(codes, [0]);
        let size = std::fs::metadata(bench.journal()).unwrap().len();
        if size < largest {
            return offset;
        }
        largest = size;
    }
    unreachable!("a journal that never shrinks")
}

#[tokio::test]
async fn a_rewritten_journal_holds_everything_and_stays_small() {
    let bench = Bench::new();
    bench
        .commit("quiet", &[("calls", 0, 1), ("messages", 3, 2)])
        .await;
    let member = bench.stable("members").await;
    let last = fill_until_rewritten(&bench, "filler").await;
    assert!(std::fs::metadata(bench.journal()).unwrap().len() < 1 << 20);
    let bench = bench.restart();
    assert_eq!(bench.offsets("quiet").await, ["calls-0=1", "messages-3=2"]);
    assert_eq!(bench.offsets("filler").await, [format!("calls-0={last}")]);
    assert_eq!(bench.beat("members", &member, 1).await, 0);
}

/// A journal that has grown beyond what a small one may have, and in which everything is alive.
#[tokio::test]
async fn a_large_journal_outlives_a_stop_before_which_nothing_was_stored() {
    let bench = Bench::new();
    let note = "x".repeat(4000);
    let offsets: Vec<_> = (0..10).map(|partition| ("calls", partition, 1)).collect();
    for number in 0..250 {
        let group = format!("group-{number}");
        assert_eq!(
            bench.commit_with(&note, &group, None, &offsets).await,
            [0; 10]
        );
    }
    let bench = bench.restart();
    bench.groups().close().unwrap();
    let bench = bench.restart();
    assert_eq!(bench.names().await.len(), 250);
    assert_eq!(bench.offsets("group-7").await.len(), 10);
}

/// Queues a commit of one who is no member; returns what is to be stored for it.
fn queue(groups: &Groups, group: &str, note: &str, offset: i64) -> UpTo {
    let request = OffsetCommitRequest::default().with_generation_id_or_member_epoch(-1);
    let commit = committed(offset, note);
    let commits = vec![(topic("calls"), vec![(0, commit)])];
    let commit = |slot: &mut Slot, now| {
        slot.commit(&Committer::of(&request, 9), commits, now)
            .unwrap()
    };
    let ((), queued) = groups.event(&id(group), Missing::Create, commit).unwrap();
    queued.own
}

#[tokio::test]
async fn a_group_that_is_deleted_and_made_again_while_the_journal_is_written_anew_keeps_its_commit()
{
    let bench = Bench::new();
    bench.commit("reused", &[("calls", 0, 1)]).await;
    let note = "x".repeat(4000);
    let size = || std::fs::metadata(bench.journal()).unwrap().len();
    while size() < (8 << 20) - 5000 {
        assert_eq!(
            bench
                .commit_with(&note, "filler", None, &[("calls", 0, 1)])
                .await,
            [0]
        );
    }
    let groups = bench.groups();
    let last = queue(groups, "filler", &"x".repeat(9000), 2);
    let while_rewritten = || {
        let listed = groups.slots();
        let refuse = Missing::Refuse(ResponseError::GroupIdNotFound);
        let delete = |slot: &mut Slot, _| slot.delete().unwrap();
        groups.event(&id("reused"), refuse, delete).unwrap();
        queue(groups, "reused", "", 7);
        listed
    };
    groups.ledger.settle_here(last, while_rewritten).unwrap();
    assert!(size() < 1 << 20);
    groups.settle(groups.ledger.queued()).await.unwrap();
    assert_eq!(bench.restart().offsets("reused").await, ["calls-0=7"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_many_groups_are_kept_when_the_journal_is_written_anew_under_them() {
    let bench = Arc::new(Bench::new());
    let names: Vec<String> = (0..8).map(|number| format!("group-{number}")).collect();
    let commits = names.clone().into_iter().map(|name| {
        let bench = Arc::clone(&bench);
        tokio::spawn(async move { fill_until_rewritten(&bench, &name).await })
    });
    let commits: Vec<_> = commits.collect();
    let mut last = Vec::new();
    for one in commits {
        last.push(one.await.unwrap());
    }
    let bench = Arc::into_inner(bench).unwrap().restart();
    for (name, last) in names.iter().zip(last) {
        assert_eq!(bench.offsets(name).await, [format!("calls-0={last}")]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_delays_nobody_but_those_who_store() {
    let bench = Arc::new(Bench::new());
    let slow = bench.stable("slow").await;
    let other = bench.stable("other").await;
    let held = bench.groups().ledger.disk().hold_writes();
    let before = bench.groups().ledger.queued();
    // More than the runtime has threads.
    let commits: Vec<_> = (0..16)
        .map(|partition| {
            let (bench, slow) = (Arc::clone(&bench), slow.clone());
            tokio::spawn(async move {
                let offset = [("calls", partition % 10, i64::from(partition))];
                bench.commit_as("slow", Some((&slow, 1)), &offset).await
            })
        })
        .collect();
    while bench.groups().ledger.queued() < before + 16 {
        clock::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(bench.beat("other", &other, 1).await, 0);
    assert_eq!(bench.beat("slow", &slow, 1).await, 0);
    assert_eq!(bench.state("slow").await, "Stable");
    assert_eq!(bench.offsets("other").await, [""; 0]);
    assert!(commits.iter().all(|one| !one.is_finished()));
    drop(held);
    for one in commits {
        assert_eq!(one.await.unwrap(), [0]);
    }
    let bench = Arc::into_inner(bench).unwrap().restart();
    assert_eq!(bench.offsets("slow").await.len(), 10);
}

#[tokio::test]
async fn a_full_disk_refuses_commits_until_there_is_space() {
    let bench = Bench::new();
    let refused = [ResponseError::CoordinatorNotAvailable.code()];
    bench.commit("one", &[("calls", 0, 1)]).await;
    let disk = bench.groups().ledger.disk();
    disk.refuse_writes(true);
    // What is under way when the disk is full is stored later; what comes then changes nothing.
    let offset = [("calls", 1, 2)];
    assert_eq!(bench.commit_as("one", None, &offset).await, refused);
    let offset = [("calls", 2, 3)];
    assert_eq!(bench.commit_as("one", None, &offset).await, refused);
    assert_eq!(bench.commit_as("two", None, &offset).await, refused);
    assert_eq!(bench.names().await, ["one"]);
    assert_eq!(bench.offsets("one").await, ["calls-0=1", "calls-1=2"]);
    disk.refuse_writes(false);
    bench.commit("one", &[("calls", 0, 4)]).await;
    let bench = bench.restart();
    assert_eq!(bench.offsets("one").await, ["calls-0=4", "calls-1=2"]);
}

#[tokio::test]
async fn after_a_failed_write_commits_are_refused_and_change_nothing() {
    let bench = Bench::new();
    let refused = ResponseError::KafkaStorageError.code();
    bench.commit("one", &[("calls", 0, 1)]).await;
    bench.groups().ledger.disk().break_writes();
    let offset = [("calls", 0, 2)];
    assert_eq!(bench.commit_as("other", None, &offset).await, [refused]);
    assert_eq!(bench.commit_as("one", None, &offset).await, [refused]);
    assert_eq!(bench.commit_as("two", None, &offset).await, [refused]);
    assert_eq!(bench.delete("one").await, refused);
    bench.groups().forget_topic(&topic("calls")).await;
    assert_eq!(bench.offsets("one").await, ["calls-0=1"]);
    assert_eq!(bench.names().await, ["one", "other"]);
    assert_eq!(bench.restart().names().await, ["one"]);
}

#[tokio::test]
async fn what_is_repeated_while_the_disk_is_full_is_refused_again() {
    let bench = Bench::new();
    bench.commit("one", &[("calls", 0, 1)]).await;
    bench.commit("two", &[("calls", 0, 1)]).await;
    let disk = bench.groups().ledger.disk();
    disk.refuse_writes(true);
    let refused = ResponseError::CoordinatorNotAvailable.code();
    for _ in 0..2 {
        assert_eq!(bench.forget("one", "calls", 0).await, refused);
        assert_eq!(bench.delete("two").await, refused);
        assert_eq!(bench.consumer_beat("new", "member").await, refused);
    }
    disk.refuse_writes(false);
    // Its offset was its last.
    let gone = ResponseError::GroupIdNotFound.code();
    assert_eq!(bench.forget("one", "calls", 0).await, gone);
    assert_eq!(bench.delete("two").await, 0);
    assert_eq!(bench.consumer_beat("new", "member").await, 0);
    let bench = bench.restart();
    assert_eq!(bench.names().await, ["new"]);
}

/// The topic is deleted while the commit waits for its turn.
#[tokio::test]
async fn a_commit_for_a_topic_that_was_deleted_meanwhile_is_refused() {
    let bench = Bench::new();
    let looked_at = vec![(topic("calls"), vec![(0, committed(7, ""))])];
    let deleted = bench.broker.topics.get("calls").unwrap();
    bench.broker.topics.delete(&deleted).unwrap();
    bench.groups().forget_topic(&topic("calls")).await;
    let request = OffsetCommitRequest::default()
        .with_group_id(id("one"))
        .with_generation_id_or_member_epoch(-1);
    let pended = bench.groups().pend(&request, 5, looked_at);
    assert_eq!(pended, Err(ResponseError::UnknownTopicOrPartition));
    assert_eq!(bench.names().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_journal_of_transactions_delays_no_heartbeat() {
    let bench = Arc::new(Bench::new());
    let member = bench.stable("one").await;
    let id = TransactionalId(text("tx"));
    let broker = &bench.broker;
    let fresh = || broker.fresh_producer_id();
    let init = || {
        broker
            .transactions
            .init(&id, None, 60_000, &fresh, &broker.everyone())
    };
    let by = tokio::task::block_in_place(init).unwrap();
    let held = broker.transactions.disk().hold_writes();
    // More than the runtime has threads.
    let added: Vec<_> = (0..4)
        .map(|number| {
            let (bench, id) = (Arc::clone(&bench), id.clone());
            tokio::spawn(async move {
                let scope = Scope::group(&GroupId(text(&format!("group-{number}"))));
                bench.broker.transactions.add(&id, by, scope)
            })
        })
        .collect();
    let beats = (0..4).map(|_| {
        let (bench, member) = (Arc::clone(&bench), member.clone());
        tokio::spawn(async move { bench.beat("one", &member, 1).await })
    });
    for beat in beats.collect::<Vec<_>>() {
        assert_eq!(beat.await.unwrap(), 0);
    }
    assert!(added.iter().all(|one| !one.is_finished()));
    drop(held);
    for one in added {
        one.await.unwrap().unwrap();
    }
}
