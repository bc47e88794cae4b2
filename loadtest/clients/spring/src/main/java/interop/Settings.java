package interop;

import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.spring.support.DefaultRocketMQListenerContainer;
import org.springframework.beans.factory.config.BeanPostProcessor;
import org.springframework.stereotype.Component;

/** What the starter has no properties for, set before its clients start. */
@Component
class Settings implements BeanPostProcessor {
    /** Heartbeats and routes may take so long: the machine may be busy. */
    private static final int API_TIMEOUT_MS = 60_000;
    /** How often routes are looked for: the topic of a group's retries comes into being with its first heartbeat. */
    private static final int LOOK_MS = 1_000;

    @Override
    public Object postProcessAfterInitialization(Object bean, String name) {
        if (bean instanceof DefaultRocketMQListenerContainer) {
            DefaultMQPushConsumer consumer = ((DefaultRocketMQListenerContainer) bean).getConsumer();
            // By default a new group begins behind what a queue holds when it gets it: messages are already being sent.
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            set(consumer);
        }
        if (bean instanceof DefaultLitePullConsumer) {
            ((DefaultLitePullConsumer) bean).setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        }
        if (bean instanceof ClientConfig) {
            set((ClientConfig) bean);
        }
        return bean;
    }

    private static void set(ClientConfig client) {
        client.setMqClientApiTimeout(API_TIMEOUT_MS);
        client.setPollNameServerInterval(LOOK_MS);
    }
}
