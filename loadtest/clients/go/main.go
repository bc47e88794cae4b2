// The Go client program of the interoperability tests (github.com/apache/rocketmq-client-go/v2).
//
//	produce NAMESRV TOPIC GROUP COUNT [TAG]                  SENT <offset message id> <queue> <offset> <body>
//	delayed NAMESRV TOPIC GROUP COUNT LEVEL                  the same, with a delay level
//	ordered NAMESRV TOPIC GROUP COUNT                        the same, the queue of each message chosen by one of 16 keys
//	orderly NAMESRV TOPIC GROUP EXPECT SECONDS               like consume, in order
//	matching NAMESRV TOPIC GROUP EXPECT SECONDS SQL          like consume, with an SQL92 filter; produce gives its n-th message
//	                                                         the property n
//	failing NAMESRV TOPIC GROUP EXPECT SECONDS TIMES[/MOST]  a listener that fails each message TIMES times: FAIL <tries before> <body>,
//	                                                         then RECV; it gives up after MOST retries
//	broadcast NAMESRV TOPIC GROUP EXPECT SECONDS NAME        like consume, broadcasting, as the instance of this name
//	request NAMESRV TOPIC GROUP COUNT                        sends requests and waits for their replies: REPLY <body> <body of the reply>
//	transact NAMESRV TOPIC GROUP COUNT                       transactional messages: of four one is committed and one rolled back at
//	                                                         once, the others when the broker asks: HALF COMMIT_MESSAGE|ROLLBACK_MESSAGE
//	                                                         <body>, CHECK <topic> <queue> <body>
//	replying NAMESRV TOPIC GROUP EXPECT SECONDS              like consume; replies to each message with reply-to-<body>
//	consume NAMESRV TOPIC GROUP EXPECT SECONDS [EXPRESSION]  RECV <queue> <offset> <body>, at the end DONE <count>
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

func main() {
	rlog.SetLogLevel("warn")
	if len(os.Args) < 6 {
		fail("usage: produce|consume NAMESRV TOPIC GROUP COUNT ...")
	}
	verb, namesrv, topic, group, rest := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5:]
	resolver := primitive.NewPassthroughResolver([]string{namesrv})
	switch verb {
	case "produce":
		produce(resolver, topic, group, rest, 0, false)
	case "delayed":
		produce(resolver, topic, group, rest[:1], number(rest[1]), false)
	case "ordered":
		produce(resolver, topic, group, rest, 0, true)
	case "request":
		request(resolver, topic, group, number(rest[0]))
	case "transact":
		transact(resolver, topic, group, number(rest[0]))
	case "replying":
		p, err := rocketmq.NewProducer(producer.WithNsResolver(resolver), producer.WithGroupName(group+"-replies"))
		check(err)
		check(p.Start())
		replyTo = func(message *primitive.MessageExt) { reply(p, message) }
		consume(resolver, topic, group, rest, tags("*"), 0)
		check(p.Shutdown())
	case "broadcast":
		consume(resolver, topic, group, rest, tags("*"), 0, consumer.WithConsumerModel(consumer.BroadCasting), consumer.WithInstance(rest[2]))
	case "orderly":
		consume(resolver, topic, group, rest, tags("*"), 0, consumer.WithConsumerOrder(true))
	case "consume":
		filter := "*"
		if len(rest) > 2 {
			filter = rest[2]
		}
		consume(resolver, topic, group, rest, tags(filter), 0)
	case "matching":
		consume(resolver, topic, group, rest, consumer.MessageSelector{Type: consumer.SQL92, Expression: rest[2]}, 0)
	case "failing":
		times, most, limited := strings.Cut(rest[2], "/")
		var options []consumer.Option
		if limited {
			options = append(options, consumer.WithMaxReconsumeTimes(int32(number(most))))
		}
		consume(resolver, topic, group, rest, tags("*"), number(times), options...)
	default:
		fail("unknown verb " + verb)
	}
}

// credentials are those of the environment; without an account nothing is signed.
func credentials() primitive.Credentials {
	return primitive.Credentials{AccessKey: os.Getenv("INTEROP_ACCESS_KEY"), SecretKey: os.Getenv("INTEROP_SECRET_KEY")}
}

func produce(resolver primitive.NsResolver, topic, group string, rest []string, level int, ordered bool) {
	options := []producer.Option{producer.WithNsResolver(resolver), producer.WithGroupName(group), producer.WithCredentials(credentials())}
	if ordered {
		options = append(options, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	}
	p, err := rocketmq.NewProducer(options...)
	check(err)
	check(p.Start())
	for n := 0; n < number(rest[0]); n++ {
		body := fmt.Sprintf("%s.%d-%d", group, os.Getpid(), n)
		message := primitive.NewMessage(topic, []byte(body))
		message.WithKeys([]string{"key-" + body})
		message.WithProperty("n", strconv.Itoa(n))
		if ordered {
			message.WithShardingKey(strconv.Itoa(n % 16))
		}
		if len(rest) > 1 {
			message.WithTag(rest[1])
		}
		offset := int64(-1)
		if level > 0 {
			message.WithDelayTimeLevel(level)
		}
		result, err := p.SendSync(context.Background(), message)
		check(err)
		if level == 0 {
			offset = result.QueueOffset
		}
		fmt.Println("SENT", result.OffsetMsgID, result.MessageQueue.QueueId, offset, body)
	}
	check(p.Shutdown())
}

// What is decided, by the number at the end of a body.
type decisions struct {
	lock    sync.Mutex
	checked map[string]bool
}

func decision(body string) (int, primitive.LocalTransactionState, string) {
	n := number(body[strings.LastIndex(body, "-")+1:])
	if n%2 == 0 {
		return n, primitive.CommitMessageState, "COMMIT_MESSAGE"
	}
	return n, primitive.RollbackMessageState, "ROLLBACK_MESSAGE"
}

func (d *decisions) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	n, state, _ := decision(string(message.Body))
	if n%4 < 2 {
		return state
	}
	return primitive.UnknowState
}

func (d *decisions) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	body := string(message.Body)
	d.lock.Lock()
	defer d.lock.Unlock()
	fmt.Println("CHECK", message.Topic, message.Queue.QueueId, body)
	d.checked[body] = true
	_, state, _ := decision(body)
	return state
}

func transact(resolver primitive.NsResolver, topic, group string, count int) {
	rlog.SetLogLevel("fatal") // The client takes each decision but a commit for an error.
	d := &decisions{checked: make(map[string]bool)}
	p, err := rocketmq.NewTransactionProducer(d, producer.WithNsResolver(resolver), producer.WithGroupName(group))
	check(err)
	check(p.Start())
	for n := 0; n < count; n++ {
		body := fmt.Sprintf("%s.%d-%d", group, os.Getpid(), n)
		_, err := p.SendMessageInTransaction(context.Background(), primitive.NewMessage(topic, []byte(body)))
		check(err)
		_, _, name := decision(body)
		d.lock.Lock()
		fmt.Println("HALF", name, body)
		d.lock.Unlock()
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		d.lock.Lock()
		checked := len(d.checked)
		d.lock.Unlock()
		if checked >= count/2 {
			break
		}
		if time.Now().After(deadline) {
			fail("only " + strconv.Itoa(checked) + " were checked")
		}
	}
	// Decisions are one-way: shutting down at once could drop the last ones.
	time.Sleep(time.Second)
	check(p.Shutdown())
}

// A request that comes before the broker has heard of this producer has no reply: it sends its first heartbeat a second after
// its start, to the brokers that it knows by then.
func request(resolver primitive.NsResolver, topic, group string, count int) {
	p, err := rocketmq.NewProducer(producer.WithNsResolver(resolver), producer.WithGroupName(group))
	check(err)
	check(p.Start())
	for n := 0; n < count; n++ {
		body := fmt.Sprintf("%s.%d-%d", group, os.Getpid(), n)
		for deadline := time.Now().Add(2 * time.Minute); ; {
			answer, err := p.Request(context.Background(), 5*time.Second, primitive.NewMessage(topic, []byte(body)))
			if err == nil {
				fmt.Println("REPLY", body, string(answer.Body))
				break
			}
			fmt.Fprintln(os.Stderr, body, err)
			if time.Now().After(deadline) {
				fail("no reply")
			}
		}
	}
	check(p.Shutdown())
}

// What is done with each message before it is noted.
var replyTo = func(*primitive.MessageExt) {}

// A reply that fails is not repeated: who asks does that.
func reply(p rocketmq.Producer, message *primitive.MessageExt) {
	answer, err := consumer.CreateReplyMessage(message, nil)
	check(err)
	// The library loses the body that it is given.
	answer.Body = []byte("reply-to-" + string(message.Body))
	if _, err = p.SendSync(context.Background(), answer); err != nil {
		fmt.Fprintln(os.Stderr, string(message.Body), err)
	}
}

func consume(resolver primitive.NsResolver, topic, group string, rest []string, filter consumer.MessageSelector, failures int, more ...consumer.Option) {
	expect, count := number(rest[0]), 0
	options := append([]consumer.Option{consumer.WithNsResolver(resolver), consumer.WithGroupName(group),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset), consumer.WithCredentials(credentials())}, more...)
	c, err := rocketmq.NewPushConsumer(options...)
	check(err)
	var lock sync.Mutex
	end := make(chan struct{})
	stop := sync.OnceFunc(func() { close(end) })
	check(c.Subscribe(topic, filter, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		lock.Lock()
		defer lock.Unlock()
		for _, m := range messages {
			if int(m.ReconsumeTimes) < failures {
				// One message at a time, as is the default.
				fmt.Println("FAIL", m.ReconsumeTimes, string(m.Body))
				return consumer.ConsumeRetryLater, nil
			}
			replyTo(m)
			fmt.Println("RECV", m.Queue.QueueId, m.QueueOffset, string(m.Body))
			count++
		}
		if expect > 0 && count >= expect {
			stop()
		}
		return consumer.ConsumeSuccess, nil
	}))
	check(c.Start())
	fmt.Println("READY")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	select {
	case <-end:
	case <-time.After(time.Duration(number(rest[1])) * time.Second):
	}
	// The listener's answer is booked after it returns, on a busy machine long after: the table of offsets is locked while the
	// client asks the broker for one. What is not booked yet is not committed at the end.
	time.Sleep(2 * time.Second)
	check(c.Shutdown())
	lock.Lock()
	defer lock.Unlock()
	fmt.Println("DONE", count)
}

func tags(expression string) consumer.MessageSelector {
	return consumer.MessageSelector{Type: consumer.TAG, Expression: expression}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}
