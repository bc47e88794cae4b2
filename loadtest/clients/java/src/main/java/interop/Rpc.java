package interop;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;

/** Request-reply, both ends. */
final class Rpc {
    private static final long PATIENCE_MS = 60_000;

    private Rpc() {
    }

    /**
     * With a callback: the synchronous request of 5.3.3 times out as soon as it is sent, with any broker. The callback comes
     * without a reply when the request is sent, and again with it.
     */
    static void request(Target target, String group, int count) throws Exception {
        DefaultMQProducer producer = Produce.start(target, group);
        for (int n = 0; n < count; n++) {
            String body = Produce.body(group, n);
            CompletableFuture<Message> replied = new CompletableFuture<>();
            producer.request(Produce.message(target, null, body), new RequestCallback() {
                @Override
                public void onSuccess(Message reply) {
                    if (reply != null) {
                        replied.complete(reply);
                    }
                }

                @Override
                public void onException(Throwable failed) {
                    replied.completeExceptionally(failed);
                }
            }, PATIENCE_MS);
            Message reply = replied.get(2 * PATIENCE_MS, TimeUnit.MILLISECONDS);
            System.out.println("REPLY " + body + " " + new String(reply.getBody(), StandardCharsets.UTF_8));
        }
        producer.shutdown();
    }

    /** Consumes requests and replies to each. */
    static void reply(Target target, String group, Received received) throws Exception {
        DefaultMQProducer producer = Produce.start(target, group + "-replies");
        Consume.each(target, group, received, message -> {
            byte[] body = ("reply-to-" + new String(message.getBody(), StandardCharsets.UTF_8)).getBytes(StandardCharsets.UTF_8);
            producer.send(MessageUtil.createReplyMessage(message, body));
            return true;
        });
        producer.shutdown();
    }
}
