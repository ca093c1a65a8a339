//! What a broker may do to a connection: every request still comes back exactly once.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse, MetadataRequest,
    SaslAuthenticateResponse, SaslHandshakeResponse,
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

/// A connection that has sent the mechanism of its login.
fn logging_in() -> Connection {
    let properties = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "ann"),
    ];
    let set = |config: Config, (name, value)| config.set(name, value);
    let config = properties.into_iter().try_fold(Config::default(), set);
    let mut connection = Connection::new("broker", &config.unwrap().resolve());
    connection.opening(Time::ZERO);
    connection.opened(Time::ZERO);
    connection.frame(&greeting(Api::ALL), Time::ZERO).unwrap();
    connection
}

fn agreed(correlation_id: i32) -> Bytes {
    answer(correlation_id, false, &SaslHandshakeResponse::default(), 1)
}

fn authenticated(correlation_id: i32, lifetime: Duration) -> Bytes {
    let lifetime = i64::try_from(lifetime.as_millis()).unwrap();
    let response = SaslAuthenticateResponse::default().with_session_lifetime_ms(lifetime);
    answer(correlation_id, true, &response, 2)
}

#[test]
fn requests_wait_for_the_login() {
    let mut connection = logging_in();
    connection.submit(heartbeat(1), SECOND);
    connection.frame(&agreed(2), SECOND).unwrap();
    assert!(!connection.is_ready());
    connection
        .frame(&authenticated(3, Duration::ZERO), SECOND)
        .unwrap();
    assert!(connection.is_ready());
    let response = answer(4, true, &HeartbeatResponse::default(), 4);
    connection.frame(&response, SECOND).unwrap();
    assert_eq!(fates(&mut connection), [(1, "reply")]);
    assert_eq!(connection.wake_at(), None);
}

/// KIP-368: a broker closes a connection whose login is too old.
#[test]
fn a_login_is_repeated_before_its_time_is_up_and_requests_wait_for_it_again() {
    let mut connection = logging_in();
    connection.frame(&agreed(2), SECOND).unwrap();
    connection
        .frame(&authenticated(3, SECOND * 100), SECOND)
        .unwrap();
    let at = connection.wake_at().unwrap();
    assert!((SECOND * 86..=SECOND * 96).contains(&at), "{at:?}");
    connection.renew(at - Duration::from_millis(1));
    assert!(connection.is_ready());

    connection.submit(heartbeat(1), at - Duration::from_millis(1));
    connection.renew(at);
    assert!(!connection.is_ready());
    connection.submit(heartbeat(2), at);
    // What was sent before is answered before.
    let heartbeat = HeartbeatResponse::default();
    connection
        .frame(&answer(4, true, &heartbeat, 4), at)
        .unwrap();
    connection.frame(&agreed(5), at).unwrap();
    connection
        .frame(&authenticated(6, SECOND * 100), at)
        .unwrap();
    connection
        .frame(&answer(7, true, &heartbeat, 4), at)
        .unwrap();
    assert_eq!(fates(&mut connection), [(1, "reply"), (2, "reply")]);
    assert!(connection.wake_at().unwrap() > at);
}

/// The login takes longer than what waits for it may wait: that was never sent, and the login counts.
#[test]
fn what_has_waited_too_long_for_a_login_is_not_sent_and_costs_no_connection() {
    let mut connection = logging_in();
    connection.submit(heartbeat(1), SECOND);
    connection.frame(&agreed(2), SECOND * 2).unwrap();
    connection
        .frame(&authenticated(3, Duration::ZERO), SECOND * 3)
        .unwrap();
    assert!(connection.is_ready());
    assert!(!connection.is_overdue(SECOND * 3));
    assert_eq!(fates(&mut connection), [(1, "not sent")]);
}

#[test]
fn a_request_after_the_end_of_a_login_waits_for_the_next_one() {
    let mut connection = logging_in();
    connection.frame(&agreed(2), SECOND).unwrap();
    // The answer is looked at late: its time has run since it was asked for.
    connection
        .frame(&authenticated(3, SECOND * 100), SECOND * 50)
        .unwrap();
    assert!(connection.wake_at().unwrap() <= SECOND * 96);
    connection.submit(heartbeat(1), SECOND * 200);
    assert!(!connection.is_ready());
    connection.frame(&agreed(4), SECOND * 200).unwrap();
}

#[test]
fn a_login_of_no_time_is_not_repeated_at_once() {
    let mut connection = logging_in();
    connection.frame(&agreed(2), SECOND).unwrap();
    connection
        .frame(&authenticated(3, Duration::from_millis(1)), SECOND)
        .unwrap();
    assert_eq!(connection.wake_at(), Some(SECOND * 2));
}

#[test]
fn a_port_without_logins_is_named_as_such() {
    let mut connection = logging_in();
    let code = ResponseError::IllegalSaslState.code();
    let response = SaslHandshakeResponse::default().with_error_code(code);
    let said = error(&mut connection, &answer(2, false, &response, 1));
    assert!(
        said.ends_with("; if there are no logins at this port, see `security.protocol`"),
        "{said}"
    );
}

#[test]
fn what_a_broker_says_of_a_login_is_one_short_line() {
    let mut connection = logging_in();
    connection.frame(&agreed(2), SECOND).unwrap();
    let text = format!("no\n\u{1b}[31m{}", "x".repeat(10_000));
    let response = SaslAuthenticateResponse::default()
        .with_error_code(ResponseError::SaslAuthenticationFailed.code())
        .with_error_message(Some(StrBytes::from_string(text)));
    let said = error(&mut connection, &answer(3, true, &response, 2));
    assert!(
        said.starts_with("failed to log in at broker `broker`: no\\n\\u{1b}[31mxxx"),
        "{said}"
    );
    assert!(said.len() < 400 && !said.contains(char::is_control));
}

#[test]
fn a_connection_is_shown_without_what_is_under_way() {
    let mut connection = logging_in();
    connection.frame(&agreed(2), SECOND).unwrap();
    let shown = format!("{connection:?}");
    assert!(
        shown.contains("LoggingIn") && !shown.contains("outgoing"),
        "{shown}"
    );
}

#[test]
fn a_handshake_that_announces_more_mechanisms_than_bytes_is_refused() {
    let mut connection = logging_in();
    let mut frame = 2_i32.to_be_bytes().to_vec();
    frame.extend([0, 0]);
    frame.extend(i32::MAX.to_be_bytes());
    assert_eq!(
        error(&mut connection, &frame.into()),
        "failed to read the response to SaslHandshake from `broker`"
    );
}
