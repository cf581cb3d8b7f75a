package ship

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

// Kafka produces one message a record, with the log's origin as its key, so that
// one log's entries are in one partition and in order. All in-sync replicas have
// a message before it counts as taken.
type Kafka struct {
	brokers []string
	topic   string
	config  *sarama.Config
	wires   *wires
	client  sarama.SyncProducer
}

// NewKafka prepares producing to a topic, which must exist; it connects with the
// first Send.
func NewKafka(brokers []string, topic string, f Files) (*Kafka, error) {
	t, err := f.config()
	if err != nil {
		return nil, err
	}
	c := sarama.NewConfig()
	c.ClientID = "yizheng-audit"
	c.Net.TLS.Enable, c.Net.TLS.Config = true, t
	c.Net.ReadTimeout, c.Net.WriteTimeout = 15*time.Second, 10*time.Second
	w := newWires(5 * time.Second)
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, w // the only way to dial for it
	c.Net.MaxOpenRequests = 1                        // an idempotent producer needs it
	c.Metadata.AllowAutoTopicCreation = false
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Timeout = 10 * time.Second
	c.Producer.Retry.Max = 3
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("audit ship: kafka: %w", err)
	}
	return &Kafka{brokers: brokers, topic: topic, config: c, wires: w}, nil
}

// Send produces one batch. When ctx ends, the connections are cut, and the
// library's own repetitions, a second or two of them, come to nothing.
func (k *Kafka) Send(ctx context.Context, records []Record) error {
	defer k.wires.during(ctx)()
	if k.client == nil {
		client, err := sarama.NewSyncProducer(k.brokers, k.config)
		if err != nil {
			return fmt.Errorf("kafka: %w", errors.Join(err, ctx.Err()))
		}
		k.client = client
	}
	messages := make([]*sarama.ProducerMessage, len(records))
	for i, r := range records {
		messages[i] = &sarama.ProducerMessage{Topic: k.topic, Key: sarama.StringEncoder(r.Origin), Value: sarama.ByteEncoder(r.JSON),
			Headers:   []sarama.RecordHeader{{Key: []byte("index"), Value: strconv.AppendUint(nil, r.Index, 10)}},
			Timestamp: r.Time()}
	}
	if err := k.client.SendMessages(messages); err != nil {
		// After an error an idempotent producer's sequence may have a hole.
		return fmt.Errorf("kafka topic %s: %w", k.topic, errors.Join(err, ctx.Err(), k.Close()))
	}
	return nil
}

// Close ends the connections.
func (k *Kafka) Close() error {
	if k.client == nil {
		return nil
	}
	err := k.client.Close()
	k.client = nil
	return err
}
