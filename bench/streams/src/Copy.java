import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;

/** The copy service on Kafka Streams: parses a JSON value into an object, serialises it, produces it, at least once. */
public final class Copy {
    /** The twin of Reading in bench/src/reading.rs. */
    @JsonPropertyOrder({"id", "sensor", "sent", "value", "unit", "state"})
    public static final class Reading {
        public long id;
        public String sensor;
        public long sent;
        public double value;
        public String unit;
        public String state;
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i], arguments[i + 1]);
        }
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(options.get("--input"), Consumed.with(Serdes.ByteArray(), json()))
            .to(options.get("--output"), Produced.with(Serdes.ByteArray(), json()));
        Path state = Files.createTempDirectory("copy");
        KafkaStreams streams = new KafkaStreams(builder.build(), settings(options, state));
        CountDownLatch ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            System.exit(1);
            return null;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            streams.cleanUp();
            // What is left by then is empty; what is not, is not ours to remove.
            state.toFile().delete();
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }

    /** The settings of the other peers; what they do not name is Kafka Streams' default. */
    private static Properties settings(Map<String, String> options, Path state) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, options.get("--group"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.get("--brokers"));
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, options.get("--threads"));
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, options.get("--commit-ms"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), options.get("--linger-ms"));
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.ACKS_CONFIG), "all");
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG), "true");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        return settings;
    }

    private static Serde<Reading> json() {
        ObjectMapper mapper = new ObjectMapper();
        ObjectWriter writer = mapper.writerFor(Reading.class);
        ObjectReader reader = mapper.readerFor(Reading.class);
        return Serdes.serdeFrom(
            (topic, reading) -> {
                try {
                    return writer.writeValueAsBytes(reading);
                } catch (IOException error) {
                    throw new UncheckedIOException(error);
                }
            },
            (topic, bytes) -> {
                try {
                    return reader.readValue(bytes);
                } catch (IOException error) {
                    throw new UncheckedIOException(error);
                }
            });
    }
}
