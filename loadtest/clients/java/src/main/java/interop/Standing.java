package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Clients that stay online while tools ask about them, and clients that trace what they do. */
final class Standing {
    /** Offsets are committed so often: whoever waits for them waits no longer. */
    private static final int COMMIT_MS = 200;
    private static final long LOOK_MS = 100;
    /** Clients of 4.9 write their traces after half a second, those of 5.x after five. */
    private static final long WRITTEN_MS_MAX = 7_000;
    private static final long EXPECTED_MS_MAX = 60_000;
    private static final List<Runnable> ENDS = new ArrayList<>();

    private Standing() {
    }

    /** A push consumer and a producer of GROUP, in one client of this name. */
    static void begin(Target target, String group, String name) throws Exception {
        DefaultMQPushConsumer consumer = Consume.subscribed(target, group, MessageSelector.byTag("*"));
        consumer.setClientIP("127.0.0.1");
        consumer.setInstanceName(name);
        consumer.setPersistConsumerOffsetInterval(COMMIT_MS);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        DefaultMQProducer producer = new DefaultMQProducer(group);
        producer.setNamesrvAddr(target.namesrv);
        producer.setClientIP("127.0.0.1");
        producer.setInstanceName(name);
        producer.start();
        // Only the brokers of topics that it sends to learn of a producer.
        producer.fetchPublishMessageQueues(target.topic);
        var client = producer.getDefaultMQProducerImpl().getmQClientFactory();
        client.sendHeartbeatToAllBrokerWithLock();
        // The topic of its retries is known by now, and would be found half a minute later.
        client.updateTopicRouteInfoFromNameServer("%RETRY%" + group);
        client.doRebalance();
        ENDS.add(producer::shutdown);
        ENDS.add(consumer::shutdown);
        System.out.println("ONLINE " + name);
    }

    /** All of them leave. */
    static void end() {
        ENDS.forEach(Runnable::run);
        ENDS.clear();
        System.out.println("LEFT");
    }

    /**
     * A message for each of these trace topics, sent and consumed by clients that trace to it: TRACED, the topic, and what its
     * traces tell, once that is all that is expected. The unique ids are one for each topic. Where nothing is expected it
     * waits until it would be there.
     */
    static void trace(Target target, String group, String[] ids, String[] topics, String[] expected) throws Exception {
        List<Runnable> ends = new ArrayList<>();
        for (int pair = 0; pair < topics.length; pair++) {
            ends.addAll(tracing(target, group + "-" + pair, ids[pair], topics[pair]));
        }
        DefaultMQAdminExt admin = Calls.admin(target, false);
        long until = System.currentTimeMillis() + (expected.length == 0 ? WRITTEN_MS_MAX : EXPECTED_MS_MAX);
        for (int pair = 0; pair < topics.length; pair++) {
            Set<String> told = new TreeSet<>();
            while ((expected.length == 0 || !told.containsAll(List.of(expected))) && System.currentTimeMillis() < until) {
                Thread.sleep(LOOK_MS);
                told.addAll(kinds(admin, topics[pair], ids[pair]));
            }
            System.out.println("TRACED " + topics[pair] + " " + told);
        }
        admin.shutdown();
        ends.forEach(Runnable::run);
    }

    /** Sends a message and consumes it, by clients that trace to this topic; how they end. */
    private static List<Runnable> tracing(Target target, String group, String uniqueId, String topic) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(group, null, true, topic);
        producer.setNamesrvAddr(target.namesrv);
        producer.setInstanceName(UUID.randomUUID().toString());
        producer.start();
        DefaultMQPushConsumer consumer =
            new DefaultMQPushConsumer(group, null, new AllocateMessageQueueAveragely(), true, topic);
        consumer.setNamesrvAddr(target.namesrv);
        consumer.setInstanceName(UUID.randomUUID().toString());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(target.topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        // The broker may have counted without this member when it first divided the queues; the next time is 20 s away.
        var client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory();
        client.sendHeartbeatToAllBrokerWithLock();
        client.doRebalance();
        Message message = new Message(target.topic, "tag", "traced-key", "traced".getBytes(StandardCharsets.UTF_8));
        MessageAccessor.putProperty(message, MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX, uniqueId);
        producer.send(message);
        return List.of(producer::shutdown, consumer::shutdown);
    }

    /** What the traces of a message tell of. A trace is a line that begins with it; several may be one message. */
    private static Set<String> kinds(DefaultMQAdminExt admin, String topic, String uniqueId) throws Exception {
        Set<String> kinds = new TreeSet<>();
        try {
            for (MessageExt found : admin.queryMessage(topic, uniqueId, 64, 0, Long.MAX_VALUE).getMessageList()) {
                for (String trace : new String(found.getBody(), StandardCharsets.UTF_8).split("\u0002")) {
                    if (trace.contains(uniqueId)) {
                        kinds.add(trace.split("\u0001")[0]);
                    }
                }
            }
        } catch (MQClientException absent) {
            // There is no topic yet, or nothing in it.
            return kinds;
        }
        return kinds;
    }
}
