package ferry

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// KafkaConfig says which cluster, and as whom. Everything is TLS with a client
// certificate; there is no plain mode.
type KafkaConfig struct {
	Brokers  []string // host:port
	ClientID string   // shown in the brokers' logs; [a-zA-Z0-9._-]
	TLS      Files
	// User and PasswordFile, if set, are SASL/PLAIN inside TLS, for clusters
	// that do not take the certificate's name as the principal.
	User         string
	PasswordFile string
	// Session is after how long without a sign of life a group member's
	// partitions are given to others; 0 means 10 s. Brokers accept 6 s and more.
	Session time.Duration
	// Timeout bounds calls whose context has no deadline; 0 means 10 s.
	Timeout time.Duration
	Logger  *slog.Logger // nil: slog.Default
}

// Files are paths of PEM files.
type Files struct{ CA, Certificate, Key string }

// Kafka is the Bus over a real or embedded broker. Producing, each consumption
// and administration have connections of their own: a broker answers the
// requests of one connection in order, so a fetch that waits for records would
// hold up everything behind it (measured: 2 s for a round trip).
type Kafka struct {
	config KafkaConfig
	log    *slog.Logger

	client   sarama.Client // of producer
	producer sarama.AsyncProducer
	adminCli sarama.Client
	admin    sarama.ClusterAdmin

	mu      sync.RWMutex // held for reading while a message is handed to the producer
	closed  bool
	closing chan struct{}
	wg      sync.WaitGroup
}

var _ Bus = (*Kafka)(nil)

// OpenKafka connects. It fails if no broker can be reached.
func OpenKafka(ctx context.Context, c KafkaConfig) (*Kafka, error) {
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Session <= 0 {
		c.Session = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	k := &Kafka{config: c, log: c.Logger, closing: make(chan struct{})}
	opened := make(chan error, 1)
	go func() { opened <- k.open() }()
	select {
	case err := <-opened:
		if err != nil {
			return nil, err
		}
		return k, nil
	case <-ctx.Done():
		go func() { // the dial has timeouts of its own
			if <-opened == nil {
				_ = k.Close()
			}
		}()
		return nil, fmt.Errorf("connect to Kafka: %w", ctx.Err())
	}
}

func (k *Kafka) open() (err error) {
	defer func() {
		if err != nil {
			k.closeClients()
		}
	}()
	if k.client, err = k.newClient(""); err != nil {
		return err
	}
	if k.producer, err = sarama.NewAsyncProducerFromClient(k.client); err != nil {
		return fmt.Errorf("start Kafka producer: %w", err)
	}
	if k.adminCli, err = k.newClient(""); err != nil {
		return err
	}
	if k.admin, err = sarama.NewClusterAdminFromClient(k.adminCli); err != nil {
		return fmt.Errorf("start Kafka administration: %w", err)
	}
	k.wg.Go(k.acknowledge)
	k.wg.Go(k.reject)
	return nil
}

// newClient connects. seat is a GroupConfig's.
func (k *Kafka) newClient(seat string) (sarama.Client, error) {
	c, err := k.config.sarama()
	if err != nil {
		return nil, err
	}
	c.Consumer.Group.InstanceId = seat
	client, err := sarama.NewClient(k.config.Brokers, c)
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka at %s: %w", strings.Join(k.config.Brokers, ","), err)
	}
	return client, nil
}

// sarama returns the settings that matter; docs/protocol/kafka.md has the reasons.
func (c KafkaConfig) sarama() (*sarama.Config, error) {
	s := sarama.NewConfig()
	s.ClientID = c.ClientID
	s.Metadata.AllowAutoTopicCreation = false
	s.Metadata.Retry.Backoff = 100 * time.Millisecond
	s.Net.DialTimeout, s.Net.ReadTimeout, s.Net.WriteTimeout = 5*time.Second, 15*time.Second, 10*time.Second
	s.Net.MaxOpenRequests = 1 // what an idempotent producer needs

	s.Producer.RequiredAcks = sarama.WaitForAll
	s.Producer.Idempotent = true
	s.Producer.Compression = sarama.CompressionNone // ciphertext
	s.Producer.Partitioner = sarama.NewManualPartitioner
	s.Producer.Return.Successes = true
	s.Producer.Timeout = 5 * time.Second

	s.Consumer.Return.Errors = true
	s.Consumer.Fetch.Min = 1
	s.Consumer.MaxWaitTime = 250 * time.Millisecond
	s.Consumer.Retry.Backoff = 200 * time.Millisecond
	s.Consumer.Offsets.Initial = sarama.OffsetOldest // of groups without a stored offset
	s.Consumer.Offsets.AutoCommit.Interval = time.Second
	s.Consumer.Group.Session.Timeout = c.Session
	s.Consumer.Group.Heartbeat.Interval = c.Session / 5
	s.Consumer.Group.Rebalance.Timeout = 10 * time.Second
	s.Consumer.Group.Rebalance.Retry.Backoff = 200 * time.Millisecond
	// Neighbouring partitions go to different members, so that a hedged attempt
	// meets another replica.
	s.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRoundRobin()}

	conf, err := c.TLS.client()
	if err != nil {
		return nil, err
	}
	s.Net.TLS.Enable, s.Net.TLS.Config = true, conf
	if c.User != "" {
		password, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read Kafka password: %w", err)
		}
		s.Net.SASL.Enable, s.Net.SASL.Mechanism = true, sarama.SASLTypePlaintext
		s.Net.SASL.User, s.Net.SASL.Password = c.User, strings.TrimRight(string(password), "\r\n")
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("kafka settings: %w", err)
	}
	return s, nil
}

func (f Files) load() (tls.Certificate, *x509.CertPool, error) {
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("read Kafka CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return tls.Certificate{}, nil, fmt.Errorf("kafka CA %s holds no certificate", f.CA)
	}
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("load Kafka certificate: %w", err)
	}
	return pair, pool, nil
}

func (f Files) client() (*tls.Config, error) {
	pair, pool, err := f.load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}

func (f Files) server() (*tls.Config, error) {
	pair, pool, err := f.load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		Certificates: []tls.Certificate{pair}}, nil
}

// Publish implements Bus.
func (k *Kafka) Publish(ctx context.Context, m Message) error {
	ctx, cancel := k.bounded(ctx)
	defer cancel()
	pieces, err := split(m)
	if err != nil {
		return err
	}
	if m.Partition == AnyPartition {
		if m.Partition, err = k.choose(m); err != nil {
			return err
		}
	}
	acks := make(chan error, len(pieces))
	if err := k.enqueue(ctx, pieces, m.Partition, acks); err != nil {
		return err
	}
	for range pieces {
		select {
		case err := <-acks:
			if err != nil {
				return fmt.Errorf("publish to %s: %w", m.Topic, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("publish to %s: %w", m.Topic, context.Cause(ctx))
		}
	}
	return nil
}

func (k *Kafka) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, k.config.Timeout)
}

func (k *Kafka) choose(m Message) (int32, error) {
	n, err := k.Partitions(m.Topic)
	if err != nil {
		return 0, err
	}
	return partitionOf(m.Key, n), nil
}

// partitionOf maps a key to one of n partitions; no key means any.
func partitionOf(key []byte, n int) int32 {
	if len(key) == 0 {
		var random [4]byte
		_, _ = rand.Read(random[:]) // never fails
		return int32(binary.BigEndian.Uint32(random[:]) % uint32(n))
	}
	h := fnv.New32a()
	_, _ = h.Write(key)
	return int32(h.Sum32() % uint32(n))
}

func record(m Message, acks chan<- error) *sarama.ProducerMessage {
	p := &sarama.ProducerMessage{Topic: m.Topic, Partition: m.Partition, Timestamp: m.Time, Metadata: acks}
	if m.Key != nil {
		p.Key = sarama.ByteEncoder(m.Key)
	}
	if m.Body != nil {
		p.Value = sarama.ByteEncoder(m.Body)
	}
	for name, value := range m.Headers {
		p.Headers = append(p.Headers, sarama.RecordHeader{Key: []byte(name), Value: []byte(value)})
	}
	slices.SortFunc(p.Headers, func(a, b sarama.RecordHeader) int { return slices.Compare(a.Key, b.Key) })
	return p
}

// enqueue hands all pieces to the producer. Once the first is handed over ctx no
// longer counts: half a message would hold up its partition's consumer until it
// gives up waiting for the rest.
func (k *Kafka) enqueue(ctx context.Context, pieces []Message, partition int32, acks chan<- error) error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.closed {
		return ErrClosed
	}
	for i, piece := range pieces {
		piece.Partition = partition
		p := record(piece, acks)
		if i > 0 {
			k.producer.Input() <- p // read until Close, which waits for mu
			continue
		}
		select {
		case k.producer.Input() <- p:
		case <-k.closing:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("publish to %s: %w", p.Topic, context.Cause(ctx))
		}
	}
	return nil
}

func (k *Kafka) acknowledge() {
	for p := range k.producer.Successes() {
		p.Metadata.(chan<- error) <- nil // has room for all its pieces
	}
}

func (k *Kafka) reject() {
	for e := range k.producer.Errors() {
		e.Msg.Metadata.(chan<- error) <- e.Err
	}
}

// Partitions implements Bus. The answer is at most ten minutes old.
func (k *Kafka) Partitions(topic string) (int, error) {
	list, err := k.client.Partitions(topic)
	if err == nil && len(list) == 0 {
		err = sarama.ErrUnknownTopicOrPartition
	}
	if errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		err = fmt.Errorf("%w: %w", ErrNoTopic, err)
	}
	if err != nil {
		return 0, fmt.Errorf("partitions of %s: %w", topic, err)
	}
	return len(list), nil
}

// Close sends what has been handed over, then disconnects. Consumers must have
// ended before.
func (k *Kafka) Close() error {
	close(k.closing)
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.producer.AsyncClose()
	k.wg.Wait()
	k.producer = nil
	return k.closeClients()
}

func (k *Kafka) closeClients() error {
	var errs []error
	if k.producer != nil {
		errs = append(errs, k.producer.Close())
	}
	if k.admin != nil {
		errs = append(errs, k.admin.Close()) // closes its client
	} else if k.adminCli != nil {
		errs = append(errs, k.adminCli.Close())
	}
	if k.client != nil {
		errs = append(errs, k.client.Close())
	}
	return errors.Join(errs...)
}
