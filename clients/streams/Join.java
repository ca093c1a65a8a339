import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Kafka Streams: calls are joined with a table of customers, a compacted topic, under each guarantee. The application is closed and
 * started without its state after the table has changed: new calls meet the new customers. With exactly-once each call is in the
 * output once.
 */
public final class Join {
    private static final int CALLS = 300;
    private static final int CUSTOMERS = 20;

    private final String brokers;
    private final String guarantee;
    private final String customers = fresh("customers");
    private final String calls = fresh("calls");
    private final String output = fresh("joined");
    private final String application = fresh("join");
    /** How often each joined value was seen. */
    private final Map<String, Integer> seen = new HashMap<>();

    private Join(String brokers, String guarantee) {
        this.brokers = brokers;
        this.guarantee = guarantee;
    }

    public static void main(String[] arguments) {
        boolean failed = false;
        for (String guarantee : List.of(StreamsConfig.AT_LEAST_ONCE, StreamsConfig.EXACTLY_ONCE_V2)) {
            long began = System.nanoTime();
            String outcome = "ok";
            try {
                new Join(arguments[0], guarantee).run();
            } catch (Exception | AssertionError problem) {
                problem.printStackTrace();
                outcome = "FAILED";
                failed = true;
            }
            double seconds = (System.nanoTime() - began) / 1e9;
            System.out.printf("%-7sstreams %s: a stream is joined with a table %s (%.1f s)%n", outcome, arguments[1], guarantee, seconds);
        }
        System.exit(failed ? 1 : 0);
    }

    private static String fresh(String word) {
        return word + "-" + UUID.randomUUID().toString().substring(0, 8);
    }

    private Properties client() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        return settings;
    }

    private void run() throws Exception {
        try (Admin admin = Admin.create(client())) {
            Map<String, String> compacted = Map.of(TopicConfig.CLEANUP_POLICY_CONFIG, TopicConfig.CLEANUP_POLICY_COMPACT);
            NewTopic table = new NewTopic(customers, 2, (short) 1).configs(compacted);
            admin.createTopics(List.of(table, new NewTopic(calls, 2, (short) 1), new NewTopic(output, 2, (short) 1))).all().get();
        }
        Properties reading = client();
        reading.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        reading.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        try (var reader = new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer())) {
            reader.assign(List.of(new TopicPartition(output, 0), new TopicPartition(output, 1)));
            for (int round = 1; round <= 2; round++) {
                round(reader, round);
            }
        }
        if (guarantee.equals(StreamsConfig.EXACTLY_ONCE_V2)) {
            seen.forEach((value, times) -> {
                if (times != 1) {
                    throw new AssertionError(value + " is in the output " + times + " times");
                }
            });
        }
    }

    /** Changes the table, lets an application without state of its own start, sends calls, and waits until all are joined. */
    private void round(KafkaConsumer<String, String> reader, int round) throws Exception {
        try (var producer = new KafkaProducer<>(client(), new StringSerializer(), new StringSerializer())) {
            for (int customer = 0; customer < CUSTOMERS; customer++) {
                producer.send(new ProducerRecord<>(customers, "c" + customer, "name " + customer + " of round " + round));
            }
            producer.flush();
            // Later by their time: Streams takes the oldest record of its inputs first.
            long now = System.currentTimeMillis() + 1;
            for (int call = 0; call < CALLS; call++) {
                producer.send(new ProducerRecord<>(calls, null, now, "c" + call % CUSTOMERS, round + "/" + call));
            }
        }
        Path state = Files.createTempDirectory("join");
        KafkaStreams streams = new KafkaStreams(topology(), settings(state));
        streams.start();
        try {
            long deadline = System.nanoTime() + Duration.ofSeconds(120).toNanos();
            while (!complete(round)) {
                if (System.nanoTime() > deadline) {
                    throw new AssertionError("round " + round + ": " + seen.size() + " calls are joined");
                }
                for (ConsumerRecord<String, String> record : reader.poll(Duration.ofMillis(100))) {
                    seen.merge(record.value(), 1, Integer::sum);
                }
            }
        } finally {
            streams.close();
            streams.cleanUp();
            state.toFile().delete();
        }
    }

    private boolean complete(int round) {
        for (int call = 0; call < CALLS; call++) {
            if (!seen.containsKey(round + "/" + call + " by name " + call % CUSTOMERS + " of round " + round)) {
                return false;
            }
        }
        return true;
    }

    private Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        KTable<String, String> table = builder.table(customers, Consumed.with(Serdes.String(), Serdes.String()));
        KStream<String, String> stream = builder.stream(calls, Consumed.with(Serdes.String(), Serdes.String()));
        stream
            .join(table, (call, name) -> call + " by " + name, Joined.with(Serdes.String(), Serdes.String(), Serdes.String()))
            .to(output, Produced.with(Serdes.String(), Serdes.String()));
        return builder.build();
    }

    private Properties settings(Path state) {
        Properties settings = client();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        // Streams waits for records of all inputs before it takes one, so that the table is ahead of the calls.
        settings.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, 5000L);
        // Streams does not leave its group when it is closed: the next round begins when the session has ended.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 1000);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        return settings;
    }
}
