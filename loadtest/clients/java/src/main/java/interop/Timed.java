package interop;

import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;

/** Messages that name the time of their delivery, each in one of three ways; each third is recalled at once. */
final class Timed {
    private Timed() {
    }

    static void run(Target target, String group, int count, long delayMs) throws Exception {
        DefaultMQProducer producer = Produce.start(target, group);
        for (int n = 0; n < count; n++) {
            String body = Produce.body(group, n);
            Message message = Produce.message(target, null, body);
            // The properties that setDelayTimeSec, setDelayTimeMs and setDeliverTimeMs of 5.x set; 4.9 does not have these.
            switch (n / 3 % 3) {
                case 0:
                    MessageAccessor.putProperty(message, "TIMER_DELAY_SEC", Long.toString((delayMs + 999) / 1000));
                    break;
                case 1:
                    MessageAccessor.putProperty(message, "TIMER_DELAY_MS", Long.toString(delayMs));
                    break;
                default:
                    long at = System.currentTimeMillis() + delayMs;
                    MessageAccessor.putProperty(message, "TIMER_DELIVER_MS", Long.toString(at));
            }
            SendResult result = producer.send(message);
            if (n % 3 > 0) {
                Produce.print(result.getOffsetMsgId(), result.getMessageQueue().getQueueId(), -1, body);
                continue;
            }
            Object handle = SendResult.class.getMethod("getRecallHandle").invoke(result);
            Object recalled = DefaultMQProducer.class.getMethod("recallMessage", String.class, String.class)
                .invoke(producer, target.topic, handle);
            System.out.println("RECALLED " + body + " " + result.getMsgId().equals(recalled));
        }
        producer.shutdown();
    }
}
