package interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * The calls that the RocketMQ exporter makes in a round, and the values that become its metrics. A value that it could not
 * read is a line with FAILED: there the metric, and often those behind it, would be missing.
 */
final class Exporter {
    /** What it reads of a broker's figures as whole numbers; one that is missing or none ends the round for that broker. */
    private static final String[] NUMBERS = {
        "msgPutTotalTodayNow", "msgGetTotalTodayNow", "msgPutTotalTodayMorning", "msgGetTotalTodayMorning",
        "msgPutTotalYesterdayMorning", "msgGetTotalYesterdayMorning", "sendThreadPoolQueueHeadWaitTimeMills",
        "queryThreadPoolQueueHeadWaitTimeMills", "pullThreadPoolQueueHeadWaitTimeMills", "sendThreadPoolQueueSize",
        "pullThreadPoolQueueSize", "queryThreadPoolQueueSize", "sendThreadPoolQueueCapacity",
        "pullThreadPoolQueueCapacity", "queryThreadPoolQueueCapacity", "bootTimestamp", "commitLogMinOffset",
        "commitLogMaxOffset", "dispatchMaxBuffer", "brokerVersion", "pageCacheLockTimeMills", "getMessageEntireTimeMax",
        "putMessageEntireTimeMax", "putMessageTimesTotal", "startAcceptSendRequestTimeStamp", "earliestMessageTimeStamp",
        "remainTransientStoreBufferNumbs", "dispatchBehindBytes", "putMessageSizeTotal",
    };
    private static final String[] FRACTIONS = {"consumeQueueDiskRatio", "commitLogDiskRatio", "putMessageAverageSize"};
    /** Up to three numbers each: of 10 s, a minute, ten minutes; Java's broker begins with one. */
    private static final String[] RATES = {"putTps", "getMissTps", "getTotalTps", "getFoundTps"};
    private static final String[] TEXTS = {"brokerVersionDesc", "runtime"};
    private static final int LATENCIES = 13;

    private Exporter() {
    }

    static void round(Target target, String group) throws Exception {
        DefaultMQAdminExt admin = Calls.admin(target, false);
        String topic = target.topic;
        try {
            List<String> brokers = new ArrayList<>();
            var cluster = admin.examineBrokerClusterInfo();
            cluster.getBrokerAddrTable().values().forEach(data -> brokers.add(data.getBrokerAddrs().get(0L)));
            System.out.println("examineBrokerClusterInfo: " + cluster.getClusterAddrTable() + brokers);
            Calls.make("fetchAllTopicList", () -> admin.fetchAllTopicList().getTopicList().contains(topic));
            Calls.make("examineTopicRouteInfo", () -> admin.examineTopicRouteInfo(topic).getBrokerDatas().size());
            topicFigures(admin, topic);
            groupFigures(admin, target, group);
            for (String broker : brokers) {
                Calls.make("getAllProducerInfo", () -> producers(admin, broker, group));
                statistics(admin, broker, topic, group);
                runtime(admin.fetchBrokerRuntimeStats(broker).getTable());
            }
        } finally {
            admin.shutdown();
        }
    }

    private static void topicFigures(DefaultMQAdminExt admin, String topic) {
        Calls.make("examineTopicStats", () -> {
            Map<String, String> queues = new TreeMap<>();
            admin.examineTopicStats(topic).getOffsetTable().forEach((queue, offset) -> queues.put(
                "queue " + queue.getQueueId(), offset.getMinOffset() + " to " + offset.getMaxOffset()
                    + (offset.getLastUpdateTimestamp() > 0 ? " at some time" : "")));
            return queues;
        });
        Calls.each("queryTopicConsumeByWho", () -> admin.queryTopicConsumeByWho(topic).getGroupList());
    }

    private static void groupFigures(DefaultMQAdminExt admin, Target target, String group) throws Exception {
        List<String> clients = new ArrayList<>();
        Calls.make("examineConsumerConnectionInfo", () -> {
            var connection = admin.examineConsumerConnectionInfo(group);
            connection.getConnectionSet().forEach(client -> clients.add(client.getClientId()));
            return connection.getMessageModel() + " " + connection.getConsumeType() + " " + clients.size();
        });
        Map<MessageQueue, Long> behind = new TreeMap<>();
        Calls.make("examineConsumeStats", () -> {
            Map<String, String> queues = new TreeMap<>();
            var stats = admin.examineConsumeStats(group, target.topic);
            stats.getOffsetTable().forEach((queue, offset) -> {
                behind.put(queue, Math.max(0, offset.getConsumerOffset() - 1));
                queues.put("queue " + queue.getQueueId(), offset.getConsumerOffset() + " of " + offset.getBrokerOffset()
                    + (offset.getLastTimestamp() > 0 ? " at some time" : ""));
            });
            return queues + " behind " + stats.computeTotalDiff();
        });
        oldest(target, behind);
        for (String client : clients) {
            Calls.make("getConsumerRunningInfo", () -> {
                var status = admin.getConsumerRunningInfo(group, client, false).getStatusTable().get(target.topic);
                double sum = status.getPullRT() + status.getPullTPS() + status.getConsumeRT() + status.getConsumeOKTPS()
                    + status.getConsumeFailedTPS() + status.getConsumeFailedMsgs();
                return sum >= 0;
            });
        }
    }

    /** How long the next message of each queue waits is read off that message. */
    @SuppressWarnings("deprecation")
    private static void oldest(Target target, Map<MessageQueue, Long> behind) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("TOOLS_CONSUMER");
        consumer.setNamesrvAddr(target.namesrv);
        consumer.setInstanceName("pulls-" + System.nanoTime());
        consumer.start();
        behind.forEach((queue, offset) -> Calls.make("pull of queue " + queue.getQueueId(), () -> {
            var found = consumer.pull(queue, "*", offset, 1);
            return found.getPullStatus() + " " + found.getMsgFoundList().get(0).getQueueOffset();
        }));
        consumer.shutdown();
    }

    private static Object producers(DefaultMQAdminExt admin, String broker, String group) throws Exception {
        return admin.getAllProducerInfo(broker).getData().get(group).size();
    }

    private static void statistics(DefaultMQAdminExt admin, String broker, String topic, String group) {
        String[][] asked = {
            {"TOPIC_PUT_NUMS", topic}, {"TOPIC_PUT_SIZE", topic}, {"GROUP_GET_NUMS", topic + "@" + group},
            {"GROUP_GET_SIZE", topic + "@" + group}, {"SNDBCK_PUT_NUMS", topic + "@" + group},
            {"BROKER_PUT_NUMS", "DefaultCluster"}, {"BROKER_GET_NUMS", "DefaultCluster"},
        };
        for (String[] words : asked) {
            Calls.make("viewBrokerStatsData " + words[0], () -> {
                var minute = admin.viewBrokerStatsData(broker, words[0], words[1]).getStatsMinute();
                return minute.getTps() >= 0 && minute.getSum() >= 0;
            });
        }
    }

    /** Reads each value as the exporter does. */
    private static void runtime(Map<String, String> table) {
        for (String key : NUMBERS) {
            Calls.make("runtime " + key, () -> {
                Long.parseLong(table.get(key));
                return "a whole number";
            });
        }
        for (String key : FRACTIONS) {
            Calls.make("runtime " + key, () -> {
                Double.parseDouble(table.get(key));
                return "a number";
            });
        }
        for (String key : RATES) {
            Calls.make("runtime " + key, () -> rates(table.get(key)));
        }
        // Releases spell it differently, and it reads either.
        Calls.make("runtime getTransferredTps",
            () -> rates(table.getOrDefault("getTransferredTps", table.get("getTransferedTps"))));
        for (String key : TEXTS) {
            Calls.make("runtime " + key, () -> table.get(key).isEmpty());
        }
        Calls.make("runtime remainHowManyDataToFlush", () -> table.get("remainHowManyDataToFlush").split(" ").length);
        Calls.make("runtime commitLogDirCapacity", () -> {
            String[] parts = table.get("commitLogDirCapacity").split(", ");
            return parts[0].startsWith("Total : ") && parts[1].startsWith("Free : ") && parts[1].endsWith(".");
        });
        Calls.make("runtime putMessageDistributeTime", () -> {
            String text = table.get("putMessageDistributeTime");
            // What Java's brokers say in their first minute, and the exporter passes over.
            if (text.equals("null")) {
                return "latencies";
            }
            String[] latencies = text.split(" ");
            for (String latency : latencies) {
                Long.parseLong(latency.split(":")[1]);
            }
            return latencies.length == LATENCIES ? "latencies" : "other latencies";
        });
        table.keySet().stream().filter(key -> key.startsWith("scheduleMessageOffset_")).sorted().forEach(key ->
            Calls.make("runtime " + key, () -> {
                String[] both = table.get(key).split(",");
                return both.length == 2 && Long.parseLong(both[0]) <= Long.parseLong(both[1]);
            }));
        table.keySet().stream().filter(key -> key.startsWith("putLatency")).sorted().forEach(key ->
            Calls.make("runtime " + key, () -> Double.parseDouble(table.get(key)) >= 0));
    }

    static boolean rates(String text) {
        double sum = 0;
        for (String rate : text.trim().split(" +")) {
            sum += Double.parseDouble(rate);
        }
        return sum >= 0;
    }
}
