package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
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
    private static final int LOOKS_MAX = 600;
    private static final long GATHER_MS = 400;
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
     * The message of this unique id, sent and consumed by clients that trace: TRACED and what their traces tell, once all
     * that is expected has been written. They write to the topic of this name.
     */
    static void trace(Target target, String group, String uniqueId, String topic, String[] expected) throws Exception {
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
        CountDownLatch arrived = new CountDownLatch(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            if (uniqueId.equals(messages.get(0).getMsgId())) {
                arrived.countDown();
            }
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
        arrived.await();
        // Traces are written after a while (0.5 s, 5.x: 5 s), and at the end of a client, once they are in its queues.
        Thread.sleep(GATHER_MS);
        producer.shutdown();
        consumer.shutdown();
        DefaultMQAdminExt admin = Calls.admin(target, false);
        Set<String> told = new TreeSet<>();
        for (int look = 0; look < LOOKS_MAX && !told.containsAll(List.of(expected)); look++) {
            Thread.sleep(LOOK_MS);
            told.addAll(kinds(admin, topic, uniqueId));
        }
        admin.shutdown();
        System.out.println("TRACED " + told);
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
