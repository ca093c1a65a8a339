//! `up` in a terminal: what is shown at several widths, and what the keys do.

use crate::terminal::Terminal;
use crate::world::program;

/// `up` with `words` in a terminal of this size, in a folder that lives as long as the second value.
fn start(words: &[&str], columns: u16, rows: u16) -> (Terminal, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .args(["up", "--listen", ":0"])
        .args(words)
        .current_dir(folder.path());
    (Terminal::start(command, columns, rows), folder)
}

/// The row of a service, without the mark of the chosen one.
fn row<'a>(screen: &'a str, service: &str) -> &'a str {
    let rows = screen.lines().skip_while(|line| !line.contains("SERVICE "));
    rows.map(|line| line.trim_start_matches(['>', ' ']))
        .find(|line| line.starts_with(service))
        .unwrap_or_default()
}

fn both_run(screen: &str) -> bool {
    ["receive", "send"]
        .iter()
        .all(|service| row(screen, service).contains("running"))
}

/// The block fits, keeps what matters, and stands once, whatever lines are written above it.
#[test]
fn every_width_shows_state_rate_and_lag_and_one_block() {
    let heads = [
        (40, "SERVICE  STATE    RECORDS/S  LAG"),
        (
            80,
            "SERVICE  STATE    RECORDS/S  RECORDS  LAG  FAILED  SILENT  RESTARTS",
        ),
        (
            120,
            "SERVICE  STATE    RECORDS/S  RECORDS  LAG  FAILED  SILENT  RESTARTS  HEALTH             PID",
        ),
    ];
    for (columns, head) in heads {
        let (terminal, _folder) = start(&[], columns, 30);
        let screen = terminal.until("both run and records flow", |screen| {
            both_run(screen) && screen.matches("message received").count() > 3
        });
        let shown = screen.lines().find(|line| line.starts_with("SERVICE "));
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(shown.unwrap_or_default()), words(head), "{screen}");
        assert_eq!(terminal.most_blocks(), 1, "{screen}");
    }
}

/// A terminal that becomes narrower wraps what stands there; the next block replaces all of it.
#[test]
fn a_resize_leaves_no_second_block() {
    let (terminal, _folder) = start(&["--quiet"], 120, 30);
    terminal.until("both run", both_run);
    terminal.resize(60, 30);
    terminal.until("a narrower block", |screen| {
        screen.contains("SERVICE ") && !screen.contains("HEALTH")
    });
    terminal.resize(120, 30);
    let screen = terminal.until("a wider block", |screen| screen.contains("HEALTH"));
    assert_eq!(terminal.most_blocks(), 1, "{screen}");
}

#[test]
fn keys_stop_start_and_restart_one_service() {
    let (mut terminal, _folder) = start(&["--quiet"], 100, 30);
    terminal.until("both run", both_run);
    assert!(!terminal.is_ordinary());
    terminal.press("r");
    terminal.shows("choose a service with up or down");
    terminal.press("?");
    terminal.shows("hide this help");
    terminal.press("?");
    terminal.until("no help", |screen| !screen.contains("hide this help"));
    terminal.press("\x1b[B");
    terminal.shows("> receive");
    terminal.press("s");
    terminal.until("it is stopped", |screen| {
        row(screen, "receive").contains("stopped")
    });
    assert!(row(&terminal.text(), "send").contains("running"));
    terminal.press("s");
    terminal.until("it runs again", both_run);
    terminal.press("j");
    terminal.shows("> send");
    terminal.press("r");
    terminal.shows("up      | send restarts by request");
    terminal.until("both run", both_run);
    terminal.press("q");
    assert_eq!(terminal.end().code(), Some(0));
    assert!(terminal.is_ordinary());
}

#[test]
fn a_key_chooses_whose_lines_are_shown() {
    let (terminal, _folder) = start(&[], 100, 30);
    terminal.until("both run", both_run);
    terminal.press("kl");
    terminal.shows("lines of send");
    terminal.press("l");
    terminal.shows("no lines");
    terminal.press("l");
    terminal.until("all lines", |screen| {
        !screen.contains("lines of") && !screen.contains("no lines")
    });
}

/// The second Ctrl-C ends at once, and leaves the terminal as it was.
#[test]
fn ctrl_c_twice_puts_the_terminal_back() {
    let (mut terminal, _folder) = start(&["--quiet"], 100, 30);
    terminal.until("both run", both_run);
    let up = terminal.pid();
    crate::world::signal_to(up, rustix::process::Signal::INT);
    crate::world::signal_to(up, rustix::process::Signal::INT);
    let code = terminal.end().code();
    assert!([Some(0), Some(130)].contains(&code), "{code:?}");
    assert!(terminal.is_ordinary());
}
