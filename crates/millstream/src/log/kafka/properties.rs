//! The names of librdkafka's properties (2.12), which role each belongs to, and which of them are secret.
//!
//! librdkafka knows its names but does not list them without unsafe code, and it only warns when a consumer
//! gets a producer's property. With the names here a misspelt property is answered with the nearest known one,
//! and each client gets only its own. A test holds the list against the library that is linked.

/// Properties of every client.
const COMMON: &str = "allow.auto.create.topics api.version.fallback.ms api.version.request \
    api.version.request.timeout.ms broker.address.family broker.address.ttl broker.version.fallback \
    client.dns.lookup client.id client.rack connections.max.idle.ms debug enable.metrics.push \
    enable.random.seed enable.sasl.oauthbearer.unsecure.jwt enable.ssl.certificate.verification \
    https.ca.location https.ca.pem internal.termination.signal log.connection.close log.queue \
    log.thread.name log_level max.in.flight max.in.flight.requests.per.connection \
    message.copy.max.bytes message.max.bytes metadata.max.age.ms metadata.recovery.rebootstrap.trigger.ms \
    metadata.recovery.strategy plugin.library.paths receive.message.max.bytes reconnect.backoff.max.ms \
    reconnect.backoff.ms retry.backoff.max.ms retry.backoff.ms \
    sasl.kerberos.keytab sasl.kerberos.kinit.cmd sasl.kerberos.min.time.before.relogin \
    sasl.kerberos.principal sasl.kerberos.service.name sasl.mechanism sasl.mechanisms \
    sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.claim.aud \
    sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.iss \
    sasl.oauthbearer.assertion.claim.jti.include sasl.oauthbearer.assertion.claim.nbf.seconds \
    sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file \
    sasl.oauthbearer.assertion.jwt.template.file sasl.oauthbearer.assertion.private.key.file \
    sasl.oauthbearer.assertion.private.key.passphrase sasl.oauthbearer.assertion.private.key.pem \
    sasl.oauthbearer.client.credentials.client.id sasl.oauthbearer.client.credentials.client.secret \
    sasl.oauthbearer.client.id sasl.oauthbearer.client.secret sasl.oauthbearer.config \
    sasl.oauthbearer.extensions sasl.oauthbearer.grant.type \
    sasl.oauthbearer.metadata.authentication.type sasl.oauthbearer.method sasl.oauthbearer.scope \
    sasl.oauthbearer.token.endpoint.url sasl.password sasl.username security.protocol \
    socket.blocking.max.ms socket.connection.setup.timeout.ms socket.keepalive.enable socket.max.fails \
    socket.nagle.disable socket.receive.buffer.bytes socket.send.buffer.bytes socket.timeout.ms \
    ssl.ca.certificate.stores ssl.ca.location ssl.ca.pem ssl.certificate.location ssl.certificate.pem \
    ssl.cipher.suites ssl.crl.location ssl.curves.list ssl.endpoint.identification.algorithm \
    ssl.engine.id ssl.engine.location ssl.key.location ssl.key.password ssl.key.pem \
    ssl.keystore.location ssl.keystore.password ssl.providers ssl.sigalgs.list statistics.interval.ms \
    topic.blacklist topic.metadata.propagation.max.ms topic.metadata.refresh.fast.cnt \
    topic.metadata.refresh.fast.interval.ms topic.metadata.refresh.interval.ms \
    topic.metadata.refresh.sparse";

/// Properties that only a consumer takes.
const CONSUMER: &str = "auto.commit.enable auto.commit.interval.ms auto.offset.reset check.crcs \
    consume.callback.max.messages coordinator.query.interval.ms enable.auto.commit \
    enable.auto.offset.store enable.partition.eof fetch.error.backoff.ms fetch.max.bytes \
    fetch.message.max.bytes fetch.min.bytes fetch.queue.backoff.ms fetch.wait.max.ms group.id \
    group.instance.id group.protocol group.protocol.type group.remote.assignor heartbeat.interval.ms \
    isolation.level max.partition.fetch.bytes max.poll.interval.ms offset.store.method \
    offset.store.path offset.store.sync.interval.ms partition.assignment.strategy \
    queued.max.messages.kbytes queued.min.messages session.timeout.ms";

/// Properties that only a producer takes.
const PRODUCER: &str = "acks batch.num.messages batch.size compression.codec compression.level \
    compression.type delivery.report.only.error delivery.timeout.ms enable.gapless.guarantee \
    enable.idempotence linger.ms message.send.max.retries message.timeout.ms partitioner \
    produce.offset.report queue.buffering.backpressure.threshold queue.buffering.max.kbytes \
    queue.buffering.max.messages queue.buffering.max.ms queuing.strategy request.required.acks \
    request.timeout.ms retries sticky.partitioning.linger.ms transaction.timeout.ms transactional.id";

/// Words that make a property's value a secret, whatever else its name holds: a misspelt name still counts.
const SECRET_WORDS: [&str; 11] = [
    "assertion",
    "jaas",
    "key.location",
    "key.pem",
    "keytab",
    "oauthbearer.config",
    "pass",
    "pasword",
    "secret",
    "token",
    "username",
];

/// Which client a property belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Common,
    Consumer,
    Producer,
}

/// The side of a known property, `None` for an unknown one.
pub(crate) fn side_of(name: &str) -> Option<Side> {
    let holds = |list: &'static str| list.split_ascii_whitespace().any(|known| known == name);
    if holds(COMMON) {
        Some(Side::Common)
    } else if holds(CONSUMER) {
        Some(Side::Consumer)
    } else if holds(PRODUCER) {
        Some(Side::Producer)
    } else {
        None
    }
}

/// Whether the value of `name` must never be shown.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// The known property that `name` was probably meant to be.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], ".");
    let wanted = plain(name);
    let limit = (wanted.len() / 4).max(2);
    known()
        .map(|candidate| (strsim::osa_distance(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

fn known() -> impl Iterator<Item = &'static str> {
    [COMMON, CONSUMER, PRODUCER]
        .into_iter()
        .flat_map(str::split_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use rdkafka::config::ClientConfig;
    use rdkafka::error::KafkaError;
    use rdkafka::types::RDKafkaConfRes;

    use super::{is_secret, known, nearest};

    #[test]
    fn librdkafka_knows_every_listed_name() {
        let unknown: Vec<&str> = known()
            .filter(|name| {
                let outcome = ClientConfig::new().set(*name, "?").create_native_config();
                matches!(
                    outcome,
                    Err(KafkaError::ClientConfig(
                        RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN,
                        ..
                    ))
                )
            })
            .collect();
        assert_eq!(unknown, Vec::<&str>::new());
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        assert_eq!(nearest("sasl.pasword"), Some("sasl.password"));
        assert_eq!(nearest("LINGER_MS"), Some("linger.ms"));
        assert_eq!(nearest("session.timeout"), Some("session.timeout.ms"));
        assert_eq!(nearest("colour"), None);
    }

    #[test]
    fn secrets_are_known_by_their_names_even_misspelt() {
        for name in [
            "sasl.password",
            "sasl.pasword",
            "ssl.key.pem",
            "SASL.USERNAME",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "security.protocol",
            "client.id",
            "compression.type",
            "message.max.bytes",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
