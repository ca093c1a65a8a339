use super::*;
use kafka_protocol::messages::fetch_request::FetchTopic;

fn wanted_of(topic: &str, count: i32) -> Vec<Wanted> {
    let request = beginning(topic, count);
    wanted(&request, 12).collect()
}

fn beginning(topic: &str, count: i32) -> FetchRequest {
    let partitions = (0..count).map(|index| FetchPartition::default().with_partition(index));
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(partitions.collect());
    FetchRequest::default()
        .with_session_epoch(0)
        .with_topics(vec![topic])
}

fn continuing(id: i32, epoch: i32) -> FetchRequest {
    FetchRequest::default()
        .with_session_id(id)
        .with_session_epoch(epoch)
}

fn keep(sessions: &Sessions, count: i32, now_ms: i64) -> i32 {
    let wanted = wanted_of("t", count);
    let answers = vec![PartitionData::default(); wanted.len()];
    sessions.keep(&wanted, &answers, 12, now_ms)
}

fn code(sessions: &Sessions, id: i32, epoch: i32, now_ms: i64) -> Option<ResponseError> {
    sessions.begin(&continuing(id, epoch), 12, now_ms).err()
}

#[test]
fn a_new_session_takes_the_place_of_the_one_that_was_idle_longest() {
    let sessions = Sessions::new(2);
    let first = keep(&sessions, 1, 0);
    let second = keep(&sessions, 1, 1);
    assert_eq!(keep(&sessions, 1, IDLE_MS - 1), 0);
    assert_eq!(code(&sessions, first, 1, IDLE_MS - 1), None);
    let third = keep(&sessions, 1, IDLE_MS + 1);
    assert_ne!(third, 0);
    assert_eq!(
        code(&sessions, second, 1, IDLE_MS + 1),
        Some(ResponseError::FetchSessionIdNotFound)
    );
    assert_eq!(code(&sessions, first, 2, IDLE_MS + 1), None);
}

#[test]
fn the_partitions_of_all_sessions_are_bounded() {
    let sessions = Sessions::new(1000);
    let most = i32::try_from(MOST_PARTITIONS).unwrap();
    assert_ne!(keep(&sessions, most - 10, 0), 0);
    assert_eq!(keep(&sessions, 11, 0), 0);
    let small = keep(&sessions, 5, 0);
    assert_ne!(small, 0);
    // One that grows above the bound is given up, and the client begins anew.
    let grown = beginning("u", 6)
        .with_session_id(small)
        .with_session_epoch(1);
    let error = sessions.begin(&grown, 12, 0).err();
    assert_eq!(error, Some(ResponseError::FetchSessionIdNotFound));
    assert_ne!(keep(&sessions, 5, 0), 0);
}

#[test]
fn a_session_that_is_left_without_partitions_is_over() {
    let sessions = Sessions::new(2);
    let id = keep(&sessions, 1, 0);
    let forgotten = kafka_protocol::messages::fetch_request::ForgottenTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![0]);
    let request = continuing(id, 1).with_forgotten_topics_data(vec![forgotten]);
    assert!(matches!(
        sessions.begin(&request, 12, 0),
        Ok(Begun::Whole { keep: false })
    ));
    let over = Some(ResponseError::FetchSessionIdNotFound);
    assert_eq!(code(&sessions, id, 2, 0), over);
    assert_eq!(sessions.partitions.load(Ordering::Relaxed), 0);
}

#[test]
fn an_answer_that_comes_after_the_next_request_is_refused() {
    let sessions = Sessions::new(2);
    let id = keep(&sessions, 1, 0);
    let Ok(Begun::Continued(early)) = sessions.begin(&continuing(id, 1), 12, 0) else {
        panic!("there is a session");
    };
    assert_eq!(code(&sessions, id, 2, 0), None);
    let answers = vec![PartitionData::default()];
    let news = early.news(early.wanted(), answers);
    assert_eq!(news.err(), Some(ResponseError::InvalidFetchSessionEpoch));
}

#[test]
fn epochs_begin_again_at_one() {
    assert_eq!(following(0), 1);
    assert_eq!(following(i32::MAX), 1);
}
