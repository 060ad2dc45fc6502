import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.sun.management.OperatingSystemMXBean;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The job by Kafka Streams, exactly_once_v2: one processor with a RocksDB store behind a cache, and its changelog.
 *
 * <p>Its buffers: a cache of 128 MB for the store, 10,000 records buffered for each partition, 10,000 a poll, producer
 * batches of 256 KB with lz4; the rest is as Kafka Streams sets it. It is measured from the first record to the end of
 * close(), which commits. With COUNT 0 it runs until it is told to end.
 *
 * <p>Usage: StreamsJob BOOTSTRAP NAME TOPIC TRIGGERS COUNT JOB_FILE STATE_DIRECTORY COMMIT_MS THREADS
 */
public final class StreamsJob {
  static final String STORE = "voters";
  static final ObjectMapper MAPPER = new ObjectMapper();
  static final ObjectReader READER = MAPPER.readerFor(Event.class);

  static final AtomicLong EVENTS = new AtomicLong();
  static final AtomicLong TRIGGERS = new AtomicLong();
  static final CountDownLatch DONE = new CountDownLatch(1);
  static volatile long wall;
  static volatile long cpu;
  static long count;

  /** What is read of a CloudEvent. */
  @JsonIgnoreProperties(ignoreUnknown = true)
  public static final class Event {
    public String id;
    public String type;
    public String subject;
    public String time;
  }

  private StreamsJob() {}

  /** Runs it, and prints what was measured. */
  public static void main(String[] arguments) throws Exception {
    count = Long.parseLong(arguments[4]);
    JsonNode document = MAPPER.readTree(new File(arguments[5]));
    Scoring scoring = document.has("campaigns") ? new Campaigns(document) : new Activity(document);
    KafkaStreams streams = new KafkaStreams(topology(arguments[2], arguments[3], scoring), settings(arguments));
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          Runtime.getRuntime().halt(3);
          return StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
    streams.start();
    DONE.await();
    long processed = System.nanoTime();
    streams.close();
    long closed = System.nanoTime();
    System.err.printf("closing took %d ms%n", (closed - processed) / 1_000_000);
    System.out.println(
        MAPPER.writeValueAsString(
            Map.of(
                "events", EVENTS.get(),
                "triggers", TRIGGERS.get(),
                "wall_seconds", (closed - wall) / 1e9,
                "cpu_seconds", (processCpu() - cpu) / 1e9)));
  }

  static long processCpu() {
    return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
  }

  static Properties settings(String[] arguments) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[1]);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[6]);
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, arguments[7]);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, arguments[8]);
    settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 128L * 1024 * 1024);
    settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
    settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
    settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 * 1024);
    return settings;
  }

  static Topology topology(String topic, String triggers, Scoring scoring) {
    var bytes = Serdes.ByteArray();
    var store =
        Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(STORE), Serdes.String(), bytes)
            .withCachingEnabled()
            .withLoggingEnabled(Map.of());
    return new Topology()
        .addSource("events", bytes.deserializer(), bytes.deserializer(), topic)
        .addProcessor("engagement", () -> new Engagement(scoring), "events")
        .addStateStore(store, "engagement")
        .addSink("triggers", triggers, bytes.serializer(), bytes.serializer(), "engagement");
  }

  /** What a job does with one event of a voter. */
  interface Scoring {
    /** Takes an event into the record (null: the voter's first); adds its triggers; returns the record. */
    byte[] take(byte[] record, Event event, double at, double now, List<Map<String, Object>> triggers);
  }

  /** Reads an event, takes it into its voter's record, and sends its triggers. */
  static final class Engagement implements Processor<byte[], byte[], byte[], byte[]> {
    private final Scoring scoring;
    private final List<Map<String, Object>> triggers = new java.util.ArrayList<>();
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<String, byte[]> voters;

    Engagement(Scoring scoring) {
      this.scoring = scoring;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
      this.context = context;
      this.voters = context.getStateStore(STORE);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      try {
        Event event = READER.readValue(record.value());
        if (event.subject == null) {
          return; // a control record
        }
        if (wall == 0) {
          cpu = processCpu();
          wall = System.nanoTime();
        }
        double at = Instant.parse(event.time).toEpochMilli();
        voters.put(event.subject, scoring.take(voters.get(event.subject), event, at, record.timestamp(), triggers));
        for (Map<String, Object> trigger : triggers) {
          context.forward(new Record<>(record.key(), MAPPER.writeValueAsBytes(trigger), record.timestamp()));
          TRIGGERS.incrementAndGet();
        }
        triggers.clear();
        if (EVENTS.incrementAndGet() == count) {
          DONE.countDown();
        }
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
  }
}
