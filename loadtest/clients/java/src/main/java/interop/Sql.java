package interop;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.expression.MQFilterException;
import org.apache.rocketmq.filter.parser.SelectorParser;

/** What Java's own evaluator says of expressions and messages. */
final class Sql {
    private Sql() {
    }

    /** Each line of the file: an expression and the properties of a message, both in hexadecimal, and a blank between. */
    static void evaluate(String file) throws Exception {
        for (String line : Files.readAllLines(Path.of(file))) {
            int blank = line.indexOf(' ');
            System.out.println(verdict(text(line.substring(0, blank)), text(line.substring(blank + 1))));
        }
    }

    private static String verdict(String text, String properties) {
        Expression expression;
        try {
            expression = SelectorParser.parse(text);
        } catch (MQFilterException refused) {
            return "REFUSED";
        }
        Map<String, String> values = MessageDecoder.string2messageProperties(properties);
        EvaluationContext message = new EvaluationContext() {
            @Override
            public Object get(String name) {
                return values.get(name);
            }

            @Override
            public Map<String, Object> keyValues() {
                throw new UnsupportedOperationException();
            }
        };
        try {
            // As the broker takes it: whatever goes wrong is no match.
            return Boolean.TRUE.equals(expression.evaluate(message)) ? "MATCH" : "NONE";
        } catch (Throwable failed) {
            return "NONE";
        }
    }

    private static String text(String hexadecimal) {
        byte[] bytes = new byte[hexadecimal.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(hexadecimal.substring(2 * i, 2 * i + 2), 16);
        }
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
