// The Go client program of the interoperability tests (github.com/apache/rocketmq-client-go/v2).
//
//	produce NAMESRV TOPIC GROUP COUNT [TAG]                  SENT <offset message id> <queue> <offset> <body>
//	consume NAMESRV TOPIC GROUP EXPECT SECONDS [EXPRESSION]  RECV <queue> <offset> <body>, at the end DONE <count>
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
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
		produce(resolver, topic, group, rest)
	case "consume":
		consume(resolver, topic, group, rest)
	default:
		fail("unknown verb " + verb)
	}
}

func produce(resolver primitive.NsResolver, topic, group string, rest []string) {
	p, err := rocketmq.NewProducer(producer.WithNsResolver(resolver), producer.WithGroupName(group))
	check(err)
	check(p.Start())
	for n := 0; n < number(rest[0]); n++ {
		body := fmt.Sprintf("%s.%d-%d", group, os.Getpid(), n)
		message := primitive.NewMessage(topic, []byte(body))
		message.WithKeys([]string{"key-" + body})
		if len(rest) > 1 {
			message.WithTag(rest[1])
		}
		result, err := p.SendSync(context.Background(), message)
		check(err)
		fmt.Println("SENT", result.OffsetMsgID, result.MessageQueue.QueueId, result.QueueOffset, body)
	}
	check(p.Shutdown())
}

func consume(resolver primitive.NsResolver, topic, group string, rest []string) {
	expect, count := number(rest[0]), 0
	filter := consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}
	if len(rest) > 2 {
		filter.Expression = rest[2]
	}
	c, err := rocketmq.NewPushConsumer(consumer.WithNsResolver(resolver), consumer.WithGroupName(group),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	check(err)
	var lock sync.Mutex
	end := make(chan struct{})
	stop := sync.OnceFunc(func() { close(end) })
	check(c.Subscribe(topic, filter, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		lock.Lock()
		defer lock.Unlock()
		for _, m := range messages {
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
	// The listener's answer is booked after it returns; the commit at shutdown must see it.
	time.Sleep(100 * time.Millisecond)
	check(c.Shutdown())
	lock.Lock()
	defer lock.Unlock()
	fmt.Println("DONE", count)
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
