//! What is known of the cluster: brokers, topics, the leader of each partition, coordinators of groups, and when to ask again.
//!
//! A state machine without sockets and clocks. A leader is only ever replaced by one of a newer epoch: an answer that a slow broker gives late must not lead
//! requests back to the leader before (KIP-320).

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest, MetadataResponse, TopicName,
};

use crate::clock::{Time, backoff, earlier};
use crate::config::Resolved;
use crate::error::Error;
use crate::exchange::{Answer, Lane, Node, Outgoing, Owner, Step, Target, Ticket};
use crate::wire::api::{Call, Reply};
use crate::wire::text;

/// A topic of this client, in place of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(pub(crate) u32);

impl Topic {
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) node: Node,
    pub(crate) epoch: i32,
}

#[derive(Debug, Default)]
struct Known {
    name: String,
    id: [u8; 16],
    leaders: Vec<Option<Leader>>,
    /// Why the cluster does not have it, as far as it was asked.
    error: Option<ResponseError>,
    asked: bool,
}

/// What a coordinator coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Group,
    Transaction,
}

#[derive(Debug)]
enum Coordinator {
    Wanted {
        from: Time,
        attempts: u32,
    },
    Asked {
        attempts: u32,
    },
    Known(Node),
    /// It was refused for good; whoever asks after that time asks the cluster again.
    Refused(ResponseError, Time),
}

/// What is known of the cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    config: Resolved,
    nodes: BTreeMap<Node, String>,
    /// As metadata names it: the controller, or, in KRaft, a broker that passes on what is meant for it.
    controller: Option<Node>,
    /// Answers about metadata since it was last forgotten.
    learned: u32,
    topics: Vec<Known>,
    names: HashMap<String, Topic>,
    coordinators: BTreeMap<Role, BTreeMap<String, Coordinator>>,
    /// The metadata request on its way.
    asking: Option<u64>,
    /// When metadata is asked for next.
    due: Time,
    not_before: Time,
    attempts: u32,
    searches: HashMap<u64, (Role, String)>,
    numbers: u64,
}

impl Cluster {
    pub(crate) fn new(config: Resolved) -> Self {
        let nodes = (1..)
            .zip(&config.bootstrap)
            .map(|(place, address): (Node, _)| (-place, address.clone()))
            .collect();
        Self {
            config,
            nodes,
            controller: None,
            learned: 0,
            topics: Vec::new(),
            names: HashMap::new(),
            coordinators: BTreeMap::new(),
            asking: None,
            due: Time::ZERO,
            not_before: Time::ZERO,
            attempts: 0,
            searches: HashMap::new(),
            numbers: 0,
        }
    }

    /// The topic of this name; it is asked for if it is new.
    pub(crate) fn topic(&mut self, name: &str, now: Time) -> Topic {
        if let Some(topic) = self.names.get(name) {
            return *topic;
        }
        let topic = Topic(u32::try_from(self.topics.len()).unwrap_or(u32::MAX));
        self.topics.push(Known {
            name: name.to_owned(),
            ..Known::default()
        });
        self.names.insert(name.to_owned(), topic);
        // It was never asked for, so no pause is due.
        self.due = self.due.min(now);
        self.not_before = self.not_before.min(now);
        topic
    }

    /// Forgets topics and coordinators, and asks for the brokers again: what comes next is of now.
    pub(crate) fn forget(&mut self, now: Time) {
        self.topics.clear();
        self.names.clear();
        self.coordinators.clear();
        self.controller = None;
        self.learned = 0;
        self.due = now;
        self.not_before = now;
    }

    /// How often metadata was learned since it was last forgotten.
    pub(crate) fn learned(&self) -> u32 {
        self.learned
    }

    /// Who takes changes of the cluster, once that is known.
    pub(crate) fn controller(&self) -> Option<Node> {
        self.controller
    }

    pub(crate) fn find(&self, name: &str) -> Option<Topic> {
        self.names.get(name).copied()
    }

    pub(crate) fn name(&self, topic: Topic) -> &str {
        self.topics
            .get(topic.index())
            .map_or("", |known| &known.name)
    }

    /// Its name as requests hold it.
    pub(crate) fn topic_name(&self, topic: Topic) -> TopicName {
        TopicName(text(self.name(topic)))
    }

    /// How many partitions it has; `None` until that is known.
    pub(crate) fn partitions(&self, topic: Topic) -> Option<i32> {
        let count = self.topics.get(topic.index())?.leaders.len();
        i32::try_from(count).ok().filter(|count| *count > 0)
    }

    /// Why the cluster does not have the topic, as it said last.
    pub(crate) fn missing(&self, topic: Topic) -> Option<ResponseError> {
        let known = self.topics.get(topic.index())?;
        known.error.filter(|_| known.leaders.is_empty())
    }

    pub(crate) fn leader(&self, topic: Topic, partition: i32) -> Option<Leader> {
        let partition = usize::try_from(partition).ok()?;
        let leader = *self.topics.get(topic.index())?.leaders.get(partition)?;
        leader.filter(|leader| leader.node >= 0)
    }

    pub(crate) fn address(&self, node: Node) -> Option<&str> {
        self.nodes.get(&node).map(String::as_str)
    }

    /// Brokers first, then the addresses that the client began with.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node> {
        let brokers = self.nodes.keys().copied().filter(|node| *node >= 0);
        let bootstrap = self.nodes.keys().rev().copied().filter(|node| *node < 0);
        brokers.chain(bootstrap)
    }

    /// Something does not fit what is known: ask again, after a pause.
    pub(crate) fn stale(&mut self, now: Time) {
        self.due = self.due.min(now.max(self.not_before));
    }

    /// A response named another leader.
    pub(crate) fn moved(&mut self, topic: Topic, partition: i32, leader: Leader) {
        if !self.nodes.contains_key(&leader.node) {
            return;
        }
        let place = usize::try_from(partition).ok().and_then(|partition| {
            let known = self.topics.get_mut(topic.index())?;
            known.leaders.get_mut(partition)
        });
        if let Some(known) = place
            && known.is_none_or(|known| leader.epoch > known.epoch)
        {
            *known = Some(leader);
        }
    }

    /// The coordinator of a group or of a transactional id; it is looked for if it is not known.
    pub(crate) fn coordinator(&mut self, role: Role, name: &str, now: Time) -> Option<Node> {
        let coordinators = self.coordinators.entry(role).or_default();
        match coordinators.get(name) {
            Some(Coordinator::Known(node)) => Some(*node),
            Some(Coordinator::Refused(_, until)) if now < *until => None,
            Some(Coordinator::Wanted { .. } | Coordinator::Asked { .. }) => None,
            Some(Coordinator::Refused(..)) | None => {
                let wanted = Coordinator::Wanted {
                    from: now,
                    attempts: 0,
                };
                coordinators.insert(name.to_owned(), wanted);
                None
            }
        }
    }

    /// Why there is no coordinator, and will be none.
    pub(crate) fn coordinator_refusal(&self, role: Role, name: &str) -> Option<Error> {
        let coordinators = self.coordinators.get(&role)?;
        let Coordinator::Refused(code, _) = coordinators.get(name)? else {
            return None;
        };
        let kind = match role {
            Role::Group => "group",
            Role::Transaction => "transactional id",
        };
        Some(Error::Broker {
            api: "FindCoordinator",
            place: format!("{kind} `{name}`"),
            code: *code,
        })
    }

    /// The coordinator is another one, or cannot be reached.
    pub(crate) fn coordinator_lost(&mut self, role: Role, name: &str, now: Time) {
        let coordinators = self.coordinators.entry(role).or_default();
        if let Some(coordinator) = coordinators.get_mut(name)
            && matches!(coordinator, Coordinator::Known(_))
        {
            *coordinator = Coordinator::Wanted {
                from: now + self.config.retry_backoff,
                attempts: 0,
            };
        }
    }

    /// When it wants to act next.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        let metadata = self.asking.is_none().then(|| self.due.max(self.not_before));
        let coordinators = self.coordinators.values().flat_map(BTreeMap::values);
        coordinators.fold(metadata, |next, coordinator| match coordinator {
            Coordinator::Wanted { from, .. } => earlier(next, Some(*from)),
            _ => next,
        })
    }

    pub(crate) fn step(&mut self, step: &mut Step<'_>) {
        if self.asking.is_none() && step.now >= self.due.max(self.not_before) {
            let request = self.metadata_request();
            let number = self.send(step, Call::Metadata(request));
            self.asking = Some(number);
        }
        let mut wanted = Vec::new();
        for (role, coordinators) in &mut self.coordinators {
            for (name, coordinator) in coordinators {
                if let Coordinator::Wanted { from, attempts } = *coordinator
                    && from <= step.now
                {
                    *coordinator = Coordinator::Asked { attempts };
                    wanted.push((*role, name.clone()));
                }
            }
        }
        for (role, name) in wanted {
            let request = FindCoordinatorRequest::default()
                .with_key_type(i8::from(role == Role::Transaction))
                .with_coordinator_keys(vec![text(&name)]);
            let number = self.send(step, Call::FindCoordinator(request));
            self.searches.insert(number, (role, name));
        }
    }

    fn metadata_request(&mut self) -> MetadataRequest {
        let mut topics = Vec::new();
        for topic in &mut self.topics {
            topic.asked = true;
            let name = TopicName(text(&topic.name));
            topics.push(MetadataRequestTopic::default().with_name(Some(name)));
        }
        MetadataRequest::default()
            .with_topics(Some(topics))
            .with_allow_auto_topic_creation(false)
    }

    fn send(&mut self, step: &mut Step<'_>, call: Call) -> u64 {
        self.numbers += 1;
        step.out.push(Outgoing {
            ticket: Ticket {
                owner: Owner::Cluster,
                number: self.numbers,
            },
            target: Target::Any,
            lane: Lane::Control,
            call,
            patience: self.config.request_timeout,
        });
        self.numbers
    }

    /// Takes the answer to one of its requests.
    pub(crate) fn answer(&mut self, number: u64, answer: Answer, now: Time) {
        if let Some(key) = self.searches.remove(&number) {
            self.found(key, answer, now);
            return;
        }
        if self.asking != Some(number) {
            return;
        }
        self.asking = None;
        match answer {
            Ok(Reply::Metadata(metadata)) => {
                if self.learn(metadata) {
                    self.attempts = 0;
                    self.not_before = now + self.config.retry_backoff;
                    self.due = now + self.config.metadata_max_age;
                } else {
                    self.ask_again(now);
                }
                if self.topics.iter().any(|topic| !topic.asked) {
                    self.due = now;
                    self.not_before = now;
                }
            }
            _ => self.ask_again(now),
        }
    }

    fn ask_again(&mut self, now: Time) {
        self.not_before = now + backoff(self.config.retry_backoff, self.attempts);
        self.due = self.not_before;
        self.attempts = self.attempts.saturating_add(1);
    }

    /// Takes over what is new; whether every topic has all its leaders.
    fn learn(&mut self, metadata: MetadataResponse) -> bool {
        self.learned = self.learned.saturating_add(1);
        let controller = metadata.controller_id.0;
        self.controller = Some(controller).filter(|controller| *controller >= 0);
        if !metadata.brokers.is_empty() {
            self.nodes.retain(|node, _| *node < 0);
        }
        for broker in metadata.brokers {
            let address = address(broker.host.as_str(), broker.port);
            self.nodes.insert(broker.node_id.0, address);
        }
        let mut complete = true;
        for topic in metadata.topics {
            let name = topic.name.as_ref().map_or("", |name| name.0.as_str());
            if let Some(known) = self
                .names
                .get(name)
                .and_then(|known| self.topics.get_mut(known.index()))
            {
                known.learn(&topic);
                complete &= known.error.is_none() && known.leaders.iter().all(is_led);
            }
        }
        complete
    }

    fn found(&mut self, (role, name): (Role, String), answer: Answer, now: Time) {
        let asked = self.coordinators.entry(role).or_default().get(&name);
        let attempts = match asked {
            Some(Coordinator::Asked { attempts }) => *attempts,
            _ => 0,
        };
        let found = match answer {
            Ok(Reply::FindCoordinator(response)) => self.coordinator_of(&response),
            _ => Err(None),
        };
        let pause = backoff(self.config.retry_backoff, attempts);
        let coordinator = match found {
            Ok(node) => Coordinator::Known(node),
            Err(Some(code)) if !code.is_retriable() => Coordinator::Refused(code, now + pause),
            Err(_) => Coordinator::Wanted {
                from: now + pause,
                attempts: attempts + 1,
            },
        };
        let coordinators = self.coordinators.entry(role).or_default();
        coordinators.insert(name, coordinator);
    }

    fn coordinator_of(
        &mut self,
        response: &FindCoordinatorResponse,
    ) -> Result<Node, Option<ResponseError>> {
        let found = response.coordinators.first().ok_or(None)?;
        if found.error_code != 0 {
            return Err(ResponseError::try_from_code(found.error_code));
        }
        let address = address(found.host.as_str(), found.port);
        self.nodes.entry(found.node_id.0).or_insert(address);
        Ok(found.node_id.0)
    }
}

fn address(host: &str, port: i32) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// What requests list by topic.
pub(crate) fn by_topic<T>(items: impl Iterator<Item = (Topic, T)>) -> BTreeMap<Topic, Vec<T>> {
    let mut topics: BTreeMap<Topic, Vec<T>> = BTreeMap::new();
    for (topic, item) in items {
        topics.entry(topic).or_default().push(item);
    }
    topics
}

fn is_led(leader: &Option<Leader>) -> bool {
    leader.is_some_and(|leader| leader.node >= 0)
}

impl Known {
    fn learn(&mut self, topic: &MetadataResponseTopic) {
        self.error = ResponseError::try_from_code(topic.error_code);
        if self.error.is_some() {
            return;
        }
        let id = *topic.topic_id.as_bytes();
        if self.id != id {
            // Another topic of the same name: its epochs begin anew.
            self.id = id;
            self.leaders.clear();
        }
        let count = topic.partitions.len().max(self.leaders.len());
        self.leaders.resize(count, None);
        for partition in &topic.partitions {
            let place = usize::try_from(partition.partition_index).ok();
            let Some(known) = place.and_then(|place| self.leaders.get_mut(place)) else {
                continue;
            };
            let (node, epoch) = (partition.leader_id.0, partition.leader_epoch);
            if known.is_none_or(|known| epoch >= known.epoch) {
                *known = Some(Leader { node, epoch });
            }
        }
    }
}
