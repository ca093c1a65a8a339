//! Every example of the help texts and of the pages is run, in an empty folder, against a broker of this test.
//!
//! What names something that is not here is rewritten; nothing is left out. A command that has no end of its own must say
//! something and end with 0 at Ctrl-C. A broker in the background is stopped with `up stop`. After each example no process of
//! it may be left: all of them carry a variable with its number.

mod find;
mod rewrite;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::world::{Running, World, eventually};
use find::Example;
use rewrite::{End, end_of, rewritten};

/// The variable by which the processes of an example are known.
const MARK: &str = "EXAMPLE_OF_TEST";

/// What the examples take for granted: a topic `calls`, messages, and a group `mine` that has read some of both.
struct Stage {
    world: World,
    bin: PathBuf,
    /// Keeps messages and integrals going while the examples run.
    _background: Vec<Running>,
}

impl Stage {
    fn new() -> Self {
        let world = World::own();
        let bin = world.folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_millstream"), bin.join("millstream")).unwrap();
        world
            .run(&["messages", "send", "--count", "20", "--interval-ms", "0"])
            .expect(0);
        let background = [
            &["messages", "send"][..],
            &["montecarlo", "coordinator"],
            &["montecarlo", "worker"],
            &["montecarlo", "producer", "--rate", "2"],
        ];
        let background = background.map(|words| world.start(words));
        Self {
            world,
            bin,
            _background: background.into(),
        }
    }

    fn prepare(&self, line: &str) {
        let run = |words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            self.world.run(&words)
        };
        if line.contains("calls") || line.contains("mine") {
            // It may be there or not, and an example may have changed it.
            run("topics delete calls --yes");
        }
        if line.contains(" topics create calls") {
            return;
        }
        if line.contains("calls") || line.contains("mine") {
            run("topics create calls --set retention.ms=86400000").expect(0);
            self.world
                .run_with(&["send", "calls", "-k", "ann"], b"1\n2\n3\n")
                .expect(0);
            run("groups reset mine --topic calls --to-latest --yes").expect(0);
            run("groups reset mine --topic rust-messages --to-earliest --yes").expect(0);
        }
    }

    /// A shell line in `home`, as a process group of its own.
    fn shell(&self, home: &Path, mark: &str, line: &str) -> Command {
        let path = std::env::var_os("PATH").unwrap();
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("set -o pipefail; {line}")])
            .env("HOME", home)
            .env("PATH", format!("{}:{}", self.bin.display(), path.display()))
            .env(MARK, mark)
            .current_dir(home)
            .process_group(0);
        // Without it `up` starts a broker of its own, as for a user who has only this program.
        if !rewrite::words(line).starts_with(&["millstream", "up"]) {
            command.env("KAFKA_BROKERS", &self.world.brokers);
        }
        command
    }

    /// Runs the example in a folder of its own; what is wrong, if anything.
    fn run(&self, example: &Example) -> Option<String> {
        let line = rewritten(&example.line, &self.world.brokers);
        self.prepare(&line);
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join(".local/share/bash-completion/completions")).unwrap();
        fs::create_dir_all(home.path().join(".config/fish/completions")).unwrap();
        fs::write(home.path().join("jobs.json"), r#"[{"expression": "x"}]"#).unwrap();
        let marked = Marked::new();
        let shell = |line: &str| Running::start(self.shell(home.path(), &marked.0, line));
        if end_of(&line) == End::NeedsBackground {
            shell("millstream up --detach --listen 127.0.0.1:0")
                .end()
                .expect(0);
        }
        let running = shell(&line);
        if end_of(&line) == End::Signal {
            while !rewrite::is_at_work(&line, &running.line("")) {}
            let group = Pid::from_raw(running.pid()).unwrap();
            kill_process_group(group, Signal::INT).unwrap();
        }
        let ended = running.end();
        if line.contains("--detach") || line.contains("up status") {
            shell("millstream up stop").end().expect(0);
        }
        eventually("no process of the example is left", || {
            marked.processes().is_empty()
        });
        (ended.code() != 0).then(|| {
            format!(
                "{}: {}\n  run as: {line}\n  ended with {}\n{}{}",
                example.place, example.line, ended.status, ended.stdout, ended.stderr
            )
        })
    }
}

/// The processes of one example: those that have its mark in their environment.
struct Marked(String);

impl Marked {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}-{number}", std::process::id()))
    }

    fn processes(&self) -> Vec<i32> {
        let mark = format!("{MARK}={}", self.0).into_bytes();
        let is_ours = |pid: &i32| {
            // A process that has ended, or is somebody else's, has no environment to read.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|set| set == mark)
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(is_ours).collect()
    }
}

impl Drop for Marked {
    /// A failure leaves no process behind either.
    fn drop(&mut self) {
        for pid in self.processes() {
            crate::world::signal_to(pid, Signal::KILL);
        }
    }
}

#[test]
fn every_example_runs() {
    let examples = find::all();
    // Far fewer would mean that they are no longer found.
    assert!(examples.len() > 60, "{examples:?}");
    let stage = Stage::new();
    let wrong: Vec<String> = examples
        .iter()
        .filter_map(|example| stage.run(example))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        examples.len(),
        wrong.join("\n")
    );
}
