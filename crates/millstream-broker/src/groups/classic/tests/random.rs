//! Random histories: whatever members do in whatever order, the group stays sound, and answers everyone in the end.

use std::ops::ControlFlow;

use fastrand::Rng;

use super::*;
use crate::alarms::NEVER;

/// Requests that wait, from any moment of the history.
#[derive(Default)]
struct Waiting {
    joins: Vec<Parked<JoinGroupResponse>>,
    syncs: Vec<Parked<SyncGroupResponse>>,
}

impl Waiting {
    /// Takes the answers that are there; gives ids that were handed out.
    fn collect(&mut self) -> Vec<StrBytes> {
        let mut ids = Vec::new();
        self.joins.retain_mut(|parked| match parked.0.try_recv() {
            Ok(answer) => {
                ids.push(answer.member_id);
                false
            }
            Err(oneshot::error::TryRecvError::Closed) => false,
            Err(oneshot::error::TryRecvError::Empty) => true,
        });
        self.syncs
            .retain_mut(|parked| parked.0.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        ids.retain(|id| !id.is_empty());
        ids
    }
}

fn check(group: &Group) -> ControlFlow<String> {
    let broken = |rule: &str| ControlFlow::Break(format!("{rule}: {group:?}"));
    let waits_to_join = |member: &crate::groups::classic::member::Member| member.joining.is_some();
    let waits_to_sync = |member: &crate::groups::classic::member::Member| member.syncing.is_some();
    let members = || group.members.values();
    let leads = |id: &StrBytes| group.members.contains_key(id);
    if !group.members.is_empty() && !group.leader.as_ref().is_some_and(leads) {
        return broken("the leader is a member");
    }
    let settled = matches!(group.state, State::Stable | State::CompletingRebalance);
    if settled && group.members.is_empty() {
        return broken("a settled group has members");
    }
    if settled && members().any(waits_to_join) {
        return broken("nobody waits to join a settled group");
    }
    if group.state != State::CompletingRebalance && members().any(waits_to_sync) {
        return broken("assignments are waited for only while they are made");
    }
    if group.state == State::Empty && !group.members.is_empty() {
        return broken("an empty group has no members");
    }
    if group.gathering.is_some() != (group.state == State::PreparingRebalance) {
        return broken("only a group that prepares gathers");
    }
    let instances: Vec<_> = members()
        .filter_map(|member| Some((member.instance_id.clone()?, member.id.clone())))
        .collect();
    if instances.len() != group.statics.len()
        || instances
            .iter()
            .any(|(instance, id)| group.statics.get(instance) != Some(id))
    {
        return broken("each instance has one member");
    }
    let unwatched = |member: &crate::groups::classic::member::Member| {
        member.expires_at == NEVER && !waits_to_join(member) && !waits_to_sync(member)
    };
    if members().any(unwatched) {
        return broken("every member that does not wait has a session that ends");
    }
    if members().any(waits_to_join) && group.deadline() == NEVER {
        return broken("whoever waits is answered some day");
    }
    ControlFlow::Continue(())
}

fn history(seed: u64) -> ControlFlow<String> {
    let mut rng = Rng::with_seed(seed);
    let mut bench = Bench::new();
    bench.rules.initial_delay_ms = rng.i64(0..2) * 3000;
    if rng.u8(..5) == 0 {
        bench.rules.max_size = 2;
    }
    let mut waiting = Waiting::default();
    let mut ids = vec![text("stranger")];
    for _ in 0..60 {
        step(&mut bench, &mut rng, &mut waiting, &ids);
        ids.extend(waiting.collect());
        ids.sort();
        ids.dedup();
        check(&bench.group)?;
    }
    // Everybody falls silent.
    bench.disk.refuse = None;
    bench.pass(20 * 60 * 1000);
    waiting.collect();
    check(&bench.group)?;
    let over = waiting.joins.is_empty()
        && waiting.syncs.is_empty()
        && bench.state() == State::Empty
        && bench.group.deadline() == NEVER;
    match over {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(format!("silence ends everything: {:?}", bench.group)),
    }
}

fn step(bench: &mut Bench, rng: &mut Rng, waiting: &mut Waiting, ids: &[StrBytes]) {
    let someone = rng.choice(ids).cloned().unwrap_or_default();
    let generation = bench.group.generation - i32::from(rng.u8(..8) == 0);
    match rng.u8(..12) {
        0..4 => {
            let mut join = match rng.u8(..4) {
                0 => fixed(if rng.bool() { "one" } else { "two" }),
                _ => consumer("app"),
            };
            if rng.bool() {
                join.member_id = someone.clone();
                let known = bench.group.members.get(&someone);
                join.instance_id = known.and_then(|member| member.instance_id.clone());
            }
            join.id_required = rng.bool();
            // Some outlive the others, so that a leader may assign to members whose sessions ended while they waited.
            if rng.bool() {
                join.session_timeout_ms *= 9;
            }
            if rng.u8(..4) == 0 {
                join = knowing(join, &["sticky", "range"]);
            }
            waiting.joins.push(bench.join(join));
        }
        4..7 => {
            let named: Vec<_> = ids.iter().map(|id| (id, "part")).collect();
            waiting.syncs.push(bench.sync(&someone, generation, &named));
        }
        7 => {
            bench.beat(&someone, generation).ok();
        }
        8 => {
            bench.leave(&someone);
        }
        9 => bench.disk.refuse = rng.bool().then_some(Unwritten::NoSpace),
        10 => bench.pass(rng.i64(0..70_000)),
        _ => bench.pass(rng.i64(0..3000)),
    }
}

#[test]
fn any_history_leaves_a_sound_group_and_nobody_waiting() {
    for seed in 0..3000 {
        if let ControlFlow::Break(broken) = history(seed) {
            panic!("seed {seed}: {broken}");
        }
    }
}
