//! `millstream broker` by itself.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::world::{Running, program};

/// Whoever sends garbage fills no log.
#[test]
fn the_same_warning_again_and_again_is_counted() {
    const CONNECTIONS: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .args(["broker", "--listen", ":0", "--data"])
        .arg(folder.path());
    let broker = Running::start(command);
    let address = broker.line("listening on ");
    let address = address.trim_start_matches("listening on ");
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        _ = stream.read_to_end(&mut Vec::new());
    }
    broker.signal(Signal::TERM);
    let ended = broker.end().expect(0);
    let lines = ended.stderr.lines();
    let warnings: Vec<&str> = lines.filter(|line| line.contains(" WARN ")).collect();
    let counts = warnings.iter().filter_map(|line| {
        let (count, _) = line.split_once(" more lines like this one ")?;
        count.parse::<usize>().ok()
    });
    let counts: Vec<usize> = counts.collect();
    let shown = warnings.len() - counts.len();
    assert!(!counts.is_empty(), "{warnings:?}");
    assert_eq!(
        shown + counts.iter().sum::<usize>(),
        CONNECTIONS,
        "{warnings:?}"
    );
}
