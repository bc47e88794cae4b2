package interop;

import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Transactional messages: of four one is committed and one rolled back at once, the others when the broker asks. */
final class Transact {
    private static final long PATIENCE_MS = 120_000;

    private Transact() {
    }

    static void run(Target target, String group, int count) throws Exception {
        Set<String> checked = ConcurrentHashMap.newKeySet();
        TransactionMQProducer producer = new TransactionMQProducer(group);
        producer.setNamesrvAddr(target.namesrv);
        producer.setSendMsgTimeout(60_000);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                int n = (Integer) argument;
                return n % 4 < 2 ? decision(n) : LocalTransactionState.UNKNOW;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                String body = new String(message.getBody(), StandardCharsets.UTF_8);
                System.out.println("CHECK " + message.getTopic() + " " + message.getQueueId() + " " + body);
                checked.add(body);
                return decision(Integer.parseInt(body.substring(body.lastIndexOf('-') + 1)));
            }
        });
        producer.start();
        for (int n = 0; n < count; n++) {
            String body = Produce.body(group, n);
            producer.sendMessageInTransaction(Produce.message(target, null, body), n);
            System.out.println("HALF " + decision(n) + " " + body);
        }
        for (long deadline = System.currentTimeMillis() + PATIENCE_MS; checked.size() < count / 2;) {
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("only " + checked.size() + " were checked");
            }
            Thread.sleep(50);
        }
        // Decisions are one-way: shutting down at once could drop the last ones.
        Thread.sleep(1_000);
        producer.shutdown();
    }

    private static LocalTransactionState decision(int n) {
        return n % 2 == 0 ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
    }
}
