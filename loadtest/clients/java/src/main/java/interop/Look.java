package interop;

import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Questions about what is stored: a message by its id or key, the offsets of each queue, a group's progress. */
@SuppressWarnings("deprecation")
final class Look {
    private Look() {
    }

    static void view(Target target, String[] messageIds) throws Exception {
        DefaultMQPullConsumer consumer = start(target, "interop-view");
        for (String id : messageIds) {
            MessageExt message = consumer.viewMessage(target.topic, id);
            System.out.println("VIEW " + message.getQueueId() + " " + message.getQueueOffset() + " "
                + new String(message.getBody(), StandardCharsets.UTF_8));
        }
        consumer.shutdown();
    }

    static void query(Target target, String[] keys) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("interop-query");
        producer.setNamesrvAddr(target.namesrv);
        producer.start();
        for (String key : keys) {
            try {
                for (MessageExt message : producer.queryMessage(target.topic, key, 32, 0, Long.MAX_VALUE).getMessageList()) {
                    System.out.println("HIT " + key + " " + message.getMsgId() + " " + message.getQueueId() + " "
                        + message.getQueueOffset() + " " + new String(message.getBody(), StandardCharsets.UTF_8));
                }
            } catch (MQClientException nothing) {
                System.out.println("NONE " + key);
            }
        }
        producer.shutdown();
    }

    static void offsets(Target target, String group) throws Exception {
        DefaultMQPullConsumer consumer = start(target, group);
        long inAnHour = System.currentTimeMillis() + TimeUnit.HOURS.toMillis(1);
        for (MessageQueue queue : queues(consumer, target)) {
            System.out.println("OFFSETS " + queue.getQueueId() + " " + consumer.minOffset(queue) + " "
                + consumer.maxOffset(queue) + " " + consumer.earliestMsgStoreTime(queue) + " "
                + consumer.searchOffset(queue, 0) + " " + consumer.searchOffset(queue, inAnHour));
        }
        consumer.shutdown();
    }

    static void committed(Target target, String group) throws Exception {
        DefaultMQPullConsumer consumer = start(target, group);
        for (MessageQueue queue : queues(consumer, target)) {
            System.out.println("COMMITTED " + queue.getQueueId() + " " + consumer.fetchConsumeOffset(queue, true));
        }
        consumer.shutdown();
    }

    /** What tools see of how far a group is, in time. */
    static void spans(Target target, String group) throws Exception {
        DefaultMQAdminExt admin = admin(target);
        for (var span : admin.queryConsumeTimeSpan(target.topic, group)) {
            System.out.println("SPAN " + span.getMessageQueue().getQueueId() + " " + span.getMinTimeStamp() + " "
                + span.getMaxTimeStamp() + " " + span.getConsumeTimeStamp() + " " + span.getDelayTime());
        }
        admin.shutdown();
    }

    /** Another group goes on where this one is. */
    static void cloneOffsets(Target target, String group, String other) throws Exception {
        DefaultMQAdminExt admin = admin(target);
        admin.cloneGroupOffset(group, other, target.topic, true);
        admin.shutdown();
    }

    static DefaultMQAdminExt admin(Target target) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setInstanceName(target.topic);
        admin.setNamesrvAddr(target.namesrv);
        admin.start();
        return admin;
    }

    private static DefaultMQPullConsumer start(Target target, String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(target.namesrv);
        consumer.start();
        return consumer;
    }

    private static Set<MessageQueue> queues(DefaultMQPullConsumer consumer, Target target) throws Exception {
        return new TreeSet<>(consumer.fetchSubscribeMessageQueues(target.topic));
    }
}
