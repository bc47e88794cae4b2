import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.serializer.SerializerFeature;
import java.io.PrintStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLEncoder;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.SerializeType;

/** Prints what Apache RocketMQ's classes encode, for both lines of releases; packages that moved are looked up by name. */
public final class GoldenVectors {
    private static String version;
    private static PrintStream out;

    public static void main(String[] args) throws Exception {
        version = args[0];
        System.setProperty(RemotingCommand.REMOTING_VERSION_KEY, version.startsWith("4") ? "405" : "477");
        try (PrintStream file = open(args[1], "frames")) {
            out = file;
            frames();
        }
        try (PrintStream file = open(args[1], "records")) {
            out = file;
            records();
            batches();
            scalars();
        }
        try (PrintStream file = open(args[1], "bodies")) {
            out = file;
            bodies();
            registrations();
        }
    }

    private static PrintStream open(String folder, String what) throws Exception {
        return new PrintStream(Path.of(folder, what + "-" + version + ".txt").toFile(), StandardCharsets.UTF_8);
    }

    private static void emit(String how, String name, byte[] bytes, Map<String, ?> input) throws Exception {
        StringBuilder query = new StringBuilder();
        for (Map.Entry<String, ?> entry : input.entrySet()) {
            query.append(query.length() == 0 ? "" : "&");
            query.append(URLEncoder.encode(entry.getKey(), StandardCharsets.UTF_8)).append('=');
            query.append(URLEncoder.encode(String.valueOf(entry.getValue()), StandardCharsets.UTF_8));
        }
        StringBuilder hex = new StringBuilder();
        for (byte b : bytes) {
            hex.append(String.format("%02x", b));
        }
        out.print("# Apache RocketMQ " + version + ": " + how + "\n" + name + " " + hex + "\n= " + query + "\n");
    }

    private static Class<?> find(String name) throws ClassNotFoundException {
        String[] roots = {"org.apache.rocketmq.common.", "org.apache.rocketmq.common.protocol.",
            "org.apache.rocketmq.remoting.protocol.", "org.apache.rocketmq.store.", "org.apache.rocketmq.common.message."};
        for (String root : roots) {
            try {
                return Class.forName(root + name);
            } catch (ClassNotFoundException ignored) {
                // It may be under the next root.
            }
        }
        throw new ClassNotFoundException(name);
    }

    // ---- frames

    private static void frames() throws Exception {
        String unicode = "KEYS\u0001schl\u00fcssel \u2713\u0002emoji\u0001\ud83d\ude00\u0002quote\u0001\"\\/\b\t\n\f\r\u000b\u001f\u007f\u0002WAIT\u0001true";
        for (SerializeType type : SerializeType.values()) {
            String send = "{producerGroup:'pg',topic:'orders',defaultTopic:'TBW102',defaultTopicQueueNums:4,queueId:3,sysFlag:0,"
                + "bornTimestamp:1700000000000,flag:7,reconsumeTimes:0,unitMode:false,batch:false,properties:";
            String plain = JSON.toJSONString("TAGS\u0001a\u0002UNIQ_KEY\u00017F0000010001\u0002WAIT\u0001true\u0002");
            request(type, "send_v1", 10, "header.SendMessageRequestHeader", send + plain + "}", "hello");
            request(type, "send_v1_unicode", 10, "header.SendMessageRequestHeader", send + JSON.toJSONString(unicode) + "}", "\u00e9\ud83d\ude00");
            String v2 = "{a:'pg',b:'orders',c:'TBW102',d:4,e:3,f:0,g:1700000000000,h:7,j:0,k:false,m:false,i:";
            request(type, "send_v2", 310, "header.SendMessageRequestHeaderV2", v2 + plain + "}", "hello");
            request(type, "send_v2_unicode", 310, "header.SendMessageRequestHeaderV2", v2 + JSON.toJSONString(unicode) + "}", "");
            request(type, "send_batch", 320, "header.SendMessageRequestHeaderV2", v2.replace("m:false", "m:true") + "''}", "batch");
            request(type, "pull", 11, "header.PullMessageRequestHeader",
                "{consumerGroup:'cg',topic:'orders',queueId:1,queueOffset:9223372036854775807,maxMsgNums:32,sysFlag:6,commitOffset:-1,"
                + "suspendTimeoutMillis:15000,subscription:'a || b',subVersion:1700000000001,expressionType:'TAG'}", null);
            request(type, "query_offset", 14, "header.QueryConsumerOffsetRequestHeader", "{consumerGroup:'cg',topic:'orders',queueId:2}", null);
            request(type, "update_offset", 15, "header.UpdateConsumerOffsetRequestHeader",
                "{consumerGroup:'cg',topic:'orders',queueId:2,commitOffset:42}", null);
            request(type, "search_offset", 29, "header.SearchOffsetRequestHeader", "{topic:'orders',queueId:0,timestamp:1700000000000}", null);
            request(type, "max_offset", 30, "header.GetMaxOffsetRequestHeader", "{topic:'orders',queueId:0}", null);
            request(type, "consumer_list", 38, "header.GetConsumerListByGroupRequestHeader", "{consumerGroup:'cg'}", null);
            request(type, "route", 105, "header.namesrv.GetRouteInfoRequestHeader", "{topic:'%RETRY%cg'}", null);
            request(type, "register", 103, "header.namesrv.RegisterBrokerRequestHeader",
                "{brokerName:'b-a',brokerAddr:'10.0.0.1:10911',clusterName:'c1',haServerAddr:'10.0.0.1:10912',brokerId:0,compressed:true,bodyCrc32:12345}", "x");
            request(type, "heartbeat", 34, "header.HeartbeatRequestHeader", null, "{\"clientID\":\"c\"}");
            request(type, "no_header", 106, null, null, null);
            response(type, "pull_response", 0, null, "header.PullMessageResponseHeader",
                "{suggestWhichBrokerId:0,nextBeginOffset:10,minOffset:0,maxOffset:20}", "body");
            response(type, "send_response", 0, null, "header.SendMessageResponseHeader",
                "{msgId:'7F00000100002A9F00000000000004D2',queueId:3,queueOffset:77}", null);
            response(type, "error_remark", 17, "No topic route info: \"orders\"\n\tsee http://rocketmq.apache.org \u2713 \ud83d\ude00 \u0001\u2028", null, null, null);
            response(type, "error_empty_remark", 2, "", null, null, null);
            response(type, "not_found", 22, null, "header.QueryConsumerOffsetResponseHeader", "{}", null);
        }
    }

    private static void request(SerializeType type, String name, int code, String header, String json, String body) throws Exception {
        CommandCustomHeader custom = json == null ? null : (CommandCustomHeader) JSON.parseObject(json, find(header));
        RemotingCommand command = RemotingCommand.createRequestCommand(code, custom);
        if (name.equals("update_offset")) {
            command.markOnewayRPC();
        }
        frame(type, name, command, header, body);
    }

    private static void response(SerializeType type, String name, int code, String remark, String header, String json, String body) throws Exception {
        RemotingCommand command = header == null ? RemotingCommand.createResponseCommand(code, remark)
            : RemotingCommand.createResponseCommand((Class) find(header));
        command.setCode(code);
        command.setRemark(remark);
        if (header != null) {
            CommandCustomHeader custom = (CommandCustomHeader) JSON.parseObject(json, find(header));
            Method set = RemotingCommand.class.getMethod("writeCustomHeader", CommandCustomHeader.class);
            set.invoke(command, custom);
        }
        frame(type, name, command, header, body);
    }

    private static void frame(SerializeType type, String name, RemotingCommand command, String header, String body) throws Exception {
        command.setSerializeTypeCurrentRPC(type);
        command.setOpaque(1000 + name.length());
        if (body != null) {
            command.setBody(body.getBytes(StandardCharsets.UTF_8));
        }
        ByteBuffer encoded = command.encode();
        Map<String, Object> input = new LinkedHashMap<>();
        input.put("code", command.getCode());
        input.put("version", command.getVersion());
        input.put("opaque", command.getOpaque());
        input.put("flag", command.getFlag());
        if (command.getRemark() != null) {
            input.put("remark", command.getRemark());
        }
        if (body != null) {
            input.put("body", body);
        }
        if (command.getExtFields() != null) {
            new TreeMap<>(command.getExtFields()).forEach((key, value) -> input.put("ext." + key, value));
        }
        String how = "RemotingCommand.encode, " + type + " header" + (header == null ? "" : ", " + header);
        emit(how, name + "_" + type.toString().toLowerCase(), rest(encoded), input);
    }

    private static byte[] rest(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    // ---- records

    private static void records() throws Exception {
        String v4 = "10.1.2.3", v6 = "2001:db8:0:0:0:0:0:1", props = "KEYS\u0001k1 k2\u0002TAGS\u0001a\u0002CLUSTER\u0001c1";
        record("plain", v4, "192.168.0.1", "orders", "hello".getBytes(), props, 0, 0);
        record("born_v6", v6, "192.168.0.1", "orders", "hello".getBytes(), props, 0, 0);
        record("store_v6", v4, "fe80:0:0:0:0:0:0:1", "orders", "hello".getBytes(), props, 0, 0);
        record("both_v6", v6, "0:0:0:0:0:0:0:1", "orders", "hello".getBytes(), props, 0, 0);
        record("empty_properties", v4, "127.0.0.1", "orders", "x".getBytes(), "", 0, 0);
        record("empty_body", v4, "127.0.0.1", "orders", new byte[0], props, 0, 0);
        record("unicode", v4, "127.0.0.1", "t\u00f6pic\u2713", "\ud83d\ude00".getBytes(StandardCharsets.UTF_8),
            "KEYS\u0001schl\u00fcssel\u0002e\u0001\ud83d\ude00", 0, 0);
        record("compressed", v4, "127.0.0.1", "orders", UtilAll.compress(new byte[5000], 5), props, 1 | 0x300, 0);
        record("prepared", v4, "127.0.0.1", "RMQ_SYS_TRANS_HALF_TOPIC", "half".getBytes(), props, 4, 0);
        record("commit", v4, "127.0.0.1", "orders", "half".getBytes(), props, 8, 123456789012L);
        record("rollback", v4, "127.0.0.1", "orders", "half".getBytes(), props, 12, 123456789012L);
        record("topic_127", v4, "127.0.0.1", "t".repeat(127), "hello".getBytes(), props, 2, 0);
        record("properties_32767", v4, "127.0.0.1", "orders", "hello".getBytes(), "p\u0001" + "v".repeat(32765), 0, 0);
    }

    private static void record(String name, String born, String store, String topic, byte[] body, String props, int sysFlag, long prepared)
        throws Exception {
        Class<?> inner = find("MessageExtBrokerInner");
        MessageExt message = (MessageExt) inner.getConstructor().newInstance();
        message.setTopic(topic);
        message.setBody(body);
        message.setFlag(-7);
        message.setQueueId(3);
        message.setSysFlag(sysFlag);
        message.setBornTimestamp(1700000000000L);
        message.setBornHost(new InetSocketAddress(InetAddress.getByName(born), 45678));
        message.setStoreHost(new InetSocketAddress(InetAddress.getByName(store), 10911));
        message.setReconsumeTimes(2);
        message.setPreparedTransactionOffset(prepared);
        message.setBodyCRC(UtilAll.crc32(body));
        if (born.contains(":")) {
            message.setBornHostV6Flag();
        }
        if (store.contains(":")) {
            message.setStoreHostAddressV6Flag();
        }
        inner.getMethod("setPropertiesString", String.class).invoke(message, props);
        Map<String, Object> input = new LinkedHashMap<>();
        input.put("topic", topic);
        input.put("properties", props);
        input.put("bornHost", born);
        input.put("storeHost", store);
        input.put("sysFlag", message.getSysFlag());
        input.put("prepared", prepared);
        input.put("bodyCrc", message.getBodyCRC());
        input.put("bodyLength", body.length);
        emit("the store's MessageExtEncoder.encode", "stored_" + name, storeEncode(message), input);
        // The second encoder also fills in the place. It wants properties as a map and recomputes the size.
        MessageAccessor.setProperties(message, MessageDecoder.string2messageProperties(props));
        message.setQueueOffset(11);
        message.setCommitLogOffset(1L << 40);
        message.setStoreTimestamp(1700000000001L);
        input.put("properties", MessageDecoder.messageProperties2String(message.getProperties()));
        input.put("queueOffset", 11);
        input.put("physicalOffset", 1L << 40);
        input.put("storeTimestamp", 1700000000001L);
        if (!name.startsWith("properties_") && body.length > 0) {
            emit("MessageDecoder.encode, uncompressed", "decoder_" + name, MessageDecoder.encode(message, false), input);
        }
    }

    private static byte[] storeEncode(MessageExt message) throws Exception {
        Object encoder;
        Class<?> type;
        if (version.startsWith("4")) {
            type = Class.forName("org.apache.rocketmq.store.CommitLog$MessageExtEncoder");
            Constructor<?> make = type.getDeclaredConstructor(int.class);
            make.setAccessible(true);
            encoder = make.newInstance(4 << 20);
        } else {
            type = Class.forName("org.apache.rocketmq.store.MessageExtEncoder");
            Object config = Class.forName("org.apache.rocketmq.store.config.MessageStoreConfig").getConstructor().newInstance();
            encoder = type.getConstructor(config.getClass()).newInstance(config);
        }
        Method encode = type.getDeclaredMethod("encode", find("MessageExtBrokerInner"));
        encode.setAccessible(true);
        Object refused = encode.invoke(encoder, message);
        if (refused != null) {
            throw new IllegalStateException("refused: " + message.getTopic());
        }
        Method buffer = type.getMethod("getEncoderBuffer");
        buffer.setAccessible(true);
        ByteBuffer bytes = ((ByteBuffer) buffer.invoke(encoder)).duplicate();
        bytes.position(0);
        bytes.limit(bytes.getInt(0));
        return rest(bytes);
    }

    private static void batches() throws Exception {
        List<Message> messages = new ArrayList<>();
        Map<String, Object> input = new LinkedHashMap<>();
        for (int index = 0; index < 3; index++) {
            Message message = new Message("orders", index == 1 ? "" : "tag" + index, ("body-" + index).repeat(index).getBytes());
            message.setFlag(index - 1);
            messages.add(message);
            input.put("flag" + index, message.getFlag());
            input.put("body" + index, new String(message.getBody()));
            input.put("properties" + index, MessageDecoder.messageProperties2String(message.getProperties()));
        }
        emit("MessageDecoder.encodeMessages", "batch_three", MessageDecoder.encodeMessages(messages), input);
    }

    private static void scalars() throws Exception {
        for (String host : new String[] {"127.0.0.1:10911", "255.255.255.255:65535", "0.0.0.0:0", "2001:db8:0:0:0:0:0:1:10911"}) {
            int colon = host.lastIndexOf(':');
            InetSocketAddress address = new InetSocketAddress(InetAddress.getByName(host.substring(0, colon)), Integer.parseInt(host.substring(colon + 1)));
            for (long offset : new long[] {0, 1234, Long.MAX_VALUE}) {
                String id = MessageDecoder.createMessageId(address, offset);
                Map<String, Object> input = new LinkedHashMap<>();
                input.put("ip", host.substring(0, colon));
                input.put("port", address.getPort());
                input.put("offset", offset);
                emit("MessageDecoder.createMessageId, as text", "message_id", id.getBytes(), input);
            }
        }
        for (String text : new String[] {"", "a", "TagA", "polygenelubricants", "schl\u00fcssel \u2713", "\ud83d\ude00", "\u0001\u0002"}) {
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            emit("UtilAll.crc32 and String.hashCode of the bytes", "hash", bytes, Map.of("crc", UtilAll.crc32(bytes), "hash", text.hashCode()));
        }
        String[] texts = {"a\u00011\u0002b\u00012\u0002", "a\u00011\u0002b\u00012", "a\u0001\u0002b\u00012", "\u00011\u0002b\u00012", "a\u0002b\u00012",
            "\u0002\u0002b\u00012\u0002\u0002", "a\u00011\u0002a\u00012", "a\u00011\u00012\u0002", "", "\u0001\u0002", "a", "ab\u0001", "a\u0001b"};
        for (String text : texts) {
            Map<String, String> read = new TreeMap<>(MessageDecoder.string2messageProperties(text));
            emit("MessageDecoder.string2messageProperties of the bytes", "properties", text.getBytes(), read);
        }
    }

    // ---- bodies

    private static void bodies() throws Exception {
        String sub = "{classFilterMode:false,codeSet:[97],expressionType:'TAG',subString:'a',subVersion:1700000000001,tagsSet:['a'],topic:'orders'}";
        body("data_version", "DataVersion", "{counter:3,timestamp:1700000000000}");
        body("topic_config_table", "body.TopicConfigSerializeWrapper", "{dataVersion:{counter:3,timestamp:1700000000000},topicConfigTable:{"
            + "orders:{order:true,perm:6,readQueueNums:4,topicFilterType:'MULTI_TAG',topicName:'orders',topicSysFlag:1,writeQueueNums:5}}}");
        body("topic_list", "body.TopicList", "{topicList:['orders'],brokerAddr:'10.0.0.1:10911'}");
        body("group_table", "body.SubscriptionGroupWrapper", "{dataVersion:{counter:3,timestamp:1700000000000},subscriptionGroupTable:{"
            + "cg:{groupName:'cg',consumeBroadcastEnable:false,retryMaxTimes:5}}}");
        body("group_config", "subscription.SubscriptionGroupConfig", "{groupName:'cg',brokerId:1,retryQueueNums:2}");
        body("group_list", "body.GroupList", "{groupList:['cg']}");
        body("consumer_ids", "body.GetConsumerListByGroupResponseBody".replace("body.", "header."), "{consumerIdList:['10.0.0.9@1','10.0.0.9@2']}");
        String connection = "{clientAddr:'10.0.0.9:5555',clientId:'10.0.0.9@123',language:'GO',version:317}";
        body("consumer_connection", "body.ConsumerConnection", "{connectionSet:[" + connection + "],consumeFromWhere:'CONSUME_FROM_FIRST_OFFSET',"
            + "consumeType:'CONSUME_ACTIVELY',messageModel:'BROADCASTING',subscriptionTable:{orders:" + sub + "}}");
        body("producer_connection", "body.ProducerConnection", "{connectionSet:[" + connection + "]}");
        String queue = "{brokerName:'b-a',queueId:2,topic:'orders'}";
        body("consume_stats", "admin.ConsumeStats", "{consumeTps:1.5,offsetTable:{" + queue + ":{brokerOffset:10,consumerOffset:8,lastTimestamp:7}}}");
        body("topic_stats", "admin.TopicStatsTable", "{offsetTable:{" + queue + ":{lastUpdateTimestamp:5,maxOffset:9,minOffset:1}}}");
        body("kv_table", "body.KVTable", "{table:{key:" + JSON.toJSONString("v \"q\" \\ / \b\t\n\f\r\u000b\u0001\u001f\u007f\u0080\u00a0\u00a1 \u00e9 \u2713 \u2028\u2029 \ud83d\ude00 <>'&") + "}}");
        body("offset_table", "body.ConsumerOffsetSerializeWrapper", "{offsetTable:{'orders@cg':{0:5,1:6}}}");
        body("lock_request", "body.LockBatchRequestBody", "{clientId:'c',consumerGroup:'cg',mqSet:[" + queue + "]}");
        body("unlock_request", "body.UnlockBatchRequestBody", "{clientId:'c',consumerGroup:'cg',mqSet:[" + queue + "]}");
        body("lock_response", "body.LockBatchResponseBody", "{lockOKMQSet:[" + queue + "]}");
        body("check_client", "body.CheckClientRequestBody", "{clientId:'c',group:'cg',subscriptionData:" + sub + "}");
        String consumer = "{consumeFromWhere:'CONSUME_FROM_LAST_OFFSET',consumeType:'CONSUME_PASSIVELY',groupName:'cg',messageModel:'CLUSTERING',"
            + "subscriptionDataSet:[" + sub + "],unitMode:false}";
        body("heartbeat", "heartbeat.HeartbeatData", "{clientID:'10.0.0.9@123#456',consumerDataSet:[" + consumer + "],producerDataSet:[{groupName:'pg'}]}");
        body("heartbeat_producer", "heartbeat.HeartbeatData", "{clientID:'c',producerDataSet:[{groupName:'pg'}]}");
        String broker = "{brokerAddrs:{0:'10.0.0.1:10911'},brokerName:'b-a',cluster:'c1'}";
        body("cluster_info", "body.ClusterInfo", "{brokerAddrTable:{'b-a':" + broker + "},clusterAddrTable:{c1:['b-a']}}");
        for (String order : new String[] {"", ",orderTopicConf:'b-a:4;b-b:2'"}) {
            String json = "{brokerDatas:[" + broker.replace("}", ",1:'10.0.0.2:10911'}").replace("c1',1:'10.0.0.2:10911'}", "c1'}") + "],filterServerTable:{},"
                + "queueDatas:[{brokerName:'b-a',perm:6,readQueueNums:4,topicSysFlag:0,writeQueueNums:4}]" + order + "}";
            body(order.isEmpty() ? "route" : "route_order", "route.TopicRouteData", json);
        }
        body("route_odd_names", "route.TopicRouteData", ("{brokerDatas:[" + broker + "],filterServerTable:{},queueDatas:[]}").replace("b-a", "b/\u00e9\ud83d\ude00<(\u007f\t\\\\\\\""));
    }

    private static void body(String name, String type, String json) throws Exception {
        Class<?> found = find(type);
        Object value = JSON.parseObject(json, found);
        emit(type + " read from text, RemotingSerializable.encode", name, RemotingSerializable.encode(value), Map.of("from", json));
        if (name.startsWith("route")) {
            byte[] standard = ((RemotingSerializable) value).encode(SerializerFeature.BrowserCompatible,
                SerializerFeature.QuoteFieldNames, SerializerFeature.SkipTransientField, SerializerFeature.MapSortField);
            emit(type + " read from text, encode in standard JSON as for 105", name + "_standard", standard, Map.of("from", json));
        }
    }

    private static void registrations() throws Exception {
        String topic = "{order:false,perm:6,readQueueNums:4,topicFilterType:'SINGLE_TAG',topicName:'NAME',topicSysFlag:0,writeQueueNums:8}";
        String table = "orders:" + topic.replace("NAME", "orders");
        for (String topics : new String[] {"", table, table + ",'%RETRY%cg':" + topic.replace("NAME", "%RETRY%cg")}) {
            String json = "{filterServerList:[],topicConfigSerializeWrapper:{dataVersion:{counter:3,timestamp:1700000000000},topicConfigTable:{" + topics + "}}}";
            int count = topics.isEmpty() ? 0 : topics.split("topicName").length - 1;
            Class<?> type = find("body.RegisterBrokerBody");
            Object value = JSON.parseObject(json, type);
            Method encode = type.getMethod("encode", boolean.class);
            for (boolean compress : new boolean[] {false, true}) {
                byte[] bytes = (byte[]) encode.invoke(value, compress);
                Map<String, Object> input = new LinkedHashMap<>();
                input.put("compressed", compress);
                input.put("crc", UtilAll.crc32(bytes));
                input.put("topics", count);
                emit("RegisterBrokerBody.encode(" + compress + ")", "register_" + count + (compress ? "_compressed" : ""), bytes, input);
            }
        }
    }
}
