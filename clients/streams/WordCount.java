import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
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
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Kafka Streams: words are counted under each guarantee, by an application that is closed, loses its state, restores it
 * from its changelog and counts on. With exactly-once, a reader of committed records sees each count once and in order.
 */
public final class WordCount {
    private static final int ROUNDS = 2;
    private static final int LINES = 300;
    private static final String[] WORDS = {"ground", "by", "the", "mill", "by", "the", "stream"};

    private final String brokers;
    private final String guarantee;
    private final String input = fresh("words");
    private final String output = fresh("counts");
    private final String application = fresh("word-count");
    private final Map<String, List<Long>> seen = new HashMap<>();

    private WordCount(String brokers, String guarantee) {
        this.brokers = brokers;
        this.guarantee = guarantee;
    }

    public static void main(String[] arguments) {
        boolean failed = false;
        for (String guarantee : List.of(StreamsConfig.AT_LEAST_ONCE, StreamsConfig.EXACTLY_ONCE_V2)) {
            long began = System.nanoTime();
            String outcome = "ok";
            try {
                new WordCount(arguments[0], guarantee).run();
            } catch (Exception | AssertionError problem) {
                problem.printStackTrace();
                outcome = "FAILED";
                failed = true;
            }
            double seconds = (System.nanoTime() - began) / 1e9;
            System.out.printf("%-7sstreams %s: words are counted %s (%.1f s)%n", outcome, arguments[1], guarantee, seconds);
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
            List<NewTopic> topics = List.of(new NewTopic(input, 2, (short) 1), new NewTopic(output, 2, (short) 1));
            admin.createTopics(topics).all().get();
        }
        Properties reading = client();
        reading.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        reading.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        try (var reader = new KafkaConsumer<>(reading, new StringDeserializer(), new LongDeserializer())) {
            reader.assign(List.of(new TopicPartition(output, 0), new TopicPartition(output, 1)));
            for (int round = 1; round <= ROUNDS; round++) {
                round(reader, round);
            }
        }
        if (guarantee.equals(StreamsConfig.EXACTLY_ONCE_V2)) {
            seen.forEach(WordCount::increasesByOne);
        }
    }

    /** Sends lines and runs an application without any state of its own until every word has its count. */
    private void round(KafkaConsumer<String, Long> reader, int round) throws Exception {
        try (var producer = new KafkaProducer<>(client(), new StringSerializer(), new StringSerializer())) {
            for (int line = 0; line < LINES; line++) {
                producer.send(new ProducerRecord<>(input, Integer.toString(line), String.join(" ", WORDS)));
            }
        }
        Map<String, Long> wanted = new HashMap<>();
        for (String word : WORDS) {
            wanted.merge(word, (long) LINES * round, Long::sum);
        }
        Path state = Files.createTempDirectory("word-count");
        KafkaStreams streams = new KafkaStreams(topology(), settings(state));
        streams.start();
        try {
            Map<String, Long> found = new HashMap<>();
            long deadline = System.nanoTime() + Duration.ofSeconds(120).toNanos();
            while (!found.equals(wanted)) {
                if (System.nanoTime() > deadline) {
                    throw new AssertionError("round " + round + ": wanted " + wanted + ", found " + found);
                }
                for (ConsumerRecord<String, Long> record : reader.poll(Duration.ofMillis(100))) {
                    seen.computeIfAbsent(record.key(), word -> new ArrayList<>()).add(record.value());
                }
                seen.forEach((word, counts) -> found.put(word, counts.get(counts.size() - 1)));
            }
        } finally {
            streams.close();
            streams.cleanUp();
            state.toFile().delete();
        }
    }

    private org.apache.kafka.streams.Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(input, Consumed.with(Serdes.String(), Serdes.String()))
            .flatMap((key, line) -> {
                List<KeyValue<String, String>> words = new ArrayList<>();
                for (String word : line.split(" ")) {
                    words.add(KeyValue.pair(word, word));
                }
                return words;
            })
            .groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
            .count()
            .toStream()
            .to(output, Produced.with(Serdes.String(), Serdes.Long()));
        return builder.build();
    }

    private Properties settings(Path state) {
        Properties settings = client();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        // Streams does not leave its group when it is closed: the next round begins when the session has ended.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 1000);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        return settings;
    }

    private static void increasesByOne(String word, List<Long> counts) {
        for (int place = 0; place < counts.size(); place++) {
            if (counts.get(place) != place + 1) {
                throw new AssertionError(word + ": count " + (place + 1) + " is " + counts.get(place));
            }
        }
    }
}
