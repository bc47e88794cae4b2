package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/** Clients that stay online while tools ask about them, and clients that trace what they do. */
final class Standing {
    /** Offsets are committed so often: whoever waits for them waits no longer. */
    private static final int COMMIT_MS = 200;
    private static final long ARRIVAL_SECONDS_MAX = 60;
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
        producer.getDefaultMQProducerImpl().getmQClientFactory().sendHeartbeatToAllBrokerWithLock();
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
     * One message, sent and consumed by clients that trace: TRACED [unique id]. Without a topic of their own they write where
     * all do by default.
     */
    static void trace(Target target, String group, String topic) throws Exception {
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
            arrived.countDown();
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        byte[] body = "traced".getBytes(StandardCharsets.UTF_8);
        SendResult sent = producer.send(new Message(target.topic, "tag", "traced-key", body));
        boolean received = arrived.await(ARRIVAL_SECONDS_MAX, TimeUnit.SECONDS);
        // What they hold back is written as they end.
        producer.shutdown();
        consumer.shutdown();
        System.out.println((received ? "TRACED " : "NOT RECEIVED ") + sent.getMsgId());
    }
}
