package interop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** Java's mqadmin, command after command in one process: starting a process takes longer than most commands. */
final class Admin {
    /** Before a command that goes on for ever: it is interrupted as soon as it sleeps. */
    private static final String ENDLESS = "endless";
    /** Before a verb of {@link Main}, which then runs in this process. */
    private static final String VERB = "verb";
    private static final long LOOK_MS = 10;
    private static final long ENDLESS_MS_MAX = 60_000;
    private static final int THREADS_MAX = 1_000;
    /** Who runs the command. */
    private static volatile Thread busy = Thread.currentThread();

    private Admin() {
    }

    /** Each line of standard input is a command, its words separated by tabs; each answer ends with a line END. */
    static void serve() throws IOException {
        // A failed command only prints its exception; whoever reads the answer shall see it.
        System.setErr(System.out);
        Thread hurry = new Thread(Admin::hurry);
        hurry.setDaemon(true);
        hurry.start();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String command; (command = lines.readLine()) != null;) {
            try {
                run(command.split("\t"));
            } catch (Throwable failed) {
                failed.printStackTrace();
            }
            // Some commands do not end their last line.
            System.out.println();
            System.out.println("END");
            System.out.flush();
        }
    }

    private static void run(String[] words) throws Exception {
        String[] behind = Arrays.copyOfRange(words, 1, words.length);
        if (words[0].equals(VERB)) {
            Main.run(behind);
        } else if (words[0].equals(ENDLESS)) {
            untilItSleeps(behind);
        } else {
            // An empty line is mqadmin without words, which lists its commands.
            command(words[0].isEmpty() ? new String[0] : words);
        }
    }

    /** Commands keep their objects, some with a client that the first use has shut down: each is to find new ones. */
    private static void command(String[] words) throws Exception {
        busy = Thread.currentThread();
        for (Field field : MQAdminStartup.class.getDeclaredFields()) {
            if (field.getType() == List.class) {
                field.setAccessible(true);
                ((List<?>) field.get(null)).clear();
            }
        }
        MQAdminStartup.main0(words, null);
    }

    private static void untilItSleeps(String[] words) throws InterruptedException {
        Thread thread = new Thread(() -> {
            try {
                command(words);
            } catch (Exception failed) {
                failed.printStackTrace();
            }
        });
        thread.start();
        for (long waited = 0; thread.isAlive() && !sleeps(thread) && waited < ENDLESS_MS_MAX; waited += LOOK_MS) {
            Thread.sleep(LOOK_MS);
        }
        thread.interrupt();
        thread.join();
    }

    /** Whether a command itself waits, and not a client that it uses. */
    private static boolean sleeps(Thread thread) {
        StackTraceElement[] stack = thread.getStackTrace();
        int depth = 0;
        while (depth < stack.length && stack[depth].getClassName().equals(Thread.class.getName())) {
            depth++;
        }
        return depth > 0 && depth < stack.length && stack[depth].getClassName().contains(".tools.command.");
    }

    /**
     * A client of 5.x waits at its end for a thread of its own, which may sleep for three seconds before it looks whether it is
     * to end. That thread is woken.
     */
    private static void hurry() {
        try {
            for (;; Thread.sleep(LOOK_MS)) {
                for (StackTraceElement place : busy.getStackTrace()) {
                    if (place.getClassName().endsWith(".ServiceThread") && place.getMethodName().equals("shutdown")) {
                        wake("NettyEventExecutor");
                        break;
                    }
                }
            }
        } catch (InterruptedException ended) {
            Thread.currentThread().interrupt();
        }
    }

    private static void wake(String name) {
        Thread[] threads = new Thread[THREADS_MAX];
        int count = Thread.enumerate(threads);
        for (int index = 0; index < count; index++) {
            if (threads[index].getName().startsWith(name)) {
                threads[index].interrupt();
            }
        }
    }
}
