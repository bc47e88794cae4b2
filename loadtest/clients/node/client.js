// The Node client program of the interoperability tests (ali-ons). The topic must exist before.
//   produce NAMESRV TOPIC GROUP COUNT [TAG]                  SENT <message id> <queue> <offset> <body>
//   delayed NAMESRV TOPIC GROUP COUNT LEVEL                  the same, with a delay level
//   failing NAMESRV TOPIC GROUP EXPECT SECONDS TIMES[/MOST]  a listener that fails each message TIMES times: FAIL <tries before> <body>,
//                                                            then RECV; it gives up after MOST retries
//   consume NAMESRV TOPIC GROUP EXPECT SECONDS [EXPRESSION]  RECV <queue> <offset> <body>, at the end DONE <count>
'use strict';

const { Consumer, Message, Producer } = require('ali-ons');

// The client logs every rebalance at info level; only what went wrong is of interest here.
const logger = { info() {}, debug() {}, warn: console.error, error: console.error };

// The client insists on an HTTP client for looking up name servers, and signs every request with these keys.
const httpclient = { async request() { throw new Error('name servers are given, nobody should ask'); } };
const common = namesrv => ({ nameSrv: namesrv, httpclient, logger, accessKeyId: 'interop', accessKeySecret: 'interop' });

async function produce(namesrv, topic, group, count, tag, level) {
  const producer = new Producer({ ...common(namesrv), producerGroup: group });
  await producer.ready();
  for (let n = 0; n < Number(count); n++) {
    const body = `${group}.${process.pid}-${n}`;
    const message = new Message(topic, tag || '', body);
    message.keys = ['key-' + body];
    if (level) message.delayTimeLevel = level;
    const result = await producer.send(message);
    if (result.sendStatus !== 'SEND_OK') throw new Error(`send ${n}: ${JSON.stringify(result)}`);
    console.log('SENT', result.msgId, result.messageQueue.queueId, level ? -1 : result.queueOffset, body);
  }
  await producer.close();
}

const delayed = (namesrv, topic, group, count, level) => produce(namesrv, topic, group, count, '', Number(level));

function failing(namesrv, topic, group, expect, seconds, times) {
  const [ failures, most ] = times.split('/').map(Number);
  return consume(namesrv, topic, group, expect, seconds, '*', failures, most === undefined ? {} : { maxReconsumeTimes: most });
}

async function consume(namesrv, topic, group, expect, seconds, expression, failures = 0, options = {}) {
  let count = 0;
  let stop;
  const end = new Promise(resolve => { stop = resolve; });
  const consumer = new Consumer({ ...common(namesrv), consumerGroup: group, ...options });
  consumer.on('error', error => console.error(error));
  consumer.subscribe(topic, expression || '*', async message => {
    if (message.reconsumeTimes < failures) {
      console.log('FAIL', message.reconsumeTimes, message.body.toString());
      throw new Error('failed, as it shall');
    }
    console.log('RECV', message.queueId, message.queueOffset, message.body.toString());
    count++;
    if (Number(expect) > 0 && count >= Number(expect)) stop();
  });
  await consumer.ready();
  console.log('READY');
  process.stdin.on('end', stop).on('error', stop).resume();
  setTimeout(stop, Number(seconds) * 1000);
  await end;
  // The listener's success is booked after it returns; closing then commits it.
  await new Promise(resolve => setTimeout(resolve, 200));
  await consumer.close();
  console.log('DONE', count);
}

const [ verb, ...rest ] = process.argv.slice(2);
const verbs = { produce, delayed, consume, failing };
if (!verbs[verb] || rest.length < 4) {
  console.error('usage: produce|consume NAMESRV TOPIC GROUP COUNT ...');
  process.exit(2);
}
verbs[verb](...rest).then(() => process.exit(0), error => {
  console.error(error);
  process.exit(1);
});
