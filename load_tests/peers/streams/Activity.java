import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** One decayed sum of weights: a record is score, time of the last event, and whether it may trigger. */
final class Activity implements StreamsJob.Scoring {
  private final Map<String, Double> weights = new HashMap<>();
  private final double halfLife;
  private final double threshold;
  private final double rearm;

  Activity(JsonNode document) {
    document.get("weights").properties().forEach(entry -> weights.put(entry.getKey(), entry.getValue().asDouble()));
    halfLife = document.get("half_life_ms").asDouble();
    threshold = document.get("threshold").asDouble();
    rearm = document.get("rearm").asDouble();
  }

  @Override
  public byte[] take(
      byte[] record, StreamsJob.Event event, double at, double now, List<Map<String, Object>> triggers) {
    boolean armed = true;
    double score = 0.0;
    if (record != null) {
      ByteBuffer kept = ByteBuffer.wrap(record);
      score = kept.getDouble() * Math.pow(2.0, -(at - kept.getDouble()) / halfLife);
      armed = kept.get() != 0;
    }
    score += weights.get(event.type);
    double current = score * Math.pow(2.0, -(now - at) / halfLife);
    if (armed && current >= threshold) {
      armed = false;
      triggers.add(Map.of("voter", event.subject, "score", current, "cause", event.id));
    } else if (current <= rearm) {
      armed = true;
    }
    return ByteBuffer.allocate(17).putDouble(score).putDouble(at).put((byte) (armed ? 1 : 0)).array();
  }
}
