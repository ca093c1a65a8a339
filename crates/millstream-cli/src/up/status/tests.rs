//! The texts of the status, at the widths of real terminals.

use super::*;

fn row(service: &str, state: State) -> Row {
    Row {
        service: service.to_owned(),
        state,
        pid: Some(19_693),
        records_per_second: Some(9.96),
        records: Some(120),
        lag: None,
        failed: Some(0),
        silent_seconds: None,
        restarts: 0,
        health: Some("http://127.0.0.1:41149/readyz".to_owned()),
        last_failure: None,
    }
}

fn rows() -> Vec<Row> {
    let receive = Row {
        pid: None,
        records_per_second: None,
        records: None,
        lag: Some(4),
        failed: None,
        restarts: 2,
        health: None,
        last_failure: Some("was killed (signal 15)".to_owned()),
        ..row("receive", State::Restarting)
    };
    vec![row("send", State::Running), receive]
}

fn block(rows: &[Row], columns: usize, lines: usize) -> String {
    let block = Block {
        head: &[
            "broker 127.0.0.1:9092 in ./.millstream · 01:05",
            "Ctrl-C to stop",
        ],
        rows,
        chosen: None,
        foot: &[],
    };
    block.text(Size {
        columns,
        rows: lines,
    })
}

#[test]
fn a_wide_terminal_shows_every_column() {
    let expected = "\nbroker 127.0.0.1:9092 in ./.millstream · 01:05 · Ctrl-C to stop\n\
        SERVICE  STATE       RECORDS/S  RECORDS  LAG  FAILED  SILENT  RESTARTS  HEALTH             PID  LAST FAILURE\n\
        send     running          10.0      120    -       0       -         0  127.0.0.1:41149  19693\n\
        receive  restarting          -        -    4       -       -         2  -                    -  was killed (signal 15)\n";
    assert_eq!(block(&rows(), 120, 40), expected);
}

#[test]
fn eighty_columns_drop_the_process_and_what_reports_no_trouble() {
    let expected = "\nbroker 127.0.0.1:9092 in ./.millstream · 01:05 · Ctrl-C to stop\n\
        SERVICE  STATE       RECORDS/S  RECORDS  LAG  FAILED  SILENT  RESTARTS\n\
        send     running          10.0      120    -       0       -         0\n\
        receive  restarting          -        -    4       -       -         2\n\
        receive: was killed (signal 15)\n";
    assert_eq!(block(&rows(), 80, 40), expected);
}

#[test]
fn forty_columns_keep_state_rate_and_lag() {
    let expected = "\nbroker 127.0.0.1:9092 in ./.millstream\n01:05 · Ctrl-C to stop\n\
        SERVICE  STATE       RECORDS/S  LAG\n\
        send     running          10.0    -\n\
        receive  restarting          -    4\n\
        receive: was killed (signal 15)\n";
    assert_eq!(block(&rows(), 40, 40), expected);
}

/// What reports trouble is kept when the terminal is narrow.
#[test]
fn silence_and_failures_push_out_what_is_fine() {
    let silent = Row {
        silent_seconds: Some(12),
        ..row("receive", State::Unresponsive)
    };
    let text = block(&[silent], 40, 40);
    assert_eq!(
        text.lines().last().unwrap(),
        "receive  unresponsive       10.0  12s"
    );
    let failing = Row {
        failed: Some(7),
        ..row("receive", State::Running)
    };
    let text = block(&[failing], 40, 40);
    assert_eq!(
        text.lines().last().unwrap(),
        "receive  running       10.0    -       7"
    );
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let rows = [row("messages.receive.12", State::Unresponsive)];
    for columns in 40..130 {
        for line in block(&rows, columns, 40).lines() {
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
    }
}

#[test]
fn services_that_do_not_fit_are_counted() {
    let rows: Vec<Row> = (1..=30)
        .map(|i| row(&format!("receive.{i}"), State::Running))
        .collect();
    let text = block(&rows, 80, 10);
    assert_eq!(text.lines().count(), 9, "{text}");
    assert_eq!(text.lines().last().unwrap(), "and 25 more lines");
}

#[test]
fn the_chosen_service_is_marked() {
    let block = Block {
        head: &["title"],
        rows: &rows(),
        chosen: Some(1),
        foot: &["help"],
    };
    let size = Size {
        columns: 40,
        rows: 24,
    };
    let expected = "\ntitle\n\
        SERVICE    STATE       RECORDS/S  LAG\n\
        \x20 send     running          10.0    -\n\
        > receive  restarting          -    4\n\
        receive: was killed (signal 15)\nhelp\n";
    assert_eq!(block.text(size), expected);
}

#[test]
fn the_line_leaves_out_what_is_not_known() {
    assert_eq!(
        line(&rows()),
        "send running 10.0 records/s 120 records, receive restarting lag 4 2 restarts"
    );
}

#[test]
fn the_summary_has_state_and_totals() {
    let expected = "SERVICE  STATE       RECORDS/S  RECORDS  FAILED  RESTARTS  LAST FAILURE\n\
        send     running          10.0      120       0         0\n\
        receive  restarting          -        -       -         2  was killed (signal 15)\n";
    assert_eq!(summary(&rows(), 100), expected);
}

#[test]
fn hours_appear_when_there_are_some() {
    assert_eq!(
        (
            clock(Duration::from_secs(59)),
            clock(Duration::from_secs(3661))
        ),
        ("00:59".to_owned(), "1:01:01".to_owned())
    );
}
