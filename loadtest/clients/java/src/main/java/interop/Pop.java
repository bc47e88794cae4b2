package interop;

import java.lang.reflect.InvocationTargetException;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageQueueListener;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * Push consumers that ask the broker what to consume and in which way (5.x). Where it says POP, it hands out messages for a
 * time, and each is acknowledged by itself. 4.9 has none of this: what is new is called by its name.
 */
final class Pop {
    /** Longer than a busy machine lets a listener wait, short enough to see what comes again. */
    private static final long INVISIBLE_MS = 20_000;
    /** For messages that somebody else shall get soon. */
    private static final long HELD_MS = 10_000;
    /** Every consumer of the group pops from all queues. */
    private static final int SHARED_BY_ALL = 0;
    private static final long ADMIN_TIMEOUT_MS = 30_000;

    private Pop() {
    }

    /** From now on the group's consumers get messages of the topic in this way: POP or PULL. */
    static void mode(Target target, String group, String broker, String mode) throws Exception {
        DefaultMQAdminExt admin = Look.admin(target);
        Class<?> modes = Class.forName("org.apache.rocketmq.common.message.MessageRequestMode");
        Object wanted = call(modes, null, "valueOf", new Class<?>[] {String.class}, mode);
        Class<?>[] types = {String.class, String.class, String.class, modes, int.class, long.class};
        call(DefaultMQAdminExt.class, admin, "setMessageRequestMode", types, broker, target.topic, group, wanted,
            SHARED_BY_ALL, ADMIN_TIMEOUT_MS);
        admin.shutdown();
        System.out.println("MODE " + mode);
    }

    static void consume(Target target, String group, Received received, String expression) throws Exception {
        Consume.listen(popping(target, group, received, expression, INVISIBLE_MS), received, message -> {
            received.note("TRIED", message);
            return true;
        });
    }

    /** Fails each message so many times before it is content. */
    static void failing(Target target, String group, Received received, int failures) throws Exception {
        Consume.listen(popping(target, group, received, "*", INVISIBLE_MS), received, message -> {
            boolean content = message.getReconsumeTimes() >= failures;
            received.note(content ? "TRIED" : "FAIL", message);
            return content;
        });
    }

    /** Is never done with a message. */
    static void holding(Target target, String group, Received received) throws Exception {
        Consume.listen(popping(target, group, received, "*", HELD_MS), received, message -> {
            received.note("HELD", message);
            TimeUnit.HOURS.sleep(1);
            return false;
        });
    }

    private static DefaultMQPushConsumer popping(Target target, String group, Received received, String expression,
        long invisibleMs) throws Exception {
        DefaultMQPushConsumer consumer = Consume.subscribed(target, group, MessageSelector.byTag(expression));
        set(consumer, "setClientRebalance", boolean.class, false);
        set(consumer, "setPopInvisibleTime", long.class, invisibleMs);
        MessageQueueListener told = (topic, all, own) -> {
            if (topic.equals(target.topic)) {
                received.queues(own);
            }
        };
        set(consumer, "setMessageQueueListener", MessageQueueListener.class, told);
        return consumer;
    }

    private static void set(DefaultMQPushConsumer consumer, String setter, Class<?> type, Object value) throws Exception {
        call(DefaultMQPushConsumer.class, consumer, setter, new Class<?>[] {type}, value);
    }

    /** What the called method throws is thrown as it is, so that its own words are printed. */
    private static Object call(Class<?> owner, Object object, String method, Class<?>[] types, Object... arguments)
        throws Exception {
        try {
            return owner.getMethod(method, types).invoke(object, arguments);
        } catch (InvocationTargetException failed) {
            throw failed.getCause() instanceof Exception ? (Exception) failed.getCause() : failed;
        }
    }
}
