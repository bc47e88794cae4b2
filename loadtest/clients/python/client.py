"""The Python client program of the interoperability tests (`rocketmq`, a binding of the C++ client).

produce NAMESRV TOPIC GROUP COUNT [TAG]                  SENT <message id> -1 <offset> <body>: the binding hides the queue
delayed NAMESRV TOPIC GROUP COUNT LEVEL                  the same, with a delay level
ordered NAMESRV TOPIC GROUP COUNT                        the same, the queue of each message chosen by one of 16 keys
orderly NAMESRV TOPIC GROUP EXPECT SECONDS               like consume, in order
broadcast NAMESRV TOPIC GROUP EXPECT SECONDS NAME        like consume, broadcasting, as the instance of this name
failing NAMESRV TOPIC GROUP EXPECT SECONDS TIMES         a listener that fails each message TIMES times: FAIL <tries before> <body>, then RECV
consume NAMESRV TOPIC GROUP EXPECT SECONDS [EXPRESSION]  RECV <queue> <offset> <body>, at the end DONE <count>
"""

import os
import sys
import threading
import time

from rocketmq.client import Message, MessageModel, Producer, PushConsumer, SendStatus
from rocketmq.exceptions import ProducerSendOrderlyFailed, ProducerSendSyncFailed

printing = threading.Lock()

# The library asks a name server for a route once, for three seconds; a busy machine may need longer.
ROUTE_WAIT_MAX = 60


def line(*words):
    with printing:
        print(*words, flush=True)


def send(producer, message, key=None):
    deadline = time.monotonic() + ROUTE_WAIT_MAX
    while True:
        try:
            if key is None:
                return producer.send_sync(message)
            return producer.send_orderly(message, key)
        except (ProducerSendSyncFailed, ProducerSendOrderlyFailed) as failed:
            # Nothing was sent.
            if "No route info" not in str(failed) or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def sign(client):
    """Signs requests with the account of the environment, if there is one."""
    if "INTEROP_ACCESS_KEY" in os.environ:
        keys = os.environ["INTEROP_ACCESS_KEY"], os.environ["INTEROP_SECRET_KEY"]
        client.set_session_credentials(*keys, "")


def produce(namesrv, topic, group, count, tag=None, level=0, is_ordered=False):
    producer = Producer(group)
    producer.set_namesrv_addr(namesrv)
    sign(producer)
    producer.start()
    for n in range(int(count)):
        body = f"{group}.{os.getpid()}-{n}"
        message = Message(topic)
        message.set_keys("key-" + body)
        if tag:
            message.set_tags(tag)
        if level:
            message.set_delay_time_level(level)
        message.set_body(body)
        result = send(producer, message, n % 16 if is_ordered else None)
        if result.status != SendStatus.OK:
            sys.exit(f"send {n}: {result}")
        line("SENT", result.msg_id, -1, -1 if level else result.offset, body)
    producer.shutdown()


def delayed(namesrv, topic, group, count, level):
    produce(namesrv, topic, group, count, level=int(level))


def ordered(namesrv, topic, group, count):
    produce(namesrv, topic, group, count, is_ordered=True)


def orderly(namesrv, topic, group, expect, seconds):
    consume(namesrv, topic, group, expect, seconds, is_orderly=True)


def failing(namesrv, topic, group, expect, seconds, times):
    consume(namesrv, topic, group, expect, seconds, failures=int(times))


def broadcast(namesrv, topic, group, expect, seconds, name):
    consume(namesrv, topic, group, expect, seconds, broadcast_name=name)


def consume(namesrv, topic, group, expect, seconds, expression="*", failures=0, is_orderly=False, broadcast_name=None):
    received = 0
    # The binding does not tell how often a message came.
    tries = {}
    end = threading.Event()
    counting = threading.Lock()

    def on_message(message):
        nonlocal received
        with counting:
            body = message.body.decode()
            before = tries.get(body, 0)
            tries[body] = before + 1
            if before < failures:
                line("FAIL", before, body)
                # The binding prints it and gives the message back.
                raise RuntimeError("failed, as it shall")
            line("RECV", message.queue_id, message.queue_offset, message.body.decode())
            received += 1
            if 0 < int(expect) <= received:
                end.set()

    def watch_input():
        while sys.stdin.buffer.read1(4096):
            pass
        end.set()

    model = MessageModel.BROADCASTING if broadcast_name else MessageModel.CLUSTERING
    consumer = PushConsumer(group, orderly=is_orderly, message_model=model)
    if broadcast_name:
        consumer.set_instance_name(broadcast_name)
    consumer.set_namesrv_addr(namesrv)
    sign(consumer)
    consumer.subscribe(topic, on_message, expression)
    consumer.start()
    line("READY")
    threading.Thread(target=watch_input, daemon=True).start()
    end.wait(float(seconds))
    consumer.shutdown()
    line("DONE", received)


def main():
    verbs = {
        "produce": produce, "delayed": delayed, "ordered": ordered,
        "consume": consume, "orderly": orderly, "failing": failing,
        "broadcast": broadcast,
    }
    if len(sys.argv) < 6 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
    # Destructors of the native objects would shut them down a second time.
    sys.stdout.flush()
    os._exit(0)


main()
