//! What a broker may do to a connection: every request still comes back exactly once.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse, MetadataRequest,
};
use kafka_protocol::protocol::Encodable;

use super::*;
use crate::config::Config;
use crate::exchange::{Lane, Owner, Target};

const SECOND: Time = Duration::from_secs(1);

fn connection() -> Connection {
    Connection::new("broker", &Config::default().resolve())
}

fn request(number: u64, call: Call) -> Outgoing {
    Outgoing {
        ticket: Ticket {
            owner: Owner::Cluster,
            number,
        },
        target: Target::Any,
        lane: Lane::Control,
        call,
        patience: SECOND,
    }
}

fn heartbeat(number: u64) -> Outgoing {
    request(number, Call::Heartbeat(HeartbeatRequest::default()))
}

/// The frame of an answer, with the response header of the API.
fn answer(correlation_id: i32, tagged: bool, response: &impl Encodable, version: i16) -> Bytes {
    let mut frame = correlation_id.to_be_bytes().to_vec();
    if tagged {
        frame.push(0);
    }
    response.encode(&mut frame, version).unwrap();
    Bytes::from(frame)
}

fn greeting(apis: &[Api]) -> Bytes {
    let keys = apis.iter().map(|api| {
        let (_, max) = api.versions();
        ApiVersion::default()
            .with_api_key(api.key())
            .with_max_version(max)
    });
    let response = ApiVersionsResponse::default().with_api_keys(keys.collect());
    answer(1, false, &response, 3)
}

fn ready() -> Connection {
    let mut connection = connection();
    connection.opening(Time::ZERO);
    connection.opened(Time::ZERO);
    connection.frame(&greeting(Api::ALL), Time::ZERO).unwrap();
    connection
}

/// Number and fate of each request that came back.
fn fates(connection: &mut Connection) -> Vec<(u64, &'static str)> {
    let answers = std::mem::take(&mut connection.answers);
    let fate = |answer: &Answer| match answer {
        Ok(_) => "reply",
        Err(Loss::NotSent) => "not sent",
        Err(Loss::Unknown) => "unknown",
        Err(Loss::Impossible(_)) => "impossible",
    };
    answers
        .iter()
        .map(|(ticket, answer)| (ticket.number, fate(answer)))
        .collect()
}

fn error(connection: &mut Connection, frame: &Bytes) -> String {
    connection.frame(frame, SECOND).unwrap_err().to_string()
}

#[test]
fn answers_go_to_their_requests_in_order() {
    let mut connection = ready();
    connection.submit(heartbeat(7), SECOND);
    connection.submit(heartbeat(8), SECOND);
    let response = HeartbeatResponse::default();
    for id in [2, 3] {
        connection
            .frame(&answer(id, true, &response, 4), SECOND)
            .unwrap();
    }
    assert_eq!(fates(&mut connection), [(7, "reply"), (8, "reply")]);
    assert_eq!(connection.wake_at(), None);
}

#[test]
fn a_connection_that_ends_tells_what_may_have_been_done_from_what_was_not_sent() {
    let mut connection = ready();
    connection.submit(heartbeat(1), SECOND);
    connection.closed(SECOND);
    connection.submit(heartbeat(2), SECOND);
    assert!(connection.is_resting(SECOND));
    assert!(!connection.wants_to_open(SECOND));
    assert!(connection.wants_to_open(SECOND * 3));
    connection.opening(SECOND * 3);
    connection.closed(SECOND * 4);
    assert_eq!(fates(&mut connection), [(1, "unknown"), (2, "not sent")]);
}

#[test]
fn an_answer_that_never_comes_makes_the_connection_overdue() {
    let mut connection = ready();
    connection.submit(heartbeat(1), SECOND);
    assert_eq!(connection.wake_at(), Some(SECOND * 2));
    assert!(!connection.is_overdue(SECOND * 2 - Duration::from_millis(1)));
    assert!(connection.is_overdue(SECOND * 2));
    connection.closed(SECOND * 2);
    assert_eq!(fates(&mut connection), [(1, "unknown")]);
}

#[test]
fn a_repeated_or_foreign_answer_is_an_error_and_loses_no_request() {
    let mut connection = ready();
    let response = answer(2, true, &HeartbeatResponse::default(), 4);
    assert_eq!(
        error(&mut connection, &response),
        "broker `broker` sent an answer to no request"
    );
    connection.submit(heartbeat(5), SECOND);
    connection.frame(&response, SECOND).unwrap();
    connection.submit(heartbeat(6), SECOND);
    assert_eq!(
        error(&mut connection, &response),
        "broker `broker` sent an answer to another request"
    );
    connection.closed(SECOND);
    assert_eq!(fates(&mut connection), [(5, "reply"), (6, "unknown")]);
}

#[test]
fn an_answer_that_does_not_decode_is_an_error_and_loses_no_request() {
    let mut connection = ready();
    connection.submit(heartbeat(5), SECOND);
    let whole = answer(2, true, &HeartbeatResponse::default(), 4);
    assert_eq!(
        error(&mut connection, &whole.slice(..whole.len() - 1)),
        "failed to read the response to Heartbeat from `broker`"
    );
    connection.closed(SECOND);
    assert_eq!(fates(&mut connection), [(5, "unknown")]);
}

#[test]
fn an_api_that_the_broker_lacks_is_refused_by_name_and_others_go_on() {
    let mut connection = connection();
    connection.opening(Time::ZERO);
    connection.opened(Time::ZERO);
    connection.submit(
        request(1, Call::Metadata(MetadataRequest::default())),
        SECOND,
    );
    connection.submit(heartbeat(2), SECOND);
    connection
        .frame(&greeting(&[Api::Heartbeat]), SECOND)
        .unwrap();
    let response = answer(2, true, &HeartbeatResponse::default(), 4);
    connection.frame(&response, SECOND).unwrap();
    let Some((_, Err(Loss::Impossible(error)))) = connection.answers.first() else {
        panic!("metadata was not refused");
    };
    assert_eq!(
        error.to_string(),
        "broker `broker` does not support Metadata in versions 9 to 12"
    );
    assert_eq!(fates(&mut connection), [(1, "impossible"), (2, "reply")]);
}

/// What is behind a join that the coordinator holds is not waited for as long as the join.
#[test]
fn a_deadline_behind_a_longer_one_is_heeded() {
    let mut connection = ready();
    let join = Outgoing {
        patience: SECOND * 330,
        ..heartbeat(1)
    };
    connection.submit(join, SECOND);
    connection.submit(heartbeat(2), SECOND);
    assert_eq!(connection.wake_at(), Some(SECOND * 2));
    assert!(connection.is_overdue(SECOND * 2));
}

#[test]
fn a_connection_by_which_an_answer_arrives_is_not_given_up_in_the_middle_of_it() {
    let mut connection = ready();
    connection.submit(heartbeat(1), SECOND);
    connection.heard(SECOND * 50);
    assert!(!connection.is_overdue(SECOND * 50));
    assert_eq!(connection.wake_at(), Some(SECOND * 51));
    assert!(connection.is_overdue(SECOND * 51));
}
