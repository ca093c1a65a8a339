//! An `up` that cannot start says why and what to do.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::up::Up;
use crate::world::{Running, World, program};

#[test]
fn a_port_in_use_is_told_with_both_ways_out() {
    let up = Up::new();
    let _taken = TcpListener::bind(&up.address).unwrap();
    let ended = up.run(&[]).expect(2);
    assert!(
        ended
            .stderr
            .contains(&format!("error: failed to listen on `{}`", up.address)),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains(&format!(
            "hint: another program listens there, perhaps a broker; use it with --brokers {}",
            up.address
        )),
        "{}",
        ended.stderr
    );
}

/// Fault 41: a second one on the same folder names the first.
#[test]
fn a_folder_in_use_names_its_holder() {
    let world = World::own();
    let data = world.folder.path().join("broker");
    let mut command = program();
    command
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .current_dir(world.folder.path());
    let ended = Running::start(command).end().expect(2);
    assert!(
        ended.stderr.contains("is in use by process "),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("hint: one folder has one broker"),
        "{}",
        ended.stderr
    );
}

/// Fault 40: a folder that cannot be made is told with its path.
#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let up = Up::new();
    let file = up.folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let ended = up.run(&["--data", file.to_str().unwrap()]).expect(2);
    assert!(
        ended.stderr.contains(file.to_str().unwrap()) && ended.stderr.contains("hint: "),
        "{}",
        ended.stderr
    );

    let hint = ended.stderr.lines().last();
    let detached = up
        .run(&["--detach", "--data", file.to_str().unwrap()])
        .expect(2);
    assert_eq!(detached.stderr.lines().last(), hint);

    // The superuser writes everywhere.
    if rustix::process::geteuid().is_root() {
        return;
    }
    let locked = up.folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    let ended = up
        .run(&["--data", locked.join("data").to_str().unwrap()])
        .expect(2);
    assert!(
        ended.stderr.contains("cannot be written"),
        "{}",
        ended.stderr
    );
    let hint = ended.stderr.lines().last();
    let data = locked.join("data");
    let detached = up
        .run(&["--detach", "--data", data.to_str().unwrap()])
        .expect(2);
    assert_eq!(detached.stderr.lines().last(), hint);
}

#[test]
fn words_that_name_nothing_are_refused() {
    let up = Up::new();
    let ended = up.run(&["mesages"]).expect(2);
    assert_eq!(
        ended.stderr,
        "error: unknown system `mesages`; there are: messages, montecarlo, partitions\n"
    );
    let ended = up.run(&["--for", "30"]).expect(2);
    assert!(
        ended
            .stderr
            .contains("`30` is not a time; write 30s, 500ms, 5m, 1h30m or 7d"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_cluster_that_does_not_respond_is_an_error_with_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .args(["--brokers", "127.0.0.1:1", "up", "--for", "1s"])
        .current_dir(folder.path());
    let ended = Running::start(command).end().expect(2);
    assert!(
        ended
            .stderr
            .starts_with("error: failed to connect to `127.0.0.1:1`: connection refused\nhint: "),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("receive | "), "{}", ended.stderr);
}

/// Something listens there and is no broker.
#[test]
fn a_cluster_that_does_not_speak_is_an_error_with_its_address() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .args(["--brokers", &address, "up"])
        .current_dir(folder.path());
    let ended = Running::start(command).end().expect(2);
    let expected = format!(
        "error: no response from a broker at `{address}` within 5 s; without --brokers and KAFKA_BROKERS, `up` starts a broker of its own"
    );
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
}

/// An option that would have no effect is refused, wherever the cluster is named.
#[test]
fn an_address_for_the_broker_beside_another_cluster_is_refused() {
    let up = Up::new();
    let ended = up.run(&["--brokers", "127.0.0.1:1"]).expect(2);
    assert_eq!(
        ended.stderr,
        "error: option `--listen` is for the embedded broker, but option `--brokers` names a cluster; use one of the two\n"
    );
    let mut command = up.command(&[]);
    command.env("KAFKA_BROKERS", "127.0.0.1:1");
    let ended = Running::start(command).end().expect(2);
    assert_eq!(
        ended.stderr,
        "error: option `--listen` is for the embedded broker, but environment variable `KAFKA_BROKERS` names a cluster; use one of the two\n"
    );
}

/// A service that cannot read its options would be restarted for ever.
#[test]
fn a_wrong_option_of_any_service_is_refused_before_one_is_started() {
    let cases = [
        (
            "[messages.send]\ninterval-ms = \"soon\"",
            "error: `messages.send.interval-ms` in `millstream.toml`: invalid value 'soon' for '--interval-ms <MS>': `soon` is not a whole number\n",
        ),
        (
            "[messages.receive]\nthreads = 0",
            "error: `messages.receive.threads` in `millstream.toml`: invalid value '0' for '--threads <NUMBER>': `0` is too small; the smallest value is 1\n",
        ),
    ];
    for (file, text) in cases {
        let up = Up::new();
        std::fs::write(up.folder.path().join("millstream.toml"), file).unwrap();
        let ended = up.run(&["--for", "1s"]).expect(2);
        assert_eq!(ended.stderr, text);
        // Of a service that is not started nothing is asked.
        up.run(&["partitions", "--scale", "produce=0", "--for", "0s"])
            .expect(0);
    }
}
