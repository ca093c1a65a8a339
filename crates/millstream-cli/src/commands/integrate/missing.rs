//! What a cluster lacks when nothing was computed for a while: a coordinator, a worker, or only time.
//!
//! When to look is decided by the caller's clock ([`Patience`]). The look itself takes as long as the cluster takes to answer,
//! so it has a thread of its own, and Ctrl-C does not wait for it.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use millstream::admin::{Admin, GroupInfo};
use millstream::{Cluster, Error, Moment};
use millstream_systems::montecarlo::topics::{PREFIX, Topics};

/// After this time without a complete wave what is missing is printed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the cluster may take to say who is there.
const LOOK: Duration = Duration::from_secs(5);

/// Runs out once, when nothing was computed for a while.
pub(super) struct Patience {
    started: Moment,
    ended: bool,
}

impl Patience {
    pub(super) const fn new(started: Moment) -> Self {
        Self {
            started,
            ended: false,
        }
    }

    /// Whether it has just run out.
    pub(super) fn runs_out(&mut self, computed: bool, now: Moment) -> bool {
        if self.ended || computed {
            self.ended = true;
            return false;
        }
        self.ended = now.since(self.started) >= PATIENCE;
        self.ended
    }
}

/// Looks who is there; the text comes when the cluster has answered.
pub(super) fn look(cluster: &Cluster, prefix: &str) -> Receiver<String> {
    let (sender, found) = mpsc::channel();
    let (cluster, prefix) = (cluster.clone(), prefix.to_owned());
    let look = move || {
        let groups = Admin::new(&cluster).and_then(|admin| admin.patience(LOOK).groups());
        // Nobody listens any more when the answer came first.
        _ = sender.send(said(groups, &prefix, cluster.brokers()));
    };
    // Without the thread there is no text, and the answer is waited for all the same.
    _ = thread::Builder::new()
        .name("look".to_owned())
        .spawn(look)
        .map_err(|error| tracing::debug!(%error, "failed to start a thread"));
    found
}

fn said(groups: Result<Vec<GroupInfo>, Error>, prefix: &str, brokers: &str) -> String {
    let seconds = PATIENCE.as_secs();
    let groups = match groups {
        Ok(groups) => groups,
        Err(error) => return format!("nothing computed after {seconds} s: {error}"),
    };
    let topics = Topics::new(prefix);
    let runs = |role: &str| {
        let name = topics.group(role);
        let group = groups.iter().find(|group| group.name == name);
        group.is_some_and(|group| group.state != "Empty" && group.state != "Dead")
    };
    let options = if prefix == PREFIX {
        String::new()
    } else {
        format!(" --prefix {prefix}")
    };
    let missing: Vec<&str> = [("coordinators", "coordinator"), ("workers", "worker")]
        .into_iter()
        .filter(|(role, _)| !runs(role))
        .map(|(_, service)| service)
        .collect();
    if missing.is_empty() {
        return format!(
            "nothing computed after {seconds} s; coordinator and workers run on {brokers}, perhaps on other jobs"
        );
    }
    let commands = missing
        .iter()
        .map(|service| format!("\n  millstream montecarlo {service} --brokers {brokers}{options}"));
    format!(
        "nothing computed after {seconds} s: no {} runs on {brokers}; start with{}",
        missing.join(" and no "),
        commands.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, state: &str) -> GroupInfo {
        GroupInfo {
            name: name.to_owned(),
            state: state.to_owned(),
            assignor: String::new(),
            members: Vec::new(),
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn patience_runs_out_once() {
        let mut patience = Patience::new(at(0));
        let said: Vec<bool> = [1, 4, 5, 6, 20]
            .into_iter()
            .map(|second| patience.runs_out(false, at(second)))
            .collect();
        assert_eq!(said, [false, false, true, false, false]);
    }

    #[test]
    fn patience_never_runs_out_when_something_was_computed() {
        let mut patience = Patience::new(at(0));
        assert!(!patience.runs_out(true, at(1)));
        assert!(!patience.runs_out(false, at(20)));
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_starts_it() {
        let coordinator = || group("montecarlo-coordinators", "Stable");
        assert_eq!(
            said(Ok(vec![coordinator()]), PREFIX, "kafka:1"),
            "nothing computed after 5 s: no worker runs on kafka:1; start with\n  millstream montecarlo worker --brokers kafka:1"
        );
        assert_eq!(
            said(Ok(vec![group("mine-workers", "Empty")]), "mine", "kafka:1"),
            "nothing computed after 5 s: no coordinator and no worker runs on kafka:1; start with\n  millstream montecarlo coordinator --brokers kafka:1 --prefix mine\n  millstream montecarlo worker --brokers kafka:1 --prefix mine"
        );
        let worker = group("montecarlo-workers", "PreparingRebalance");
        assert_eq!(
            said(Ok(vec![coordinator(), worker]), PREFIX, "kafka:1"),
            "nothing computed after 5 s; coordinator and workers run on kafka:1, perhaps on other jobs"
        );
    }
}
