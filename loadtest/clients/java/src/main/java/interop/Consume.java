package interop;

import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The consumer classes of the Java client, each from the first offset unless the group has committed one. */
final class Consume {
    /** Leaves to the client how often a message is tried: the default of the setting. */
    private static final int CLIENTS_OWN_MOST = -1;

    private Consume() {
    }

    /** What a listener makes of a message. */
    interface Listener {
        /** Whether it is content; if not, or if it fails, the message comes again later. */
        boolean take(MessageExt message) throws Exception;
    }

    static void push(Target target, String group, Received received, MessageSelector wanted) throws Exception {
        listen(target, group, received, wanted, CLIENTS_OWN_MOST, message -> true);
    }

    /** Fails each message some times before it is content. times = TIMES[/MOST]. */
    static void failing(Target target, String group, Received received, String times) throws Exception {
        String[] words = times.split("/");
        int most = words.length > 1 ? Integer.parseInt(words[1]) : CLIENTS_OWN_MOST;
        int failures = Integer.parseInt(words[0]);
        listen(target, group, received, MessageSelector.byTag("*"), most, message -> {
            boolean content = message.getReconsumeTimes() >= failures;
            if (!content) {
                received.failed(message);
            }
            return content;
        });
    }

    /** Does something with each message before it is noted. */
    static void each(Target target, String group, Received received, Listener listener) throws Exception {
        listen(target, group, received, MessageSelector.byTag("*"), CLIENTS_OWN_MOST, listener);
    }

    private static void listen(Target target, String group, Received received, MessageSelector wanted, int most,
        Listener listener) throws Exception {
        DefaultMQPushConsumer consumer = subscribed(target, group, wanted);
        consumer.setMaxReconsumeTimes(most);
        listen(consumer, received, listener);
    }

    /** Starts a consumer, and ends it when enough was received. */
    static void listen(DefaultMQPushConsumer consumer, Received received, Listener listener) throws Exception {
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            // One message at a time, as is the default.
            for (MessageExt message : messages) {
                try {
                    if (!listener.take(message)) {
                        return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                    }
                } catch (Exception failed) {
                    System.err.println(failed);
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
                received.add(message);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        run(consumer, received);
    }

    /** In order: one that fails holds up those behind it. */
    static void orderly(Target target, String group, Received received) throws Exception {
        DefaultMQPushConsumer consumer = subscribed(target, group, MessageSelector.byTag("*"));
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            for (MessageExt message : messages) {
                if (message.getQueueOffset() % 10 == 9 && message.getReconsumeTimes() == 0) {
                    received.failed(message);
                    return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
                }
                received.add(message);
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        run(consumer, received);
    }

    /** Broadcasting: this consumer gets all, and keeps its offsets itself, by its name. */
    static void broadcast(Target target, String group, Received received, String name) throws Exception {
        System.setProperty("rocketmq.client.localOffsetStoreDir", System.getenv("HOME") + "/offsets");
        DefaultMQPushConsumer consumer = subscribed(target, group, MessageSelector.byTag("*"));
        // Its package is another one in 5.x.
        consumer.setMessageModel(Enum.valueOf(consumer.getMessageModel().getDeclaringClass(), "BROADCASTING"));
        consumer.setInstanceName(name);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(received::add);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        run(consumer, received);
    }

    static DefaultMQPushConsumer subscribed(Target target, String group, MessageSelector wanted) throws Exception {
        DefaultMQPushConsumer consumer =
            new DefaultMQPushConsumer(group, Signed.hook(), new AllocateMessageQueueAveragely());
        consumer.setNamesrvAddr(target.namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // Shutdown waits for listeners still running, so that what was printed is also committed.
        consumer.setAwaitTerminationMillisWhenShutdown(2_000);
        consumer.subscribe(target.topic, wanted);
        return consumer;
    }

    private static void run(DefaultMQPushConsumer consumer, Received received) throws Exception {
        consumer.start();
        received.ready();
        received.await();
        consumer.shutdown();
        received.done();
    }

    /** Its pulls carry what it wants themselves. */
    static void litePull(Target target, String group, Received received, MessageSelector wanted) throws Exception {
        DefaultLitePullConsumer consumer = lite(target, group);
        consumer.subscribe(target.topic, wanted);
        consumer.start();
        received.ready();
        poll(consumer, received);
    }

    /** Queues chosen by hand and read from their beginning, whatever the group has committed. */
    static void liteAssign(Target target, String group, Received received) throws Exception {
        DefaultLitePullConsumer consumer = lite(target, group);
        consumer.start();
        Collection<MessageQueue> queues = consumer.fetchMessageQueues(target.topic);
        consumer.assign(queues);
        for (MessageQueue queue : queues) {
            consumer.seekToBegin(queue);
        }
        received.ready();
        poll(consumer, received);
    }

    private static DefaultLitePullConsumer lite(Target target, String group) {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        consumer.setNamesrvAddr(target.namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setAutoCommit(false);
        return consumer;
    }

    @SuppressWarnings("deprecation")
    private static void poll(DefaultLitePullConsumer consumer, Received received) {
        while (received.wanted()) {
            for (MessageExt message : consumer.poll(200)) {
                received.add(message);
            }
            consumer.commitSync();
        }
        consumer.shutdown();
        received.done();
    }

    /** The oldest class: the program itself walks over the queues, and commits through the consumer's offset store. */
    @SuppressWarnings("deprecation")
    static void pull(Target target, String group, Received received, String expression) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(target.namesrv);
        consumer.start();
        Map<MessageQueue, Long> next = new HashMap<>();
        for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(target.topic)) {
            long committed = consumer.fetchConsumeOffset(queue, true);
            next.put(queue, Math.max(committed, consumer.minOffset(queue)));
        }
        received.ready();
        while (received.wanted()) {
            for (MessageQueue queue : next.keySet()) {
                PullResult result = consumer.pull(queue, expression, next.get(queue), 32);
                List<MessageExt> found = result.getMsgFoundList();
                if (found != null) {
                    found.forEach(received::add);
                }
                next.put(queue, result.getNextBeginOffset());
                consumer.updateConsumeOffset(queue, result.getNextBeginOffset());
            }
        }
        // Shutdown persists the offsets only of queues that a rebalance assigned; by hand it is told queue by queue.
        for (MessageQueue queue : next.keySet()) {
            consumer.getOffsetStore().updateConsumeOffsetToBroker(queue, next.get(queue), false);
        }
        consumer.shutdown();
        received.done();
    }
}
