package interop;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What the calls of a program gave, a line each: CALL: what its pages read of it, or CALL: FAILED and the code. */
final class Calls {
    /** A call of an admin client, and what is read of its answer. */
    interface Call {
        Object run() throws Exception;
    }

    private Calls() {
    }

    /** An admin client as the program makes it. */
    static DefaultMQAdminExt admin(Target target, boolean vip) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt(5_000);
        admin.setNamesrvAddr(target.namesrv);
        admin.setVipChannelEnabled(vip);
        admin.setInstanceName("calls-" + System.nanoTime());
        admin.start();
        return admin;
    }

    /** Makes a call and prints its line. The answer, or null when it failed. */
    static Object make(String name, Call call) {
        try {
            Object answer = call.run();
            System.out.println(name + ": " + text(answer));
            return answer;
        } catch (Exception failed) {
            Throwable cause = failed instanceof InvocationTargetException ? failed.getCause() : failed;
            System.out.println(name + ": FAILED " + cause.getClass().getSimpleName() + code(cause));
            return null;
        }
    }

    /** The same for a call whose answer is a list, with a line for each item. */
    static void each(String name, Call call) {
        try {
            for (Object item : (Iterable<?>) call.run()) {
                System.out.println(name + ": " + item);
            }
        } catch (Exception failed) {
            make(name, () -> {
                throw failed;
            });
        }
    }

    /** Calls a method that only one release has, by its name; the arguments tell which of several. */
    static Object newer(DefaultMQAdminExt admin, String method, Object... arguments) throws Exception {
        for (Method known : DefaultMQAdminExt.class.getMethods()) {
            if (known.getName().equals(method) && takes(known.getParameterTypes(), arguments)) {
                return known.invoke(admin, arguments);
            }
        }
        throw new NoSuchMethodException(method);
    }

    /** Whether this is the release that knows it. */
    static boolean knows(String method) {
        for (Method known : DefaultMQAdminExt.class.getMethods()) {
            if (known.getName().equals(method)) {
                return true;
            }
        }
        return false;
    }

    private static boolean takes(Class<?>[] types, Object[] arguments) {
        if (types.length != arguments.length) {
            return false;
        }
        for (int index = 0; index < types.length; index++) {
            boolean number = types[index] == long.class && arguments[index] instanceof Long;
            boolean flag = types[index] == boolean.class && arguments[index] instanceof Boolean;
            if (!number && !flag && !types[index].isInstance(arguments[index])) {
                return false;
            }
        }
        return true;
    }

    /** Maps sorted, as their order is no part of an answer. */
    private static String text(Object answer) {
        return String.valueOf(answer instanceof Map ? new TreeMap<>((Map<?, ?>) answer) : answer);
    }

    private static String code(Throwable failed) {
        if (failed instanceof MQBrokerException) {
            return " " + ((MQBrokerException) failed).getResponseCode();
        }
        return failed instanceof MQClientException ? " " + ((MQClientException) failed).getResponseCode() : "";
    }
}
