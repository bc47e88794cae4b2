package interop;

import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.spring.annotation.ConsumeMode;
import org.apache.rocketmq.spring.annotation.MessageModel;
import org.apache.rocketmq.spring.annotation.RocketMQMessageListener;
import org.apache.rocketmq.spring.annotation.SelectorType;
import org.apache.rocketmq.spring.core.RocketMQListener;
import org.apache.rocketmq.spring.core.RocketMQReplyListener;
import org.springframework.stereotype.Component;

/** The consumers of the application, each a group of its own unless they are broadcasting. */
final class Listeners {
    private Listeners() {
    }

    @Component
    @RocketMQMessageListener(topic = "${story}-plain", consumerGroup = "${story}-concurrent")
    static class Concurrent extends Whole {
        Concurrent(Arrivals arrivals) {
            super("concurrent", arrivals);
        }
    }

    /** Of the same topic, the messages with one tag. */
    @Component
    @RocketMQMessageListener(topic = "${story}-plain", consumerGroup = "${story}-tagged", selectorExpression = "red || none")
    static class Tagged extends Whole {
        Tagged(Arrivals arrivals) {
            super("tagged", arrivals);
        }
    }

    /** Of the same topic, the messages whose headers match. */
    @Component
    @RocketMQMessageListener(topic = "${story}-plain", consumerGroup = "${story}-matched",
            selectorType = SelectorType.SQL92, selectorExpression = "n > 1")
    static class Matched extends Whole {
        Matched(Arrivals arrivals) {
            super("matched", arrivals);
        }
    }

    /** One of two of a group, in the same process. */
    @Component
    @RocketMQMessageListener(topic = "${story}-plain", consumerGroup = "${story}-broadcast",
            messageModel = MessageModel.BROADCASTING, instanceName = "first")
    static class Broadcast1 extends Whole {
        Broadcast1(Arrivals arrivals) {
            super("broadcast-1", arrivals);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "${story}-plain", consumerGroup = "${story}-broadcast",
            messageModel = MessageModel.BROADCASTING, instanceName = "second")
    static class Broadcast2 extends Whole {
        Broadcast2(Arrivals arrivals) {
            super("broadcast-2", arrivals);
        }
    }

    /** In order, and of a type that the starter writes and reads as JSON. */
    @Component
    @RocketMQMessageListener(topic = "${story}-ordered", consumerGroup = "${story}-ordered", consumeMode = ConsumeMode.ORDERLY)
    static class Ordered implements RocketMQListener<Step> {
        private final Arrivals arrivals;

        Ordered(Arrivals arrivals) {
            this.arrivals = arrivals;
        }

        @Override
        public void onMessage(Step step) {
            arrivals.add("ordered", step.toString());
        }
    }

    /** Fails each message once: it comes again. */
    @Component
    @RocketMQMessageListener(topic = "${story}-failing", consumerGroup = "${story}-failing")
    static class Failing extends Whole {
        Failing(Arrivals arrivals) {
            super("failing", arrivals);
        }

        @Override
        public void onMessage(MessageExt message) {
            if (message.getReconsumeTimes() == 0) {
                arrivals.add("failed", message);
                throw new IllegalStateException("failed, as it should");
            }
            super.onMessage(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "${story}-transacted", consumerGroup = "${story}-transacted")
    static class Transacted implements RocketMQListener<String> {
        private final Arrivals arrivals;

        Transacted(Arrivals arrivals) {
            this.arrivals = arrivals;
        }

        @Override
        public void onMessage(String body) {
            arrivals.add("transacted", body);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "${story}-requests", consumerGroup = "${story}-replying", replyTimeout = 60_000)
    static class Replying implements RocketMQReplyListener<String, String> {
        private final Arrivals arrivals;

        Replying(Arrivals arrivals) {
            this.arrivals = arrivals;
        }

        @Override
        public String onMessage(String request) {
            arrivals.add("replying", request);
            return "reply-to-" + request;
        }
    }

    /** A listener that sees whole messages. */
    private abstract static class Whole implements RocketMQListener<MessageExt> {
        final Arrivals arrivals;
        private final String name;

        Whole(String name, Arrivals arrivals) {
            this.name = name;
            this.arrivals = arrivals;
        }

        @Override
        public void onMessage(MessageExt message) {
            arrivals.add(name, message);
        }
    }
}
