//! Quotas: how many bytes a second a user or a client id may write and read, how much of the broker's time its requests may take, and how
//! many partitions it may make and remove.
//!
//! A quota belongs to a user, a client id, or a user with a client id, each of them by name or as the default of all; the most specific one
//! holds, as in Apache Kafka. Who shares a quota shares its bytes. What goes beyond ten seconds' worth is paid for by waiting: the answer
//! says how long, and the connection is not read meanwhile. Quotas are kept in `quotas.json` of the data folder.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::current::Current;
use crate::error::Error;
use crate::log::lock;
use crate::snapshot::{Durability, Kind};
use crate::topics::Refused;

const QUOTAS: Kind = Kind {
    magic: "millstream-quotas",
    newest: 1,
};

/// What may be used at once: Kafka's ten full samples of a second.
const BURST: Duration = Duration::from_secs(10);
/// The longest wait: longer ones would look like a broker that is gone.
const LONGEST: Duration = Duration::from_secs(30);
/// Accounts that are kept. One that is thrown away only forgets what was used in the last seconds.
const MOST_ACCOUNTS: usize = 10_000;

/// One of the two parts of an entity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Name {
    /// All that have no quota of their own.
    Default,
    Named(String),
}

/// What a quota belongs to: a user, a client id, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entity {
    pub(crate) user: Option<Name>,
    pub(crate) client_id: Option<Name>,
}

/// The quotas of an entity, by Kafka's names.
pub(crate) type Values = BTreeMap<String, f64>;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Use {
    Produce,
    Fetch,
    /// Hundredths of a second of a thread.
    Request,
    /// Partitions that are made and removed.
    Mutate,
}

impl Use {
    fn key(self) -> &'static str {
        match self {
            Use::Produce => "producer_byte_rate",
            Use::Fetch => "consumer_byte_rate",
            Use::Request => "request_percentage",
            Use::Mutate => "controller_mutation_rate",
        }
    }

    /// The longest wait, which Kafka has for each: a request that took long is not the next one's fault for long.
    fn longest(self) -> Duration {
        match self {
            Use::Request => Duration::from_secs(1),
            _ => LONGEST,
        }
    }
}

/// The keys that can be set.
const KEYS: [&str; 4] = [
    "producer_byte_rate",
    "consumer_byte_rate",
    "request_percentage",
    "controller_mutation_rate",
];

/// All quotas, and what was used of them.
#[derive(Debug)]
pub(crate) struct Quotas {
    path: PathBuf,
    set: Current<BTreeMap<Entity, Values>>,
    accounts: Mutex<HashMap<(Use, Entity, Entity), Account>>,
}

/// Up to when what was used is paid for by the time that passes.
#[derive(Clone, Copy, Debug)]
struct Account {
    paid_until: Instant,
}

impl Account {
    /// Uses an amount of a quota; returns how long to wait, which is never longer than `longest`.
    fn take(&mut self, now: Instant, amount: f64, rate: f64, longest: Duration) -> Duration {
        let floor = now.checked_sub(BURST).unwrap_or(now);
        let price = Duration::try_from_secs_f64(amount / rate).unwrap_or(longest);
        // Nobody owes more than the longest wait.
        let price = price.min(BURST + longest);
        self.paid_until = (self.paid_until.max(floor) + price).min(now + longest);
        self.owes(now)
    }

    /// How long to wait for what was used before.
    fn owes(&self, now: Instant) -> Duration {
        self.paid_until.saturating_duration_since(now)
    }
}

impl Quotas {
    pub(crate) fn open(folder: &Path) -> Result<Quotas, Error> {
        let path = folder.join("quotas.json");
        let stored = QUOTAS.read::<Vec<(Entity, Values)>>(&path)?;
        let set = stored.unwrap_or_default().into_iter().collect();
        Ok(Quotas {
            path,
            set: Current::new(set),
            accounts: Mutex::default(),
        })
    }

    pub(crate) fn all(&self) -> Arc<BTreeMap<Entity, Values>> {
        self.set.get()
    }

    /// Sets (or, with `None`, removes) values of an entity; they hold when this returns, and after a power cut.
    pub(crate) fn change(
        &self,
        entity: &Entity,
        values: &BTreeMap<String, Option<f64>>,
    ) -> Result<(), Refused> {
        self.set.change(|now| {
            let mut changed = now.clone();
            let of_entity = changed.entry(entity.clone()).or_default();
            for (key, value) in values {
                match value {
                    Some(value) => of_entity.insert(key.clone(), *value),
                    None => of_entity.remove(key),
                };
            }
            changed.retain(|_, values| !values.is_empty());
            let stored: Vec<_> = changed.iter().collect();
            QUOTAS
                .write(&self.path, &stored, Durability::Disk)
                .map_err(|error| {
                    tracing::error!(%error, "failed to store the quotas");
                    Refused::new(ResponseError::KafkaStorageError, error.to_string())
                })?;
            Ok(Some(changed))
        })
    }

    /// Counts what a client has used; returns how long it has to wait.
    pub(crate) fn take(&self, kind: Use, user: &str, client_id: &str, amount: f64) -> Duration {
        self.take_at(Instant::now(), kind, (user, client_id), amount)
    }

    fn take_at(&self, now: Instant, kind: Use, who: (&str, &str), amount: f64) -> Duration {
        let take = |account: &mut Account, rate| account.take(now, amount, rate, kind.longest());
        self.with_account(now, kind, who, take).unwrap_or_default()
    }

    /// Counts partitions that a client wants to make or remove; returns how long it has to wait. If `strict`, who owes for earlier ones is
    /// refused, with the time to wait.
    pub(crate) fn mutate(
        &self,
        user: &str,
        client_id: &str,
        partitions: usize,
        strict: bool,
    ) -> Result<Duration, Duration> {
        self.mutate_at(Instant::now(), (user, client_id), partitions, strict)
    }

    fn mutate_at(
        &self,
        now: Instant,
        who: (&str, &str),
        partitions: usize,
        strict: bool,
    ) -> Result<Duration, Duration> {
        #[expect(clippy::cast_precision_loss, reason = "a quota is a rate")]
        let amount = partitions as f64;
        let take = |account: &mut Account, rate| match account.owes(now) {
            owed if strict && !owed.is_zero() => Err(owed),
            _ => Ok(account.take(now, amount, rate, LONGEST)),
        };
        self.with_account(now, Use::Mutate, who, take)
            .unwrap_or(Ok(Duration::ZERO))
    }

    /// Works on the account of a client, with the rate of its quota; `None` when it has none.
    fn with_account<T>(
        &self,
        now: Instant,
        kind: Use,
        (user, client_id): (&str, &str),
        work: impl FnOnce(&mut Account, f64) -> T,
    ) -> Option<T> {
        let set = self.all();
        if set.is_empty() {
            return None;
        }
        let (entity, rate) = find(&set, kind, user, client_id)?;
        let sharing = Entity {
            user: entity.user.as_ref().map(|_| Name::Named(user.to_owned())),
            client_id: entity
                .client_id
                .as_ref()
                .map(|_| Name::Named(client_id.to_owned())),
        };
        let mut accounts = lock(&self.accounts);
        if accounts.len() >= MOST_ACCOUNTS {
            accounts.retain(|_, account| account.paid_until + BURST > now);
        }
        if accounts.len() >= MOST_ACCOUNTS {
            accounts.clear();
        }
        let account = accounts.entry((kind, entity.clone(), sharing));
        let fresh = Account {
            paid_until: now.checked_sub(BURST).unwrap_or(now),
        };
        Some(work(account.or_insert(fresh), rate))
    }
}

/// The quota that holds for a client, in Kafka's order: the user's before the client id's, a name before the default.
fn find<'a>(
    set: &'a BTreeMap<Entity, Values>,
    kind: Use,
    user: &str,
    client_id: &str,
) -> Option<(&'a Entity, f64)> {
    let users = [
        Some(Name::Named(user.to_owned())),
        Some(Name::Default),
        None,
    ];
    let clients = [
        Some(Name::Named(client_id.to_owned())),
        Some(Name::Default),
        None,
    ];
    let order = users
        .iter()
        .flat_map(|user| clients.iter().map(move |client| (user, client)));
    order
        .map(|(user, client_id)| Entity {
            user: user.clone(),
            client_id: client_id.clone(),
        })
        .find_map(|entity| {
            let (entity, values) = set.get_key_value(&entity)?;
            Some((entity, *values.get(kind.key())?))
        })
}

/// Refuses a key or a value that no quota has.
pub(crate) fn check(key: &str, value: f64) -> Result<(), Refused> {
    let refuse = |text: String| Err(Refused::new(ResponseError::InvalidRequest, text));
    if !KEYS.contains(&key) {
        return refuse(format!("Invalid configuration key {key}"));
    }
    if !value.is_finite() || value <= 0.0 {
        return refuse(format!("Quota {key} must be greater than 0"));
    }
    if key.ends_with("_byte_rate") && value.fract() != 0.0 {
        return refuse(format!("Configuration {key} must be a Long value"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(user: Option<&str>, client_id: Option<&str>) -> Entity {
        let name = |name: &str| match name {
            "*" => Name::Default,
            name => Name::Named(name.to_owned()),
        };
        Entity {
            user: user.map(name),
            client_id: client_id.map(name),
        }
    }

    #[test]
    fn the_most_specific_quota_holds() {
        let order = [
            (Some("u"), Some("c")),
            (Some("u"), Some("*")),
            (Some("u"), None),
            (Some("*"), Some("c")),
            (Some("*"), Some("*")),
            (Some("*"), None),
            (None, Some("c")),
            (None, Some("*")),
        ];
        let value = |rate: f64| Values::from([("producer_byte_rate".to_owned(), rate)]);
        let mut set = BTreeMap::new();
        for (rate, (user, client_id)) in (1_i32..).zip(order).collect::<Vec<_>>().into_iter().rev()
        {
            set.insert(entity(user, client_id), value(rate.into()));
            let (_, found) = find(&set, Use::Produce, "u", "c").unwrap();
            assert_eq!(found, f64::from(rate));
        }
        assert_eq!(find(&set, Use::Fetch, "u", "c"), None);
        assert_eq!(find(&set, Use::Produce, "v", "d").unwrap().1, 5.0);
    }

    #[test]
    fn what_goes_beyond_the_burst_is_paid_for_by_waiting() {
        let now = Instant::now() + BURST;
        let mut account = Account {
            paid_until: now - BURST,
        };
        let seconds = Duration::from_secs;
        let mut take = |now, amount, rate| account.take(now, amount, rate, LONGEST);
        assert_eq!(take(now, 10_000.0, 1000.0), seconds(0));
        assert_eq!(take(now, 3000.0, 1000.0), seconds(3));
        assert_eq!(take(now + seconds(2), 1000.0, 1000.0), seconds(2));
        assert_eq!(take(now + seconds(60), 10_000.0, 1000.0), seconds(0));
        assert_eq!(take(now, f64::MAX, 1.0), LONGEST);
    }

    fn with(key: &str, value: f64) -> (tempfile::TempDir, Quotas) {
        let folder = tempfile::tempdir().unwrap();
        let quotas = Quotas::open(folder.path()).unwrap();
        let values = BTreeMap::from([(key.to_owned(), Some(value))]);
        quotas
            .change(&entity(Some("alice"), None), &values)
            .unwrap();
        (folder, quotas)
    }

    #[test]
    fn the_time_of_requests_is_paid_for_by_a_second_at_most() {
        let now = Instant::now() + BURST;
        let (_folder, quotas) = with("request_percentage", 50.0);
        let take = |now, who, seconds: f64| {
            let percent = 100.0 * seconds;
            quotas.take_at(now, Use::Request, (who, ""), percent)
        };
        // Half a thread for ten seconds.
        assert_eq!(take(now, "alice", 5.0), Duration::ZERO);
        assert_eq!(take(now, "alice", 0.25), Duration::from_millis(500));
        assert_eq!(take(now, "alice", 60.0), Duration::from_secs(1));
        let later = now + Duration::from_secs(1);
        assert_eq!(take(later, "alice", 0.0), Duration::ZERO);
        assert_eq!(take(now, "bob", 1e9), Duration::ZERO);
    }

    #[test]
    fn who_owes_for_partitions_makes_no_more_of_them() {
        let now = Instant::now() + BURST;
        let (_folder, quotas) = with("controller_mutation_rate", 2.0);
        let mutate = |now, count, strict| quotas.mutate_at(now, ("alice", ""), count, strict);
        let seconds = Duration::from_secs;
        // What was paid for in ten seconds, and as much more as one request wants.
        assert_eq!(mutate(now, 20, true), Ok(seconds(0)));
        assert_eq!(mutate(now, 10, true), Ok(seconds(5)));
        assert_eq!(mutate(now, 1, true), Err(seconds(5)));
        assert_eq!(mutate(now, 2, false), Ok(seconds(6)));
        let later = now + seconds(6);
        assert_eq!(mutate(later, 1, true), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn quotas_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let quotas = Quotas::open(folder.path()).unwrap();
        let alice = entity(Some("alice"), Some("*"));
        let key = "consumer_byte_rate".to_owned();
        let values = BTreeMap::from([(key.clone(), Some(1000.0))]);
        quotas.change(&alice, &values).unwrap();
        let again = Quotas::open(folder.path()).unwrap();
        let expected = BTreeMap::from([(alice.clone(), Values::from([(key.clone(), 1000.0)]))]);
        assert_eq!(*again.all(), expected);
        assert_eq!(again.take(Use::Fetch, "bob", "", 1e9), Duration::ZERO);
        assert_eq!(again.take(Use::Fetch, "alice", "", 1e9), LONGEST);
        again
            .change(&alice, &BTreeMap::from([(key, None)]))
            .unwrap();
        assert!(Quotas::open(folder.path()).unwrap().all().is_empty());
    }

    #[test]
    fn a_quota_that_cannot_be_is_refused() {
        let refused = |key, value| check(key, value).unwrap_err().message;
        assert_eq!(refused("speed", 1.0), "Invalid configuration key speed");
        assert_eq!(
            refused("request_percentage", -1.0),
            "Quota request_percentage must be greater than 0"
        );
        assert_eq!(
            refused("producer_byte_rate", 0.5),
            "Configuration producer_byte_rate must be a Long value"
        );
    }
}
