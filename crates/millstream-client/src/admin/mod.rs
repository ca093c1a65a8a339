//! Administration: topics, offsets, configurations, groups, and what a cluster says of itself.
//!
//! Each file manages one kind of thing and has the same parts in the same order: what goes in and comes out, the calls, and behind them one `Operation` for
//! each API. `asking` alone decides where a request goes and when it is repeated; `refusal` says what a code means.

mod acls;
mod asking;
mod cluster;
mod configs;
mod group_offsets;
mod groups;
mod offsets;
mod refusal;
mod topics;
mod transactions;

use std::collections::BTreeMap;
use std::fmt;

pub use self::acls::{Acl, AclFilter, AclOperation, AclPattern, AclPermission, AclResource};
pub use self::cluster::{BrokerInfo, ClusterInfo};
pub use self::configs::{ConfigChange, ConfigEntry, ConfigSource, Resource};
pub use self::group_offsets::Committed;
pub use self::groups::{GroupInfo, GroupKind, GroupMember, GroupState, ListedGroup};
pub use self::offsets::{At, FoundOffset};
pub use self::topics::{CreatedTopic, NewTopic, PartitionInfo, TopicInfo};
pub use self::transactions::{ListedTransaction, ProducerInfo, TransactionInfo, TransactionState};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::config::{Config, Resolved};
use crate::connection::network::Network;
use crate::error::Error;

/// What came of each thing that was asked for: one that fails does not hide the others.
pub type Each<K, V> = BTreeMap<K, Result<V, Error>>;

/// What all brokers together have, each a part of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listing<V> {
    /// What the brokers that answered have, by name.
    pub found: BTreeMap<String, V>,
    /// The brokers that did not answer, by number: what they have is missing.
    pub failed: BTreeMap<i32, Error>,
}

impl<V> Listing<V> {
    fn of(answers: Each<i32, Vec<(String, V)>>) -> Self {
        let (mut found, mut failed) = (BTreeMap::new(), BTreeMap::new());
        for (broker, answer) in answers {
            match answer {
                Ok(part) => found.extend(part),
                Err(error) => drop(failed.insert(broker, error)),
            }
        }
        Self { found, failed }
    }
}

/// A partition of a topic, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition of this number.
    pub fn new(topic: &str, partition: i32) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` partition {}", self.topic, self.partition)
    }
}

/// Whether a change is made, or only checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is made.
    #[default]
    Apply,
    /// The cluster says what would come of it, and changes nothing.
    ValidateOnly,
}

impl Mode {
    fn validates_only(self) -> bool {
        self == Self::ValidateOnly
    }
}

/// A connection for administration, used by one thread.
///
/// Each call blocks until everything is answered, `default.api.timeout.ms` at most. Requests go to the broker that answers for the thing, and are sent again
/// when it moves, is busy or cannot be reached.
///
/// # Errors
/// Where Kafka answers for each topic, partition or group, so does the call: [`Each`] has an error of its own for each that failed. The call itself fails only if a
/// broker refuses this client's login or certificate ([`Error::Login`], [`Error::Encryption`]), or if the machine has no sockets.
///
/// [`Error::Administration`] is a refusal, [`Error::TimedOut`] means that no broker answered in time. [`Error::outcome`] says of a change whether it may have been made: it is
/// [`Outcome::Unknown`](crate::Outcome::Unknown) if an attempt was lost, whatever was answered to the next one. A topic that "exists already" may then be the one that was asked for.
///
/// ```no_run
/// use millstream_client::admin::{Admin, At, Mode, NewTopic, TopicPartition};
/// use millstream_client::Config;
///
/// let mut admin = Admin::new(&Config::new("127.0.0.1:9092")?)?;
/// let topic = NewTopic { partitions: Some(4), ..NewTopic::named("readings") };
/// for (name, result) in admin.create_topics(&[topic], Mode::Apply)? {
///     println!("{name}: {:?} partitions", result?.partitions);
/// }
/// for (partition, end) in admin.offsets(&[TopicPartition::new("readings", 0)], At::End)? {
///     println!("{partition} ends at {:?}", end?.map(|found| found.offset));
/// }
/// # Ok::<(), millstream_client::Error>(())
/// ```
#[derive(Debug)]
pub struct Admin {
    config: Resolved,
    clock: Clock,
    cluster: Cluster,
    network: Network,
    /// Counts requests, over all calls.
    numbers: u64,
}

impl Admin {
    /// Administers the cluster that the configuration names. Nothing is connected before it is needed.
    ///
    /// # Errors
    /// [`Error::Login`] or [`Error::Encryption`] if what the properties name cannot be used, [`Error::Wait`] without sockets.
    pub fn new(config: &Config) -> Result<Self, Error> {
        config.check_security()?;
        let config = config.resolve();
        Ok(Self {
            clock: Clock::start(),
            cluster: Cluster::new(config.clone()),
            network: Network::new(&config)?,
            config,
            numbers: 0,
        })
    }
}

/// Things with what is asked of each; the same one twice is an error that names it.
fn once<K: Ord + fmt::Display, V>(
    kind: &str,
    pairs: impl IntoIterator<Item = (K, V)>,
) -> Result<BTreeMap<K, V>, Error> {
    let mut found = BTreeMap::new();
    for (key, value) in pairs {
        if found.contains_key(&key) {
            return Err(Error::Refused {
                reason: format!("{kind}{key} is named twice in one call; name it once"),
            });
        }
        found.insert(key, value);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
