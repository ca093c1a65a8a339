//! How an example is run here: on the test's broker, with work that ends soon, and how it comes to its end.

/// How an example ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Itself,
    /// At Ctrl-C.
    Signal,
    /// By itself, if an `up` runs in the background.
    NeedsBackground,
}

/// The words of the command, without variables set before it.
pub(super) fn words(line: &str) -> Vec<&str> {
    let words = line.split_whitespace();
    let is_variable = |word: &&str| {
        word.split('/')
            .next()
            .is_some_and(|start| start.contains('='))
    };
    words.skip_while(is_variable).collect()
}

/// The line as it is run here.
pub(super) fn rewritten(line: &str, brokers: &str) -> String {
    let line = line
        .replace("cargo run --release -- ", "millstream ")
        .replace("/var/lib/millstream", "data")
        .replace("man -l -", "cat");
    // A comment behind the command would swallow what is added to it.
    let line = line.split("  #").next().unwrap_or_default().trim_end();
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        let number = words[at].parse::<f64>();
        match (words[at - 1].as_str(), number) {
            ("--count" | "--messages-per-thread", Ok(many)) if many > 5000.0 => {
                words[at] = "1000".to_owned();
            }
            ("--rel-error" | "--abs-error", Ok(small)) if small < 1e-3 => {
                words[at] = "1e-3".to_owned();
            }
            ("--for", _) => words[at] = "2s".to_owned(),
            ("--brokers", _) => words[at] = brokers.to_owned(),
            ("--listen", _) => {
                let name = words[at].split_once('=').map(|(name, _)| name);
                words[at] =
                    name.map_or_else(String::new, |name| format!("{name}=")) + "127.0.0.1:0";
            }
            _ => {}
        }
    }
    let listens = match self::words(line).get(1..3) {
        Some(["broker", _]) => true,
        Some(["up", word]) => !["status", "stop"].contains(word) && !line.contains("--brokers"),
        _ => line.ends_with("millstream up"),
    };
    if listens && !line.contains("--listen") {
        words.push("--listen 127.0.0.1:0".to_owned());
    }
    words.join(" ")
}

/// How the command ends.
pub(super) fn end_of(line: &str) -> End {
    let words = words(line);
    let has = |options: &[&str]| words.iter().any(|word| options.contains(word));
    let has_end = match (words.get(1), words.get(2)) {
        (Some(&"up"), Some(&("status" | "stop"))) => return End::NeedsBackground,
        (Some(&"up"), _) => has(&["--for", "--detach"]),
        (Some(&"broker"), _) => false,
        (Some(&"tail"), _) => has(&["--exit", "--until", "-n", "--count"]),
        (Some(&"messages" | &"montecarlo"), _) | (Some(&"partitions"), Some(&"consume")) => {
            has(&["--count", "-n"])
        }
        _ => true,
    };
    if has_end { End::Itself } else { End::Signal }
}

/// Whether `said` shows that the command is at work: for `up`, that no service is starting any longer.
pub(super) fn is_at_work(line: &str, said: &str) -> bool {
    !words(line).starts_with(&["millstream", "up"])
        || (said.contains("running") && !said.contains("starting"))
}

#[test]
fn a_line_is_run_on_the_broker_of_the_test_and_ends() {
    let run_as = |line| rewritten(line, "b:1");
    assert_eq!(
        run_as("millstream up"),
        "millstream up --listen 127.0.0.1:0"
    );
    assert_eq!(
        run_as("cargo run --release -- up --for 30s   # half a minute"),
        "millstream up --for 2s --listen 127.0.0.1:0"
    );
    assert_eq!(
        run_as("KAFKA_TOPIC=a millstream up --brokers $BROKERS"),
        "KAFKA_TOPIC=a millstream up --brokers b:1"
    );
    assert_eq!(
        run_as("millstream broker --listen a=0.0.0.0:1"),
        "millstream broker --listen a=127.0.0.1:0"
    );
    assert_eq!(run_as("millstream up status"), "millstream up status");
    assert_eq!(end_of("KAFKA_TOPIC=a millstream up messages"), End::Signal);
    assert_eq!(end_of("A=b millstream messages send"), End::Signal);
    assert_eq!(end_of("millstream messages send --count 1"), End::Itself);
    assert_eq!(end_of("millstream up stop"), End::NeedsBackground);
    assert_eq!(
        end_of("millstream tail a --json | millstream send b"),
        End::Signal
    );
    assert_eq!(end_of("echo a=b | millstream send b"), End::Itself);
}
