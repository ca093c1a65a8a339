import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The Java AdminClient, as a web interface for clusters uses it: it asks for everything that can be described, of brokers, topics, groups,
 * transactions and quotas, and changes a topic. A group and a transaction are open meanwhile.
 */
public final class Describe {
    private final Admin admin;
    private final Properties settings;
    private final String topic = fresh("shown");
    private final String group = fresh("readers");
    private final String transaction = fresh("copier");
    private boolean failed;

    private Describe(String brokers) {
        settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        admin = Admin.create(settings);
    }

    public static void main(String[] arguments) throws Exception {
        Describe describe = new Describe(arguments[0]);
        long began = System.nanoTime();
        describe.run();
        double seconds = (System.nanoTime() - began) / 1e9;
        String outcome = describe.failed ? "FAILED" : "ok";
        System.out.printf("%-7sadmin %s: everything is described (%.1f s)%n", outcome, arguments[1], seconds);
        System.exit(describe.failed ? 1 : 0);
    }

    private static String fresh(String word) {
        return word + "-" + UUID.randomUUID().toString().substring(0, 8);
    }

    /** One question; what fails is told, and the others are asked all the same. */
    private void check(String what, Callable<Boolean> question) {
        try {
            if (question.call()) {
                return;
            }
            System.err.println(what + ": the answer is not what was wanted");
        } catch (Exception problem) {
            System.err.println(what + ": " + problem);
        }
        failed = true;
    }

    private Properties client(Map<String, String> more) {
        Properties client = new Properties();
        client.putAll(settings);
        client.putAll(more);
        return client;
    }

    private void run() throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1))).all().get();
        Map<String, String> reading = Map.of("group.id", group, "auto.offset.reset", "earliest", "client.id", "reader");
        Map<String, String> writing = Map.of("transactional.id", transaction);
        try (var producer = new KafkaProducer<>(client(writing), new StringSerializer(), new StringSerializer());
                var consumer = new KafkaConsumer<>(client(reading), new StringDeserializer(), new StringDeserializer())) {
            producer.initTransactions();
            producer.beginTransaction();
            for (int record = 0; record < 30; record++) {
                producer.send(new ProducerRecord<>(topic, record % 3, "key", "value " + record));
            }
            producer.commitTransaction();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, 0, "key", "open")).get();
            consumer.subscribe(List.of(topic));
            List<String> values = new ArrayList<>();
            while (values.size() < 30) {
                consumer.poll(java.time.Duration.ofMillis(100)).forEach(record -> values.add(record.value()));
            }
            consumer.commitSync();
            brokers();
            topics();
            groups();
            transactions();
            producer.abortTransaction();
        }
        changes();
    }

    private void brokers() throws Exception {
        Collection<Node> nodes = admin.describeCluster().nodes().get();
        List<Integer> ids = nodes.stream().map(Node::id).toList();
        check("cluster", () -> admin.describeCluster().clusterId().get().length() > 10 && nodes.contains(admin.describeCluster().controller().get()));
        List<ConfigResource> resources = ids.stream().map(id -> new ConfigResource(ConfigResource.Type.BROKER, id.toString())).toList();
        check("configs of brokers", () -> admin.describeConfigs(resources).all().get().values().stream()
            .allMatch(config -> config.get("message.max.bytes") != null && config.get("log.retention.ms") != null));
        check("folders of logs", () -> admin.describeLogDirs(ids).allDescriptions().get().values().stream()
            .flatMap(folders -> folders.values().stream())
            .anyMatch(folder -> folder.replicaInfos().containsKey(new TopicPartition(topic, 0))));
        check("features", () -> admin.describeFeatures().featureMetadata().get().finalizedFeatures().containsKey("transaction.version"));
        check("quotas", () -> admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get() != null);
        check("users", () -> admin.describeUserScramCredentials().all().get() != null);
    }

    private void topics() throws Exception {
        check("list of topics", () -> admin.listTopics().names().get().contains(topic));
        Map<String, TopicDescription> described = admin.describeTopics(Set.of(topic)).allTopicNames().get();
        TopicDescription description = described.get(topic);
        check("partitions", () -> description.partitions().size() == 3
            && description.partitions().stream().allMatch(each -> each.leader() != null && each.isr().size() == 1));
        check("a topic by its id", () -> admin.describeTopics(org.apache.kafka.common.TopicCollection.ofTopicIds(Set.of(description.topicId())))
            .allTopicIds().get().get(description.topicId()).name().equals(topic));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        check("configs of a topic", () -> admin.describeConfigs(List.of(resource), new org.apache.kafka.clients.admin.DescribeConfigsOptions()
            .includeSynonyms(true).includeDocumentation(true)).all().get().get(resource).entries().size() > 25);
        for (OffsetSpec spec : List.of(OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.maxTimestamp(), OffsetSpec.forTimestamp(0))) {
            Map<TopicPartition, OffsetSpec> wanted = Map.of(new TopicPartition(topic, 1), spec);
            check("offsets by " + spec.getClass().getSimpleName(), () -> {
                ListOffsetsResultInfo found = admin.listOffsets(wanted).all().get().get(new TopicPartition(topic, 1));
                return found.offset() >= 0 && found.offset() <= 11;
            });
        }
        check("producers", () -> admin.describeProducers(Set.of(new TopicPartition(topic, 0))).all().get().get(new TopicPartition(topic, 0))
            .activeProducers().stream().anyMatch(each -> each.currentTransactionStartOffset().isPresent()));
    }

    private void groups() {
        check("list of groups", () -> admin.listGroups().all().get().stream().anyMatch(each -> each.groupId().equals(group)));
        check("a group and its members", () -> {
            var found = admin.describeConsumerGroups(Set.of(group)).all().get().get(group);
            var members = found.members().stream().toList();
            return members.size() == 1 && members.get(0).clientId().equals("reader") && members.get(0).assignment().topicPartitions().size() == 3;
        });
        check("offsets of a group", () -> admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().values().stream()
            .collect(Collectors.summingLong(OffsetAndMetadata::offset)) >= 30);
    }

    private void transactions() {
        check("list of transactions", () -> admin.listTransactions().all().get().stream().anyMatch(each -> each.transactionalId().equals(transaction)));
        check("a transaction", () -> {
            var found = admin.describeTransactions(Set.of(transaction)).all().get().get(transaction);
            return found.state().toString().equals("Ongoing") && found.topicPartitions().contains(new TopicPartition(topic, 0));
        });
    }

    private void changes() {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        AlterConfigOp alter = new AlterConfigOp(new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET);
        check("a config is altered", () -> admin.incrementalAlterConfigs(Map.of(resource, List.of(alter))).all().get() == null);
        check("partitions are added", () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get() == null);
        TopicPartition first = new TopicPartition(topic, 0);
        check("records are deleted", () -> admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(5))).all().get() == null
            && admin.listOffsets(Map.of(first, OffsetSpec.earliest())).all().get().get(first).offset() == 5);
        check("offsets are altered", () -> admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(7))).all().get() == null);
        check("offsets are deleted", () -> admin.deleteConsumerGroupOffsets(group, Set.of(first)).all().get() == null);
        check("the group is deleted", () -> admin.deleteConsumerGroups(Set.of(group)).all().get() == null);
        check("the topic is deleted", () -> admin.deleteTopics(Set.of(topic)).all().get() == null);
    }
}
