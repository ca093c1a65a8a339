//! DescribeCluster: the cluster's id and its one broker.
//!
//! Since version 1 a client says whether it means brokers or controllers; there is no controller to talk to here.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use kafka_protocol::messages::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{CLUSTER_OPERATIONS, Client};
use crate::broker::Broker;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) async fn handle(
    broker: &Broker,
    client: &Client,
    request: DescribeClusterRequest,
    version: i16,
) -> DescribeClusterResponse {
    if version >= 1 && request.endpoint_type != BROKERS {
        let (code, text) = match request.endpoint_type {
            CONTROLLERS => (
                ResponseError::MismatchedEndpointType,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
            ),
            _ => (
                ResponseError::UnsupportedEndpointType,
                "Unsupported endpoint type",
            ),
        };
        return DescribeClusterResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_static_str(text)));
    }
    let id = BrokerId(broker.config.node_id);
    let this = DescribeClusterBroker::default()
        .with_broker_id(id)
        .with_host(client.endpoint.host.clone())
        .with_port(client.endpoint.port);
    let mut response = DescribeClusterResponse::default()
        .with_cluster_id(broker.cluster_id.clone())
        .with_controller_id(id)
        .with_brokers(vec![this]);
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}
