package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.common.message.MessageExt;
import org.springframework.stereotype.Component;

/** What the listeners have got, in its order; each is printed as it comes. */
@Component
public class Arrivals {
    private final Map<String, List<String>> bodies = new HashMap<>();

    /** Takes a message of which a listener has all. */
    void add(String listener, MessageExt message) {
        long waited = System.currentTimeMillis() - message.getBornTimestamp();
        add(listener, body(message.getBody()), " " + waited);
    }

    /** Takes a message of which a listener has the body alone. */
    void add(String listener, String body) {
        add(listener, body, "");
    }

    private synchronized void add(String listener, String body, String rest) {
        bodies.computeIfAbsent(listener, unseen -> new ArrayList<>()).add(body);
        System.out.println("GOT " + listener + " " + body + rest);
    }

    /** What one of them has got so far. */
    synchronized List<String> of(String listener) {
        return new ArrayList<>(bodies.getOrDefault(listener, List.of()));
    }

    static String body(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
