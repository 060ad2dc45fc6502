import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Models over decayed counts, and the campaigns that watch them; consent and erasure are heeded. */
final class Campaigns implements StreamsJob.Scoring {
  private static final int UNKNOWN = 0;
  private static final int GRANTED = 1;
  private static final int WITHDRAWN = 2;
  private static final int ERASED = 3;
  private static final Map<String, Integer> CONSENTS =
      Map.of("consent.granted", GRANTED, "consent.withdrawn", WITHDRAWN, "privacy.erased", ERASED);
  private static final int[] NONE = {};

  private record Model(String name, boolean logistic, double bias, double slope, double intercept, int[] places,
      double[] weights) {
    double score(double[] counts) {
      double z = bias;
      for (int w = 0; w < places.length; w++) {
        z += weights[w] * counts[places[w]];
      }
      z = slope * z + intercept;
      return logistic ? 1.0 / (1.0 + Math.exp(-z)) : z;
    }
  }

  private record Campaign(String name, int model, double sign, double threshold, double rearm, double cooldown) {}

  private final double[] halfLives;
  private final int[] halfLife;
  private final Map<String, int[]> placesOfType = new HashMap<>();
  private final Model[] models;
  private final Campaign[] campaigns;
  private final int size;

  Campaigns(JsonNode document) {
    halfLives = numbers(document.get("half_lives_ms"));
    JsonNode counts = document.get("counts");
    halfLife = new int[counts.size()];
    for (int c = 0; c < halfLife.length; c++) {
      halfLife[c] = counts.get(c).get("half_life").asInt();
      placesOfType.merge(counts.get(c).get("type").asText(), new int[] {c}, Campaigns::join);
    }
    models = new Model[document.get("models").size()];
    for (int m = 0; m < models.length; m++) {
      JsonNode of = document.get("models").get(m);
      double[] places = numbers(of.get("places"));
      models[m] = new Model(of.get("name").asText(), of.get("logistic").asBoolean(), of.get("bias").asDouble(),
          of.get("slope").asDouble(), of.get("intercept").asDouble(),
          java.util.Arrays.stream(places).mapToInt(place -> (int) place).toArray(), numbers(of.get("weights")));
    }
    campaigns = new Campaign[document.get("campaigns").size()];
    for (int k = 0; k < campaigns.length; k++) {
      JsonNode of = document.get("campaigns").get(k);
      campaigns[k] = new Campaign(of.get("name").asText(), of.get("model").asInt(),
          of.get("upward").asBoolean() ? 1.0 : -1.0, of.get("threshold").asDouble(), of.get("rearm").asDouble(),
          of.get("cooldown_ms").asDouble());
    }
    size = 2 + 8 * (1 + halfLife.length) + 9 * campaigns.length;
  }

  private static double[] numbers(JsonNode array) {
    double[] found = new double[array.size()];
    for (int place = 0; place < found.length; place++) {
      found[place] = array.get(place).asDouble();
    }
    return found;
  }

  private static int[] join(int[] one, int[] other) {
    return java.util.stream.IntStream.concat(java.util.Arrays.stream(one), java.util.Arrays.stream(other)).toArray();
  }

  /** A record, taken apart. */
  private final class Voter {
    int consent = UNKNOWN;
    boolean seen;
    double last;
    final double[] counts = new double[halfLife.length];
    final boolean[] armed = new boolean[campaigns.length];
    final double[] fired = new double[campaigns.length];

    Voter(byte[] record) {
      if (record == null) {
        return;
      }
      ByteBuffer kept = ByteBuffer.wrap(record);
      consent = kept.get();
      seen = kept.get() != 0;
      last = kept.getDouble();
      for (int c = 0; c < counts.length; c++) {
        counts[c] = kept.getDouble();
      }
      for (int k = 0; k < armed.length; k++) {
        armed[k] = kept.get() != 0;
        fired[k] = kept.getDouble();
      }
    }

    byte[] bytes() {
      ByteBuffer kept = ByteBuffer.allocate(size).put((byte) consent).put((byte) (seen ? 1 : 0)).putDouble(last);
      for (double count : counts) {
        kept.putDouble(count);
      }
      for (int k = 0; k < armed.length; k++) {
        kept.put((byte) (armed[k] ? 1 : 0)).putDouble(fired[k]);
      }
      return kept.array();
    }

    void erase() {
      seen = false;
      java.util.Arrays.fill(counts, 0.0);
      java.util.Arrays.fill(armed, false);
      java.util.Arrays.fill(fired, 0.0);
    }
  }

  @Override
  public byte[] take(
      byte[] record, StreamsJob.Event event, double at, double now, List<Map<String, Object>> triggers) {
    Voter voter = new Voter(record);
    Integer consent = CONSENTS.get(event.type);
    if (voter.consent == ERASED || (consent == null && voter.consent == WITHDRAWN)) {
      return record;
    }
    if (consent != null) {
      voter.consent = consent;
      if (consent == ERASED) {
        voter.erase();
      }
      return voter.bytes();
    }
    double[] current = fold(voter, event.type, at, now);
    double[] scores = new double[models.length];
    for (int m = 0; m < models.length; m++) {
      scores[m] = models[m].score(current);
    }
    for (int k = 0; k < campaigns.length; k++) {
      Campaign campaign = campaigns[k];
      double score = scores[campaign.model];
      if (!voter.armed[k]) {
        voter.armed[k] = campaign.sign * score <= campaign.sign * campaign.rearm;
      } else if (campaign.sign * score >= campaign.sign * campaign.threshold) {
        voter.armed[k] = false;
        if (voter.fired[k] == 0.0 || now - voter.fired[k] >= campaign.cooldown) {
          voter.fired[k] = now;
          triggers.add(Map.of("voter", event.subject, "campaign", campaign.name, "model",
              models[campaign.model].name, "score", score, "cause", event.id));
        }
      }
    }
    return voter.bytes();
  }

  /** Counts an event in the record, and returns the counts as of now. */
  private double[] fold(Voter voter, String type, double at, double now) {
    double[] current = new double[halfLife.length];
    if (!voter.seen) {
      voter.seen = true;
      voter.last = at;
      for (int k = 0; k < campaigns.length; k++) {
        double empty = models[campaigns[k].model].score(current);
        voter.armed[k] = campaigns[k].sign * empty <= campaigns[k].sign * campaigns[k].rearm;
      }
    }
    double[] since = factors(at - voter.last);
    double[] until = factors(Math.max(now - at, 0.0));
    for (int c = 0; c < halfLife.length; c++) {
      voter.counts[c] *= since[halfLife[c]];
    }
    for (int place : placesOfType.getOrDefault(type, NONE)) {
      voter.counts[place] += 1.0;
    }
    for (int c = 0; c < halfLife.length; c++) {
      current[c] = voter.counts[c] * until[halfLife[c]];
    }
    voter.last = at;
    return current;
  }

  private double[] factors(double age) {
    double[] found = new double[halfLives.length];
    for (int h = 0; h < found.length; h++) {
      found[h] = Math.pow(2.0, -age / halfLives[h]);
    }
    return found;
  }
}
