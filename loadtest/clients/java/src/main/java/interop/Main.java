// Entry of the Java client programs: one verb per feature, the same words and output lines as the other languages.
//   produce NAMESRV TOPIC GROUP COUNT [TAG]                     SENT <offset message id> <queue> <offset> <body>
//   delayed NAMESRV TOPIC GROUP COUNT LEVEL                     the same, with a delay level
//   timed   NAMESRV TOPIC GROUP COUNT MS                        the same, delivered so much later; each third is recalled: RECALLED
//                                                               <body> true. Needs 5.x
//   ordered NAMESRV TOPIC GROUP COUNT                           the same, the queue of each message chosen by one of 16 keys
//   orderly NAMESRV TOPIC GROUP EXPECT SECONDS                  like consume, in order; each tenth message of a queue is failed once
//   matching, matchingpull NAMESRV TOPIC GROUP EXPECT SECONDS SQL   like consume and litepull, with an SQL92 filter; produce gives
//                                                               its n-th message the property n
//   batch   NAMESRV TOPIC GROUP COUNT PER_BATCH                 the same, one SENT line per message of a batch
//   oneway  NAMESRV TOPIC GROUP COUNT                           SENT - -1 -1 <body>: nobody answers
//   consume NAMESRV TOPIC GROUP EXPECT SECONDS [EXPRESSION]     RECV <queue> <offset> <body>, at the end DONE <count>
//   failing NAMESRV TOPIC GROUP EXPECT SECONDS TIMES[/MOST]     a listener that fails each message TIMES times: FAIL <tries before> <body>,
//                                                               then RECV; it gives up after MOST retries
//   popmode NAMESRV TOPIC GROUP BROKER POP|PULL                 tells the broker at this address how the group gets the topic's
//                                                               messages: MODE POP|PULL. This and the three below need 5.x
//   pop     NAMESRV TOPIC GROUP EXPECT SECONDS [EXPRESSION]     like consume, in the way that the broker says: QUEUES <queue>...
//                                                               when it gets others, -1 for all; TRIED <tries before> <body>
//                                                               before each RECV
//   popfailing NAMESRV TOPIC GROUP EXPECT SECONDS TIMES         the same, and fails each message TIMES times: FAIL <tries before> <body>
//   popholding NAMESRV TOPIC GROUP EXPECT SECONDS               the same, and is never done with a message: HELD <tries before> <body>
//   broadcast NAMESRV TOPIC GROUP EXPECT SECONDS NAME           like consume, broadcasting, as the instance of this name
//   request NAMESRV TOPIC GROUP COUNT                           sends requests and waits for their replies: REPLY <body> <body of the reply>
//   transact NAMESRV TOPIC GROUP COUNT                          transactional messages, see Transact: HALF COMMIT_MESSAGE|ROLLBACK_MESSAGE <body>,
//                                                               CHECK <topic> <queue> <body> when the broker asks
//   replying NAMESRV TOPIC GROUP EXPECT SECONDS                 like consume; replies to each message with reply-to-<body>
//   litepull, liteassign, pull NAMESRV TOPIC GROUP EXPECT SECONDS [EXPRESSION]   the same by other consumer classes
//   view    NAMESRV TOPIC MESSAGE_ID...                         VIEW <queue> <offset> <body>; ids with an offset, or unique ones
//   query   NAMESRV TOPIC KEY...                                HIT <key> <unique id> <queue> <offset> <body>, or NONE <key>
//   offsets NAMESRV TOPIC GROUP                                 OFFSETS <queue> <min> <max> <earliest store time> <search 0> <search in an hour>
//   committed NAMESRV TOPIC GROUP                               COMMITTED <queue> <offset>, -1 when there is none
//   spans   NAMESRV TOPIC GROUP                                 SPAN <queue> <first> <last> <consumed> <delay>, times in ms
//   clone   NAMESRV TOPIC GROUP OTHER                           gives another group the offsets of this one
//   sql     - - FILE                                            MATCH, NONE or REFUSED for each line of a file, see Sql
//   stay    NAMESRV TOPIC GROUP NAME                            a push consumer and a producer in one client of this name, which stay: ONLINE <name>
//   leave   NAMESRV -                                           they leave: LEFT
//   traced  NAMESRV TOPIC GROUP UNIQUE_ID,... TRACE_TOPIC,... KIND...   messages are sent and consumed by clients that trace to these
//                                                               topics, until there are such traces: TRACED <topic> [<kind>...]
//   monitor NAMESRV -                                           a round of startMonitoring, see Monitor
//   exporter NAMESRV TOPIC GROUP                                the calls of the RocketMQ exporter, see Exporter
//   dashboard NAMESRV TOPIC GROUP VIP UNIQUE_ID OFFSET_ID       the calls of the RocketMQ Dashboard, see Dashboard
//   mqadmin                                                     runs mqadmin commands from standard input, see Admin
//   serve                                                       runs verbs of the above from standard input, see Serve
package interop;

import java.util.Arrays;
import org.apache.rocketmq.client.consumer.MessageSelector;

public final class Main {
    private Main() {
    }

    public static void main(String[] args) {
        try {
            run(args);
        } catch (Throwable failed) {
            failed.printStackTrace();
            System.exit(1);
        }
        // Client threads of some releases are not daemons; everything was shut down in order before.
        System.exit(0);
    }

    static void run(String[] args) throws Exception {
        if (args.length == 1 && args[0].equals("mqadmin")) {
            Admin.serve();
            return;
        }
        if (args.length == 1 && args[0].equals("serve")) {
            Serve.run();
            return;
        }
        if (args.length < 3) {
            throw new IllegalArgumentException("usage: VERB NAMESRV TOPIC ... (see Main.java)");
        }
        String verb = args[0];
        Target target = new Target(args[1], args[2]);
        String[] rest = Arrays.copyOfRange(args, 3, args.length);
        switch (verb) {
            case "produce":
                Produce.one(target, rest[0], Integer.parseInt(rest[1]), rest.length > 2 ? rest[2] : null, 0);
                break;
            case "delayed":
                Produce.one(target, rest[0], Integer.parseInt(rest[1]), null, Integer.parseInt(rest[2]));
                break;
            case "timed":
                Timed.run(target, rest[0], Integer.parseInt(rest[1]), Long.parseLong(rest[2]));
                break;
            case "ordered":
                Produce.ordered(target, rest[0], Integer.parseInt(rest[1]));
                break;
            case "orderly":
                Consume.orderly(target, rest[0], new Received(rest));
                break;
            case "failing":
                Consume.failing(target, rest[0], new Received(rest), rest[3]);
                break;
            case "popmode":
                Pop.mode(target, rest[0], rest[1], rest[2]);
                break;
            case "pop":
                Pop.consume(target, rest[0], new Received(rest), Received.expression(rest));
                break;
            case "popfailing":
                Pop.failing(target, rest[0], new Received(rest), Integer.parseInt(rest[3]));
                break;
            case "popholding":
                Pop.holding(target, rest[0], new Received(rest));
                break;
            case "broadcast":
                Consume.broadcast(target, rest[0], new Received(rest), rest[3]);
                break;
            case "request":
                Rpc.request(target, rest[0], Integer.parseInt(rest[1]));
                break;
            case "transact":
                Transact.run(target, rest[0], Integer.parseInt(rest[1]));
                break;
            case "replying":
                Rpc.reply(target, rest[0], new Received(rest));
                break;
            case "batch":
                Produce.batches(target, rest[0], Integer.parseInt(rest[1]), Integer.parseInt(rest[2]));
                break;
            case "oneway":
                Produce.oneway(target, rest[0], Integer.parseInt(rest[1]));
                break;
            case "consume":
                Consume.push(target, rest[0], new Received(rest), MessageSelector.byTag(Received.expression(rest)));
                break;
            case "matching":
                Consume.push(target, rest[0], new Received(rest), MessageSelector.bySql(Received.expression(rest)));
                break;
            case "matchingpull":
                Consume.litePull(target, rest[0], new Received(rest), MessageSelector.bySql(Received.expression(rest)));
                break;
            case "litepull":
                Consume.litePull(target, rest[0], new Received(rest), MessageSelector.byTag(Received.expression(rest)));
                break;
            case "liteassign":
                Consume.liteAssign(target, rest[0], new Received(rest));
                break;
            case "pull":
                Consume.pull(target, rest[0], new Received(rest), Received.expression(rest));
                break;
            case "view":
                Look.view(target, rest);
                break;
            case "query":
                Look.query(target, rest);
                break;
            case "offsets":
                Look.offsets(target, rest[0]);
                break;
            case "committed":
                Look.committed(target, rest[0]);
                break;
            case "spans":
                Look.spans(target, rest[0]);
                break;
            case "clone":
                Look.cloneOffsets(target, rest[0], rest[1]);
                break;
            case "stay":
                Standing.begin(target, rest[0], rest[1]);
                break;
            case "leave":
                Standing.end();
                break;
            case "traced":
                Standing.trace(target, rest[0], rest[1].split(","), rest[2].split(","),
                    Arrays.copyOfRange(rest, 3, rest.length));
                break;
            case "monitor":
                Monitor.round(target);
                break;
            case "exporter":
                Exporter.round(target, rest[0]);
                break;
            case "dashboard":
                Dashboard.pages(target, rest[0], Boolean.parseBoolean(rest[1]), rest[2], rest[3]);
                break;
            case "sql":
                Sql.evaluate(rest[0]);
                break;
            default:
                throw new IllegalArgumentException("unknown verb " + verb);
        }
    }
}
