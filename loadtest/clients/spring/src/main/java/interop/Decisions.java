package interop;

import org.apache.rocketmq.spring.annotation.RocketMQTransactionListener;
import org.apache.rocketmq.spring.core.RocketMQLocalTransactionListener;
import org.apache.rocketmq.spring.core.RocketMQLocalTransactionState;
import org.springframework.messaging.Message;

/** Decides transactional messages: at once, as their sender says, or when the broker asks. */
@RocketMQTransactionListener
public class Decisions implements RocketMQLocalTransactionListener {
    private final Arrivals arrivals;

    Decisions(Arrivals arrivals) {
        this.arrivals = arrivals;
    }

    @Override
    public RocketMQLocalTransactionState executeLocalTransaction(Message half, Object decision) {
        return (RocketMQLocalTransactionState) decision;
    }

    /** Java's broker may ask about what was decided a moment ago, too. */
    @Override
    public RocketMQLocalTransactionState checkLocalTransaction(Message half) {
        String body = Arrivals.body((byte[]) half.getPayload());
        arrivals.add("asked", body);
        return body.equals("rolled-back") ? RocketMQLocalTransactionState.ROLLBACK : RocketMQLocalTransactionState.COMMIT;
    }
}
