package interop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** Java's mqadmin, command after command in one process: starting a process takes longer than most commands. */
final class Admin {
    private Admin() {
    }

    /** Each line of standard input is a command, its words separated by tabs; each answer ends with a line END. */
    static void serve() throws IOException {
        // A failed command only prints its exception; whoever reads the answer shall see it.
        System.setErr(System.out);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String command; (command = commands.readLine()) != null;) {
            MQAdminStartup.main0(command.split("\t"), null);
            // Some commands do not end their last line.
            System.out.println();
            System.out.println("END");
            System.out.flush();
        }
    }
}
