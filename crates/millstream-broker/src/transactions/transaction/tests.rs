//! What each state answers to each event, and what becomes of epochs at their end.

use kafka_protocol::protocol::StrBytes;

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn fresh() -> Result<i64, ResponseError> {
    Ok(99)
}

fn new() -> Transaction {
    let id = TransactionalId(StrBytes::from_static_str("copy"));
    ready(Transaction::new(id, 7, NOW).init(None, 1000, NOW, &fresh))
}

fn ready(init: Result<Init, ResponseError>) -> Transaction {
    match init {
        Ok(Init::Ready(transaction)) => transaction,
        other => panic!("{other:?}"),
    }
}

fn prepared(end: Result<End, ResponseError>) -> Transaction {
    match end {
        Ok(End::Prepare(transaction)) => transaction,
        other => panic!("{other:?}"),
    }
}

fn code<T: std::fmt::Debug>(outcome: Result<T, ResponseError>) -> ResponseError {
    outcome.unwrap_err()
}

fn scope() -> Scope {
    Scope::partition(&TopicName(StrBytes::from_static_str("calls")), 0)
}

fn ongoing(epoch: i16) -> Transaction {
    let mut transaction = new();
    transaction.producer.epoch = epoch;
    transaction.grow(scope(), NOW);
    transaction
}

fn end(
    transaction: &Transaction,
    epoch: i16,
    outcome: Outcome,
    generation: Generation,
) -> Result<End, ResponseError> {
    let ending = Ending {
        by: Producer { id: 7, epoch },
        outcome,
        generation,
    };
    transaction.end(ending, NOW, &fresh)
}

fn done(end: Result<End, ResponseError>) -> Producer {
    match end {
        Ok(End::Done(producer)) => producer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_generation_keeps_its_epoch_through_a_transaction() {
    let open = ongoing(3);
    let deciding = prepared(end(&open, 3, Outcome::Commit, Generation::First));
    assert_eq!(deciding.state, State::Prepare(Outcome::Commit));
    assert_eq!(deciding.producer, open.producer);
    assert_eq!(deciding.scope, open.scope);
    for outcome in [Outcome::Commit, Outcome::Abort] {
        let expected = match outcome {
            Outcome::Commit => ResponseError::ConcurrentTransactions,
            Outcome::Abort => ResponseError::InvalidTxnState,
        };
        let asked = end(&deciding, 3, outcome, Generation::First);
        assert_eq!(code(asked), expected);
    }
    assert_eq!(
        code(deciding.check(open.producer)),
        ResponseError::ConcurrentTransactions
    );
    let complete = deciding.completed(Outcome::Commit, NOW + 1);
    assert_eq!(
        (complete.producer, complete.scope),
        (open.producer, Scope::default())
    );
}

#[test]
fn an_exhausted_epoch_of_the_second_generation_goes_on_under_a_new_id() {
    let open = ongoing(LAST_EPOCH);
    let deciding = prepared(end(&open, LAST_EPOCH, Outcome::Commit, Generation::Second));
    // The markers fence with the very last epoch.
    assert_eq!(deciding.marker(Outcome::Commit).epoch, i16::MAX);
    assert_eq!(deciding.successor, Some(99));
    let complete = deciding.completed(Outcome::Commit, NOW);
    let next = Producer { id: 99, epoch: 0 };
    assert_eq!(complete.producer, next);
    let again = end(&complete, LAST_EPOCH, Outcome::Commit, Generation::Second);
    assert_eq!(done(again), next);
}

#[test]
fn an_exhausted_epoch_of_the_first_generation_ends_with_the_next_producer() {
    let mut complete = ongoing(LAST_EPOCH).completed(Outcome::Commit, NOW);
    complete.state = State::Complete(Outcome::Commit);
    let old = complete.producer;
    let next = ready(complete.init(Some(old), 1000, NOW, &fresh));
    assert_eq!(next.producer, Producer { id: 99, epoch: 0 });
    // The answer was lost: the same question gets the same answer.
    let again = ready(next.init(Some(old), 1000, NOW, &fresh));
    assert_eq!(again.producer, next.producer);
    assert_eq!(
        code(end(&next, LAST_EPOCH, Outcome::Commit, Generation::First)),
        ResponseError::InvalidProducerIdMapping
    );
}

#[test]
fn whoever_is_not_current_cannot_abort_the_transaction_of_who_is() {
    let open = ongoing(3);
    let old = Producer { id: 7, epoch: 2 };
    assert_eq!(
        code(open.init(Some(old), 1000, NOW, &fresh)),
        ResponseError::ProducerFenced
    );
    match open.init(None, 1000, NOW, &fresh) {
        Ok(Init::Abort(aborting)) => {
            assert_eq!(aborting.state, State::Prepare(Outcome::Abort));
            assert_eq!(aborting.producer.epoch, 4);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_transaction_is_aborted_one_millisecond_after_its_time() {
    let open = ongoing(3);
    assert_eq!(open.timed_out(NOW + 1000), None);
    let aborting = open.timed_out(NOW + 1001).unwrap();
    assert_eq!(
        (aborting.state, aborting.producer.epoch),
        (State::Prepare(Outcome::Abort), 4)
    );
    assert_eq!(new().timed_out(i64::MAX), None);
}

#[test]
fn what_grows_begins_once() {
    let mut transaction = ongoing(0);
    assert!(transaction.has(&scope()));
    let group = Scope::group(&GroupId(StrBytes::from_static_str("readers")));
    assert!(!transaction.has(&group));
    transaction.grow(group.clone(), NOW + 5);
    assert_eq!(transaction.started_at_ms, NOW);
    assert!(transaction.has(&group) && transaction.has(&scope()));
}
