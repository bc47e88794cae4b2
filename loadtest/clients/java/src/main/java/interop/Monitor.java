package interop;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.tools.monitor.MonitorConfig;
import org.apache.rocketmq.tools.monitor.MonitorListener;
import org.apache.rocketmq.tools.monitor.MonitorService;

/**
 * One round of what `mqadmin startMonitoring` does each minute, the first time after 20 seconds: that command writes to a log
 * only and never ends.
 */
final class Monitor {
    private Monitor() {
    }

    /** Prints what the service would log. */
    static void round(Target target) throws Exception {
        MonitorConfig config = new MonitorConfig();
        config.setNamesrvAddr(target.namesrv);
        // Its timer goes on when the service has ended.
        AtomicBoolean running = new AtomicBoolean(true);
        // Without naming types whose package is another one in 5.x.
        InvocationHandler print = (proxy, method, arguments) -> {
            if (running.get()) {
                System.out.println("MONITOR " + method.getName());
            }
            return null;
        };
        Class<?>[] types = {MonitorListener.class};
        Object listener = Proxy.newProxyInstance(Monitor.class.getClassLoader(), types, print);
        MonitorService service = new MonitorService(config, (MonitorListener) listener, null);
        service.start();
        service.doMonitorWork();
        running.set(false);
        service.shutdown();
    }
}
