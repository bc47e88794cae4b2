package interop;

import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.remoting.RPCHook;

/** Signs requests with the account of the environment, INTEROP_ACCESS_KEY and INTEROP_SECRET_KEY, if there is one. */
final class Signed {
    private Signed() {
    }

    static RPCHook hook() {
        String accessKey = System.getenv("INTEROP_ACCESS_KEY");
        if (accessKey == null) {
            return null;
        }
        return new AclClientRPCHook(new SessionCredentials(accessKey, System.getenv("INTEROP_SECRET_KEY")));
    }
}
