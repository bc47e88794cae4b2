package interop;

/** One of the messages of a key, which keep their order. */
public class Step {
    private String key;
    private int number;

    public Step() {
    }

    Step(String key, int number) {
        this.key = key;
        this.number = number;
    }

    public String getKey() {
        return key;
    }

    public void setKey(String key) {
        this.key = key;
    }

    public int getNumber() {
        return number;
    }

    public void setNumber(int number) {
        this.number = number;
    }

    @Override
    public String toString() {
        return key + "-" + number;
    }
}
