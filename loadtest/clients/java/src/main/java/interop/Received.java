package interop;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Counts and prints what arrives and knows when to stop: enough messages, time over, or standard input closed. */
final class Received {
    private final long expect;
    private final long deadlineNanos;
    private final CountDownLatch end = new CountDownLatch(1);
    private long count;

    /** rest = GROUP EXPECT SECONDS [EXPRESSION]; EXPECT 0 means no limit. */
    Received(String[] rest) {
        expect = Long.parseLong(rest[1]);
        deadlineNanos = System.nanoTime() + TimeUnit.SECONDS.toNanos(Long.parseLong(rest[2]));
        Thread watch = new Thread(this::watchInput, "stdin");
        watch.setDaemon(true);
        watch.start();
    }

    static String expression(String[] rest) {
        return rest.length > 3 ? rest[3] : "*";
    }

    void ready() {
        line("READY");
    }

    synchronized void add(MessageExt message) {
        line("RECV " + message.getQueueId() + " " + message.getQueueOffset() + " "
            + new String(message.getBody(), StandardCharsets.UTF_8));
        count++;
        if (expect > 0 && count >= expect) {
            end.countDown();
        }
    }

    void failed(MessageExt message) {
        note("FAIL", message);
    }

    /** What became of a message, with how often it was tried before. */
    void note(String word, MessageExt message) {
        line(word + " " + message.getReconsumeTimes() + " " + new String(message.getBody(), StandardCharsets.UTF_8));
    }

    /** Which queues this consumer has from now on. */
    void queues(Set<MessageQueue> own) {
        StringBuilder text = new StringBuilder("QUEUES");
        for (MessageQueue queue : new TreeSet<>(own)) {
            text.append(' ').append(queue.getQueueId());
        }
        line(text.toString());
    }

    boolean wanted() {
        return end.getCount() > 0 && System.nanoTime() < deadlineNanos;
    }

    void await() throws InterruptedException {
        end.await(Math.max(0, deadlineNanos - System.nanoTime()), TimeUnit.NANOSECONDS);
    }

    /** Printed after the clean shutdown, so whoever reads it knows that offsets were committed. */
    synchronized void done() {
        line("DONE " + count);
    }

    private static synchronized void line(String text) {
        System.out.println(text);
        System.out.flush();
    }

    private void watchInput() {
        try {
            while (System.in.read() >= 0) {
                Thread.onSpinWait();
            }
        } catch (IOException gone) {
            System.err.println("standard input: " + gone);
        }
        end.countDown();
    }
}
