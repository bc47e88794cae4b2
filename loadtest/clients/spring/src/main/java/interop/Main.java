// A Spring Boot application with RocketMQ's starter: it sends in every way of the template, and listens in every way of the
// annotations. Options: --rocketmq.name-server=HOST:PORT, --story=PREFIX of topics and groups, --blocking-request=true|false
// whether it sends a request without a callback, too. The topics must be there: PREFIX-plain, -ordered, -failing, -transacted,
// -requests. The broker's second delay level is 2 s. Standard output:
//   READY                              all listeners are started
//   SENT <body>                        the broker has it
//   GOT <listener> <body> [<ms>]       a listener has it, so long after it was sent, when the listener can tell
//   MISSING, UNEXPECTED, DISORDER ...  what is wrong at the end
//   DONE <count>                       all is as expected. Then it ends with 0, otherwise with 1
package interop;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.ConfigurableApplicationContext;

@SpringBootApplication
public class Main {
    /** How often clients look for queues that they have not got yet. */
    private static final String REBALANCE_MS = "1000";

    public static void main(String[] options) {
        System.setProperty("rocketmq.client.rebalance.waitInterval", REBALANCE_MS);
        try {
            ConfigurableApplicationContext application = SpringApplication.run(Main.class, options);
            boolean complete = application.getBean(Story.class).play();
            System.exit(SpringApplication.exit(application, () -> complete ? 0 : 1));
        } catch (Throwable failed) {
            failed.printStackTrace();
            System.exit(1);
        }
    }
}
