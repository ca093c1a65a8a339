//! Members that fall silent, or do not give back what they should.

use super::*;

fn pair(bench: &mut Bench) -> (Client, Client) {
    bench.topics.put("calls", 4);
    let mut first = Client::new("first", &["calls"]);
    let mut second = Client::new("second", &["calls"]);
    first.go(bench);
    second.go(bench);
    first.go(bench);
    first.go(bench);
    second.go(bench);
    assert_eq!((first.count(), second.count()), (2, 2));
    (first, second)
}

#[test]
fn a_silent_member_is_removed_when_its_session_has_ended() {
    let mut bench = Bench::new();
    let (mut first, second) = pair(&mut bench);
    bench.pass(SESSION_MS - 1);
    first.go(&mut bench);
    assert_eq!(first.count(), 2);
    bench.pass(1);
    assert_eq!(bench.state(), State::Assigning);
    first.go(&mut bench);
    assert_eq!(first.count(), 4);
    let unknown = Err(ResponseError::UnknownMemberId);
    assert_eq!(bench.beat(&second.beat()), unknown);
}

#[test]
fn a_member_that_gives_nothing_back_is_removed_in_time() {
    let mut bench = Bench::new();
    let (mut first, mut second) = pair(&mut bench);
    let mut third = Client::new("third", &["calls"]);
    third.go(&mut bench);
    let asked = bench.now;
    let mut slow = bench.beat(&second.beat()).unwrap();
    let mut other = bench.beat(&first.beat()).unwrap();
    if slow.assigned.is_none() {
        std::mem::swap(&mut first, &mut second);
        std::mem::swap(&mut slow, &mut other);
    }
    second.take(slow);
    // It beats, and keeps everything.
    while bench.now + 5000 < asked + i64::from(REBALANCE_MS) {
        bench.pass(5000);
        let heard = bench.beat(&second.beat()).unwrap();
        assert_eq!(heard.epoch, second.epoch);
        first.go(&mut bench);
        third.go(&mut bench);
        assert_eq!(third.count(), 0);
    }
    bench.pass(5000);
    let unknown = Err(ResponseError::UnknownMemberId);
    assert_eq!(bench.beat(&second.beat()), unknown);
    first.go(&mut bench);
    third.go(&mut bench);
    assert_eq!((first.count(), third.count()), (2, 2));
}

#[test]
fn a_static_member_that_went_for_a_while_is_removed_when_its_session_has_ended() {
    let mut bench = Bench::new();
    bench.topics.put("calls", 4);
    let mut member = Client::new("first", &["calls"]);
    member.instance = Some(text("one"));
    member.go(&mut bench);
    bench.pass(SESSION_MS - 1);
    bench.beat(&member.leaving(-2)).unwrap();
    assert_eq!(bench.state(), State::Reconciling);
    bench.pass(1);
    assert_eq!(bench.state(), State::Empty);
}

#[test]
fn sessions_and_revocations_start_anew_after_a_restart() {
    let mut bench = Bench::new();
    let (mut first, mut second) = pair(&mut bench);
    bench.pass(SESSION_MS - 1);
    bench.restart();
    bench.pass(SESSION_MS - 1);
    first.go(&mut bench);
    second.go(&mut bench);
    assert_eq!((first.epoch, first.count()), (2, 2));
    assert_eq!((second.epoch, second.count()), (2, 2));
    assert_eq!(bench.state(), State::Stable);
}
