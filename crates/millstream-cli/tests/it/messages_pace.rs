//! `messages send` waits between two messages, and only there.

use rustix::process::Signal;

use crate::world::{Running, World};

/// The longest interval there is.
const FOREVER: &str = "18446744073709551615";

#[test]
fn the_last_message_is_not_followed_by_an_interval() {
    let world = World::new();
    let topic = world.name("one");
    let words = ["messages", "send", "--topic", &topic];
    let ended = world
        .run(&[&words[..], &["-n", "1", "--interval-ms", FOREVER]].concat())
        .expect(0);
    assert!(
        ended.stdout.starts_with("delivered 1 failed 0 "),
        "{}",
        ended.stdout
    );
}

#[test]
fn ctrl_c_ends_an_interval() {
    let world = World::new();
    let topic = world.name("two");
    let words = ["messages", "send", "--topic", &topic];
    let mut command = world.command(&[&words[..], &["-n", "2", "--interval-ms", FOREVER]].concat());
    command.env("RUST_LOG", "millstream_systems=debug");
    let running = Running::start(command);
    running.line("message delivered");
    running.signal(Signal::INT);
    let ended = running.end().expect(0);
    assert!(
        ended.stdout.starts_with("delivered 1 failed 0 "),
        "{}",
        ended.stdout
    );
}
