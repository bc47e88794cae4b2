package interop;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.spring.core.RocketMQLocalRequestCallback;
import org.apache.rocketmq.spring.core.RocketMQLocalTransactionState;
import org.apache.rocketmq.spring.core.RocketMQTemplate;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.messaging.Message;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.stereotype.Component;

/** Sends, waits, and compares what came with what should. */
@Component
public class Story {
    private static final long PATIENCE_MS = 120_000;
    /** A request may take so long, and so may the send of any message. */
    private static final long REQUEST_MS = 60_000;
    /** What should not come gets so long to do so. */
    private static final long QUIET_MS = 700;
    private static final int KEYS = 3;
    private static final int STEPS = 5;
    /** Waits 2 s at the brokers of this test. */
    private static final int LEVEL = 2;
    private static final long TIMED_MS = 3_000;

    private final RocketMQTemplate template;
    private final Arrivals arrivals;
    private final String name;
    private final boolean blockingRequest;
    /** By listener, what should come to it. */
    private final Map<String, List<String>> expected = new LinkedHashMap<>();
    private int faults;

    Story(RocketMQTemplate template, Arrivals arrivals, @Value("${story}") String name,
            @Value("${blocking-request}") boolean blockingRequest) {
        this.template = template;
        this.arrivals = arrivals;
        this.name = name;
        this.blockingRequest = blockingRequest;
    }

    /** Whether all came that should, once and in order, and nothing else. */
    boolean play() throws InterruptedException {
        System.out.println("READY");
        sendPlain();
        sendOrdered();
        sendOnce(template.syncSend(name + "-failing", "fails"), "fails");
        expect("failed", "fails");
        expect("failing", "fails");
        sendTransactional();
        request();
        await();
        compare();
        if (faults == 0) {
            System.out.println("DONE " + expected.values().stream().mapToInt(List::size).sum());
        }
        return faults == 0;
    }

    /** In every way that needs no other topic. */
    private void sendPlain() {
        String topic = name + "-plain";
        sendOnce(template.syncSend(topic, "sync"), "sync");
        template.asyncSend(topic, "async", new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                sendOnce(result, "async");
                arrivals.add("callback", "async");
            }

            @Override
            public void onException(Throwable failed) {
                failed.printStackTrace();
            }
        });
        expect("callback", "async");
        template.sendOneWay(topic, "oneway");
        sendOnce(template.syncSend(topic + ":red", "red"), "red");
        sendOnce(template.syncSend(topic + ":blue", "blue"), "blue");
        List<Message<String>> batch = new ArrayList<>();
        for (int n = 1; n <= 2; n++) {
            batch.add(MessageBuilder.withPayload("batch-" + n).setHeader("n", n).build());
        }
        sendOnce(template.syncSend(topic, batch), "batch");
        Message<String> later = MessageBuilder.withPayload("level").build();
        sendOnce(template.syncSend(topic, later, REQUEST_MS, LEVEL), "level");
        sendOnce(template.syncSendDelayTimeMills(topic, "timed", TIMED_MS), "timed");
        String[] all = {"sync", "async", "oneway", "red", "blue", "batch-1", "batch-2", "level", "timed"};
        for (String listener : List.of("concurrent", "broadcast-1", "broadcast-2", "pulled")) {
            expect(listener, all);
        }
        expect("tagged", "red");
        expect("matched", "batch-2");
    }

    /** Several keys in turn; those of a key belong into one queue. */
    private void sendOrdered() {
        int[] queues = new int[KEYS];
        for (int number = 0; number < STEPS; number++) {
            for (int key = 0; key < KEYS; key++) {
                Step step = new Step("key" + key, number);
                SendResult result = template.syncSendOrderly(name + "-ordered", step, step.getKey());
                sendOnce(result, step.toString());
                expect("ordered", step.toString());
                int queue = result.getMessageQueue().getQueueId();
                if (number > 0 && queue != queues[key]) {
                    fault("DISORDER " + step + " is in queue " + queue + ", not in " + queues[key]);
                }
                queues[key] = queue;
            }
        }
    }

    private void sendTransactional() {
        sendHalf("committed", RocketMQLocalTransactionState.COMMIT);
        sendHalf("rolled-back", RocketMQLocalTransactionState.ROLLBACK);
        sendHalf("undecided", RocketMQLocalTransactionState.UNKNOWN);
        expect("asked", "undecided");
        expect("transacted", "committed", "undecided");
    }

    private void sendHalf(String body, RocketMQLocalTransactionState decision) {
        Message<String> half = MessageBuilder.withPayload(body).build();
        sendOnce(template.sendMessageInTransaction(name + "-transacted", half, decision), body);
    }

    /** One that waits for its reply, where the client can, and one whose reply comes to a callback. */
    private void request() {
        String topic = name + "-requests";
        if (blockingRequest) {
            String reply = template.sendAndReceive(topic, "first", String.class, REQUEST_MS);
            arrivals.add("requester", reply);
            expect("replying", "first");
            expect("requester", "reply-to-first");
        }
        template.sendAndReceive(topic, "second", new RocketMQLocalRequestCallback<String>() {
            @Override
            public void onSuccess(String reply) {
                arrivals.add("requester", reply);
            }

            @Override
            public void onException(Throwable failed) {
                failed.printStackTrace();
            }
        }, REQUEST_MS);
        expect("replying", "second");
        expect("requester", "reply-to-second");
    }

    private void sendOnce(SendResult result, String body) {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            throw new IllegalStateException(body + ": " + result);
        }
        System.out.println("SENT " + body);
    }

    private void expect(String listener, String... bodies) {
        expected.computeIfAbsent(listener, unseen -> new ArrayList<>()).addAll(List.of(bodies));
    }

    /** Waits until nothing is missing, and a little longer; meanwhile the template pulls what its consumer gets. */
    private void await() throws InterruptedException {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (System.currentTimeMillis() < deadline && !isComplete()) {
            template.receive(String.class, 100).forEach(body -> arrivals.add("pulled", body));
        }
        Thread.sleep(QUIET_MS);
        template.receive(String.class, 100).forEach(body -> arrivals.add("pulled", body));
    }

    private boolean isComplete() {
        return expected.entrySet().stream().allMatch(entry -> arrivals.of(entry.getKey()).containsAll(entry.getValue()));
    }

    private void compare() {
        expected.forEach((listener, bodies) -> {
            List<String> missing = new ArrayList<>(bodies);
            List<String> others = arrivals.of(listener);
            missing.removeAll(others);
            // Each once, but what Java's broker asks and commits again.
            if (listener.equals("asked") || listener.equals("transacted")) {
                others.removeAll(bodies);
            } else {
                bodies.forEach(others::remove);
            }
            if (listener.equals("asked")) {
                others.clear();
            }
            if (!missing.isEmpty()) {
                fault("MISSING " + listener + " " + missing);
            }
            if (!others.isEmpty()) {
                fault("UNEXPECTED " + listener + " " + others);
            }
        });
        List<String> steps = arrivals.of("ordered");
        for (int key = 0; key < KEYS; key++) {
            List<String> ofKey = new ArrayList<>(steps);
            String prefix = "key" + key;
            ofKey.removeIf(step -> !step.startsWith(prefix));
            List<String> sorted = new ArrayList<>(ofKey);
            sorted.sort(null);
            if (!ofKey.equals(sorted)) {
                fault("DISORDER " + ofKey);
            }
        }
    }

    private void fault(String line) {
        faults++;
        System.out.println(line);
    }
}
