package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;

/** Sending: one by one, in batches, one-way. A failed send ends the program with the client's exception. */
final class Produce {
    private Produce() {
    }

    /** With a level above 0 the message waits first: where it will lie is not known then. */
    static void one(Target target, String group, int count, String tag, int level) throws Exception {
        DefaultMQProducer producer = start(target, group);
        for (int n = 0; n < count; n++) {
            String body = body(group, n);
            Message message = message(target, tag, body);
            message.putUserProperty("n", Integer.toString(n));
            if (level > 0) {
                message.setDelayTimeLevel(level);
            }
            SendResult result = producer.send(message);
            long offset = level > 0 ? -1 : result.getQueueOffset();
            print(result.getOffsetMsgId(), result.getMessageQueue().getQueueId(), offset, body);
        }
        producer.shutdown();
    }

    /** Messages of one key lie in one queue. */
    static void ordered(Target target, String group, int count) throws Exception {
        DefaultMQProducer producer = start(target, group);
        for (int n = 0; n < count; n++) {
            String body = body(group, n);
            SendResult result = producer.send(message(target, null, body),
                (queues, message, key) -> queues.get((Integer) key % queues.size()), n % 16);
            print(result.getOffsetMsgId(), result.getMessageQueue().getQueueId(), result.getQueueOffset(), body);
        }
        producer.shutdown();
    }

    static void batches(Target target, String group, int count, int perBatch) throws Exception {
        DefaultMQProducer producer = start(target, group);
        for (int first = 0; first < count; first += perBatch) {
            List<Message> batch = new ArrayList<>();
            for (int n = first; n < Math.min(first + perBatch, count); n++) {
                batch.add(message(target, null, body(group, n)));
            }
            SendResult result = producer.send(batch);
            String[] ids = result.getOffsetMsgId().split(",");
            for (int i = 0; i < batch.size(); i++) {
                print(ids.length == batch.size() ? ids[i] : "-", result.getMessageQueue().getQueueId(),
                    result.getQueueOffset() + i, body(group, first + i));
            }
        }
        producer.shutdown();
    }

    static void oneway(Target target, String group, int count) throws Exception {
        DefaultMQProducer producer = start(target, group);
        for (int n = 0; n < count; n++) {
            String body = body(group, n);
            producer.sendOneway(message(target, null, body));
            print("-", -1, -1, body);
        }
        // A one-way send is only queued for the socket: shutting down at once could drop the last ones.
        Thread.sleep(500);
        producer.shutdown();
    }

    static DefaultMQProducer start(Target target, String group) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(group, Signed.hook());
        producer.setNamesrvAddr(target.namesrv);
        // A guard against hanging, not a measure: a disk that others keep busy may take ten seconds for one sync.
        producer.setSendMsgTimeout(60_000);
        producer.start();
        return producer;
    }

    static Message message(Target target, String tag, String body) {
        return new Message(target.topic, tag, "key-" + body, body.getBytes(StandardCharsets.UTF_8));
    }

    /** Unique among all runs: group, process, number. */
    static String body(String group, int n) {
        return group + "." + ProcessHandle.current().pid() + "-" + n;
    }

    static void print(String messageId, int queue, long offset, String body) {
        System.out.println("SENT " + messageId + " " + queue + " " + offset + " " + body);
    }
}
