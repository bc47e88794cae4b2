package interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * The calls that the RocketMQ Dashboard makes (1.0.0 with the client of 4.9, 2.1 with that of 5.3), page by page in the order
 * of its menu, and what the pages show of the answers. A line with FAILED is what a page would show as an error.
 */
final class Dashboard {
    private static final long LIST_MS = 5_000;
    private static final long TOPICS_MS = 20_000;

    private final DefaultMQAdminExt admin;
    private final Target target;
    private final String group;
    private String broker;

    private Dashboard(DefaultMQAdminExt admin, Target target, String group) {
        this.admin = admin;
        this.target = target;
        this.group = group;
    }

    /** All pages about a topic, a group and a message of that topic. */
    static void pages(Target target, String group, boolean vip, String uniqueId, String offsetId) throws Exception {
        DefaultMQAdminExt admin = Calls.admin(target, vip);
        try {
            Dashboard pages = new Dashboard(admin, target, group);
            pages.cluster();
            pages.topics();
            pages.consumers();
            pages.messages(uniqueId, offsetId);
            pages.trends();
            if (Calls.knows("listUser")) {
                pages.users();
            }
            pages.changes("dashboard-" + vip);
        } finally {
            admin.shutdown();
        }
    }

    private void cluster() throws Exception {
        var cluster = admin.examineBrokerClusterInfo();
        broker = cluster.getBrokerAddrTable().values().iterator().next().getBrokerAddrs().get(0L);
        System.out.println("cluster: " + cluster.getClusterAddrTable() + cluster.getBrokerAddrTable().keySet());
        Map<String, String> runtime = admin.fetchBrokerRuntimeStats(broker).getTable();
        // Releases spell it differently.
        String delivered = runtime.getOrDefault("getTransferredTps", runtime.get("getTransferedTps"));
        Calls.make("cluster: version and rates", () -> Exporter.rates(runtime.get("putTps"))
            && Exporter.rates(delivered) && !runtime.get("brokerVersionDesc").isEmpty());
        String[] counted = {"msgPutTotalTodayNow", "msgPutTotalTodayMorning", "msgPutTotalYesterdayMorning",
            "msgGetTotalTodayNow", "msgGetTotalTodayMorning", "msgGetTotalYesterdayMorning"};
        for (String key : counted) {
            Calls.make("cluster: " + key, () -> Long.parseLong(runtime.get(key)) >= 0);
        }
        Calls.each("cluster: status", () -> runtime.keySet());
        Calls.make("cluster: configuration", () -> admin.getBrokerConfig(broker).getProperty("brokerName"));
    }

    private void topics() throws Exception {
        String topic = target.topic;
        Calls.each("topics: list", () -> admin.fetchAllTopicList().getTopicList());
        Calls.each("topics: of the system", () -> {
            DefaultMQProducer producer = Produce.start(target, "SELF_TEST_P_GROUP");
            try {
                var api = producer.getDefaultMQProducerImpl().getmQClientFactory().getMQClientAPIImpl();
                return api.getSystemTopicList(TOPICS_MS).getTopicList();
            } finally {
                producer.shutdown();
            }
        });
        Calls.make("topics: configurations", () ->
            admin.getAllTopicConfig(broker, LIST_MS).getTopicConfigTable().get(topic).toString());
        Calls.make("topics: status", () -> {
            Map<String, String> rows = new TreeMap<>();
            admin.examineTopicStats(topic).getOffsetTable().forEach((queue, offset) -> rows.put(
                queue.getBrokerName() + " " + queue.getQueueId(), offset.getMinOffset() + " " + offset.getMaxOffset()
                    + " " + (offset.getLastUpdateTimestamp() > 0)));
            return rows;
        });
        Calls.make("topics: route", () -> {
            var route = admin.examineTopicRouteInfo(topic);
            return route.getQueueDatas().get(0).getReadQueueNums() + " " + route.getQueueDatas().get(0).getPerm() + " "
                + route.getBrokerDatas().get(0).getBrokerAddrs();
        });
        Calls.make("topics: configuration", () -> Calls.newer(admin, "examineTopicConfig", broker, topic));
        Calls.each("topics: consumers", () -> admin.queryTopicConsumeByWho(topic).getGroupList());
        Calls.make("topics: progress of consumers", () -> {
            var stats = admin.examineConsumeStats(group, topic);
            return stats.getOffsetTable().size() + " " + stats.computeTotalDiff();
        });
    }

    private void consumers() throws Exception {
        List<String> clients = new ArrayList<>();
        Calls.each("consumers: list", () ->
            admin.getAllSubscriptionGroup(broker, LIST_MS).getSubscriptionGroupTable().keySet());
        Calls.make("consumers: progress", () -> {
            Map<String, String> rows = new TreeMap<>();
            admin.examineConsumeStats(group).getOffsetTable().forEach((queue, offset) -> rows.put(
                queue.getTopic() + " " + queue.getQueueId(), offset.getConsumerOffset() + " of "
                    + offset.getBrokerOffset() + " " + (offset.getLastTimestamp() > 0)));
            return rows;
        });
        Calls.make("consumers: progress of one that is offline", () ->
            admin.examineConsumeStats("tools-offline").computeTotalDiff());
        Calls.make("consumers: clients", () -> {
            var connection = admin.examineConsumerConnectionInfo(group);
            connection.getConnectionSet().forEach(client -> clients.add(client.getClientId()));
            Set<String> topics = new TreeSet<>(connection.getSubscriptionTable().keySet());
            return connection.getConsumeType() + " " + connection.getMessageModel() + " "
                + connection.getConsumeFromWhere() + " " + topics + " " + clients;
        });
        Calls.make("consumers: clients of one that is offline", () ->
            admin.examineConsumerConnectionInfo("tools-offline").getConnectionSet().size());
        for (String client : clients) {
            Calls.make("consumers: state of a client", () -> {
                var running = admin.getConsumerRunningInfo(group, client, false);
                return new TreeSet<>(running.getStatusTable().keySet()) + " "
                    + running.getProperties().getProperty("PROP_CONSUME_TYPE") + " " + running.getMqTable().size();
            });
            Calls.make("consumers: threads of a client", () ->
                admin.getConsumerRunningInfo(group, client, true).getJstack().isEmpty());
        }
        Calls.make("consumers: configuration", () -> admin.examineSubscriptionGroupConfig(broker, group).toString());
        Calls.make("producers: clients", () ->
            admin.examineProducerConnectionInfo(group, target.topic).getConnectionSet().size());
        Calls.make("producers: clients of a group without any", () ->
            admin.examineProducerConnectionInfo("nobody", target.topic).getConnectionSet().size());
    }

    private void messages(String uniqueId, String offsetId) throws Exception {
        String topic = target.topic;
        Calls.make("messages: by key", () -> {
            Set<Long> found = new TreeSet<>();
            admin.queryMessage(topic, "tools-key", 64, 0, System.currentTimeMillis()).getMessageList()
                .forEach(message -> found.add(message.getQueueOffset()));
            return found;
        });
        Calls.make("messages: by unique id", () -> {
            var message = admin.viewMessage(topic, uniqueId);
            return message.getQueueId() + " " + message.getQueueOffset() + " " + new TreeMap<>(message.getProperties());
        });
        Calls.make("messages: by id", () -> admin.viewMessage(topic, offsetId).getQueueOffset());
        Calls.make("messages: an id that is not there", () -> admin.viewMessage(topic, uniqueId.replace('0', 'F')));
        Calls.each("messages: who consumed one", () -> {
            Set<String> tracks = new TreeSet<>();
            admin.messageTrackDetail(admin.viewMessage(topic, uniqueId)).forEach(track ->
                tracks.add(track.getConsumerGroup() + " " + track.getTrackType()));
            return tracks;
        });
        Calls.make("messages: consumed again", () -> {
            String client = admin.examineConsumerConnectionInfo(group).getConnectionSet().iterator().next().getClientId();
            var result = admin.consumeMessageDirectly(group, client, topic, uniqueId);
            return result.getConsumeResult() + " " + result.isOrder() + " " + result.isAutoCommit();
        });
        Calls.make("dead letters: of a group without any", () -> admin.examineTopicRouteInfo("%DLQ%" + group));
    }

    /** What it asks every minute for its charts. */
    private void trends() {
        Calls.make("trends: of the topic", () ->
            admin.viewBrokerStatsData(broker, "TOPIC_PUT_NUMS", target.topic).getStatsMinute().getSum() >= 0);
        Calls.make("trends: of the group", () -> admin.viewBrokerStatsData(broker, "GROUP_GET_NUMS",
            target.topic + "@" + group).getStatsMinute().getSum() >= 0);
    }

    private void users() {
        Calls.make("users: list", () -> Calls.newer(admin, "listUser", broker, ""));
        Calls.make("users: rules", () -> Calls.newer(admin, "listAcl", broker, "", ""));
        Calls.make("users: one", () -> Calls.newer(admin, "getUser", broker, "nobody"));
    }

    /** What its dialogs write. */
    private void changes(String name) throws Exception {
        TopicConfig config = new TopicConfig(name, 3, 3, 6);
        Calls.make("changes: a topic", () -> {
            admin.createAndUpdateTopicConfig(broker, config);
            return admin.getAllTopicConfig(broker, LIST_MS).getTopicConfigTable().get(name).toString();
        });
        Calls.make("changes: a group", () -> {
            var changed = admin.examineSubscriptionGroupConfig(broker, group);
            changed.setGroupName(name);
            changed.setRetryMaxTimes(3);
            admin.createAndUpdateSubscriptionGroupConfig(broker, changed);
            return admin.examineSubscriptionGroupConfig(broker, name).toString();
        });
        Calls.make("changes: offsets of a group that is offline", () ->
            new TreeSet<>(admin.resetOffsetByTimestamp(target.topic, "tools-offline", -1, true).values()));
        Calls.make("changes: the same in the old way", () -> {
            Set<String> rows = new TreeSet<>();
            admin.resetOffsetByTimestampOld("tools-offline", target.topic, 0, true).forEach(row ->
                rows.add(row.getQueueId() + " " + row.getBrokerOffset() + " " + row.getRollbackOffset()));
            return rows;
        });
        Calls.make("changes: the group goes", () -> {
            admin.deleteSubscriptionGroup(broker, name, true);
            return admin.getAllSubscriptionGroup(broker, LIST_MS).getSubscriptionGroupTable().containsKey(name);
        });
        Calls.make("changes: the topic goes", () -> {
            admin.deleteTopicInBroker(Set.of(broker), name);
            Set<String> servers = Set.of(target.namesrv);
            if (Calls.knows("listUser")) {
                Calls.newer(admin, "deleteTopicInNameServer", servers, name);
            } else {
                Calls.newer(admin, "deleteTopicInNameServer", servers, name, "DefaultCluster");
            }
            return admin.fetchAllTopicList().getTopicList().contains(name);
        });
    }
}
