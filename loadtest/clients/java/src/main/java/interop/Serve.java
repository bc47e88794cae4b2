package interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Runs verbs that end by themselves, each on a thread of its own, so that a virtual machine is started once and not for
 * each of them. Standard input: NUMBER, VERB and its words, parted by tabs. What a verb prints comes with its number and a
 * blank before each line, at the end NUMBER END, or NUMBER FAILED behind the lines of the exception. Ends with its input.
 */
final class Serve {
    /** What the verb of this thread puts before its lines. */
    private static final ThreadLocal<String> NUMBER = ThreadLocal.withInitial(() -> "");

    private Serve() {
    }

    static void run() throws Exception {
        System.setOut(new Numbered(System.out));
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.split("\t", -1);
            Thread thread = new Thread(() -> serve(words[0], Arrays.copyOfRange(words, 1, words.length)));
            thread.setDaemon(true);
            thread.start();
        }
    }

    private static void serve(String number, String[] verb) {
        NUMBER.set(number + " ");
        try {
            Main.run(verb);
            System.out.println("END");
        } catch (Throwable failed) {
            System.out.println(failed);
            for (StackTraceElement place : failed.getStackTrace()) {
                System.out.println("    at " + place);
            }
            System.out.println("FAILED");
        }
    }

    /** Whole lines, each with the number of its thread. */
    private static final class Numbered extends PrintStream {
        Numbered(PrintStream out) {
            super(out, true);
        }

        @Override
        public void println(String line) {
            super.println(NUMBER.get() + line);
        }

        @Override
        public void println(Object line) {
            println(String.valueOf(line));
        }
    }
}
