//! Administration for programs that manage: topics, their configuration, consumer groups and their offsets.
//!
//! Each call blocks until the cluster has answered, for the [patience](Admin::patience) of each request at most; none needs an
//! async runtime. What is dangerous takes two steps: resetting a group is planned first, and the plan can be shown
//! before it is applied.

mod groups;
mod topics;

use std::time::Duration;

pub use groups::{Change, GroupDescription, GroupInfo, GroupOffset, Member, ResetPlan, ResetTo};
pub use topics::{PartitionInfo, TopicConfig, TopicInfo, ensure};

use crate::clock::{Clock as _, SystemClock};
use crate::config::Cluster;
use crate::error::Error;
use crate::log::kafka::admin::Client;

/// How long one request may take by default.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection for administration.
///
/// ```no_run
/// use millstream::admin::Admin;
/// use millstream::{Cluster, TopicSpec};
///
/// let admin = Admin::new(&Cluster::new("127.0.0.1:9092"))?;
/// admin.create(&TopicSpec { partitions: Some(4), ..TopicSpec::named("readings") })?;
/// for topic in admin.topics()? {
///     println!("{} {}", topic.name, topic.partitions.len());
/// }
/// # Ok::<(), millstream::Error>(())
/// ```
pub struct Admin {
    client: Client,
}

/// The cluster as its brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The cluster's id, if it has one.
    pub id: Option<String>,
    /// The brokers, by id.
    pub brokers: Vec<Broker>,
}

/// One broker and the address it advertises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// The broker's id.
    pub id: i32,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
}

impl Admin {
    /// Makes the clients. They connect by themselves; [`Admin::reach`] waits until they have.
    ///
    /// # Errors
    /// An address or a combination of properties is refused.
    pub fn new(cluster: &Cluster) -> Result<Admin, Error> {
        Ok(Admin {
            client: Client::open(cluster, PATIENCE)?,
        })
    }

    /// How long each request may take. Default: 15 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Admin {
        self.client.patience = patience;
        self
    }

    /// Describes the cluster.
    ///
    /// # Errors
    /// It does not answer.
    pub fn cluster(&self) -> Result<ClusterInfo, Error> {
        self.client.cluster_info(self.client.patience)
    }

    /// Waits until the cluster answers, trying again with exponential backoff. `waiting` is called after each failed try; it
    /// returns whether to go on.
    ///
    /// # Errors
    /// It did not answer `within` that time, or `waiting` gave up; the last reason.
    pub fn reach(
        &self,
        within: Duration,
        mut waiting: impl FnMut(&Error) -> bool,
    ) -> Result<ClusterInfo, Error> {
        let clock = SystemClock::new();
        let deadline = clock.now().plus(within);
        let mut pause = Duration::from_millis(100);
        loop {
            let left = deadline.since(clock.now());
            let attempt = self
                .client
                .cluster_info(left.clamp(Duration::from_millis(100), Duration::from_secs(2)));
            let error = match attempt {
                Ok(info) => return Ok(info),
                Err(error) => error,
            };
            let left = deadline.since(clock.now());
            if left.is_zero() || !waiting(&error) {
                return Err(error);
            }
            self.client.idle(pause.min(left));
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin")
            .field("patience", &self.client.patience)
            .finish_non_exhaustive()
    }
}
