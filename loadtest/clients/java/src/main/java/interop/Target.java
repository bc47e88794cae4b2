package interop;

/** Where a program works: the name servers and the topic. */
final class Target {
    final String namesrv;
    final String topic;

    Target(String namesrv, String topic) {
        this.namesrv = namesrv;
        this.topic = topic;
    }
}
