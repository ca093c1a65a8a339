//! The cluster: its id, its controller, its brokers.
//!
//! Any broker answers, as it sees the cluster at that moment. Who asks all brokers for their part asks here for their numbers first.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::{DescribeClusterRequest, MetadataRequest};

use super::Admin;
use super::asking::{Operation, Read, Route};
use super::refusal::answered;
use crate::error::Error;
use crate::wire::api::{Call, Reply};

/// A cluster as one of its brokers describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterInfo {
    /// Its id.
    pub id: String,
    /// The broker that takes changes of the cluster, as brokers name it: in KRaft one that passes them on. `None` if none is known.
    pub controller: Option<i32>,
    /// The brokers that run, by number.
    pub brokers: BTreeMap<i32, BrokerInfo>,
}

/// A broker that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerInfo {
    /// The host that it advertises.
    pub host: String,
    /// The port that it advertises.
    pub port: i32,
    /// The rack that it stands in, if that is configured.
    pub rack: Option<String>,
}

impl Admin {
    /// Describes the cluster.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if no broker answers.
    pub fn describe_cluster(&mut self) -> Result<ClusterInfo, Error> {
        self.one(&DescribeCluster, ())
    }

    /// The numbers of the brokers that run.
    pub(super) fn brokers(&mut self) -> Result<Vec<i32>, Error> {
        self.one(&ListBrokers, ())
    }
}

struct DescribeCluster;

impl Operation for DescribeCluster {
    type Item = ();
    type Value = ClusterInfo;
    const CHANGES: bool = false;

    fn what(&self, (): &()) -> String {
        "describe the cluster".to_owned()
    }

    fn route(&self, (): &()) -> Route {
        Route::Any
    }

    fn call(&self, _: &[()], _: Duration) -> Call {
        Call::DescribeCluster(DescribeClusterRequest::default())
    }

    fn read(&self, reply: Reply, _: &[()]) -> Read<(), ClusterInfo> {
        let Reply::DescribeCluster(reply) = reply else {
            return Vec::new();
        };
        let brokers = reply.brokers.into_iter().map(|broker| {
            let info = BrokerInfo {
                host: broker.host.to_string(),
                port: broker.port,
                rack: broker.rack.map(|rack| rack.to_string()),
            };
            (broker.broker_id.0, info)
        });
        let controller = reply.controller_id.0;
        let info = || ClusterInfo {
            id: reply.cluster_id.to_string(),
            controller: Some(controller).filter(|node| *node >= 0),
            brokers: brokers.collect(),
        };
        let message = reply.error_message.as_ref();
        vec![((), answered(reply.error_code, message, info))]
    }
}

struct ListBrokers;

impl Operation for ListBrokers {
    type Item = ();
    type Value = Vec<i32>;
    const CHANGES: bool = false;

    fn what(&self, (): &()) -> String {
        "list brokers".to_owned()
    }

    fn route(&self, (): &()) -> Route {
        Route::Any
    }

    fn call(&self, _: &[()], _: Duration) -> Call {
        Call::Metadata(MetadataRequest::default().with_topics(Some(Vec::new())))
    }

    fn read(&self, reply: Reply, _: &[()]) -> Read<(), Vec<i32>> {
        let Reply::Metadata(reply) = reply else {
            return Vec::new();
        };
        let brokers = reply.brokers.iter().map(|broker| broker.node_id.0);
        vec![((), Ok(brokers.collect()))]
    }
}
