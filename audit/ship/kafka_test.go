package ship

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

const topic = "audit"

// soon is long for what a cut connection ends, and short for what it does not:
// the library's own deadlines add up to a minute.
const soon = 10 * time.Second

// sendFor sends one record with a context that ends after a while.
func sendFor(t *testing.T, k *Kafka, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	began := time.Now()
	err := k.Send(ctx, []Record{{Origin: "gw/audit/2026q4", JSON: []byte("{}")}})
	if took := time.Since(began); took > d+soon {
		t.Errorf("Send went on for %v after its context had ended", took-d)
	}
	return err
}

func newKafka(t *testing.T, l net.Listener, f Files) *Kafka {
	t.Helper()
	k, err := NewKafka([]string{l.Addr().String()}, topic, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func TestKafkaGivesUpABrokerThatOnlyListens(t *testing.T) {
	t.Parallel()
	_, files := certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := sendFor(t, newKafka(t, l, files), 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestKafkaGivesUpABrokerThatDoesNotAcknowledge(t *testing.T) {
	t.Parallel()
	own, files := certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}})
	if err != nil {
		t.Fatal(err)
	}
	broker := sarama.NewMockBrokerListener(quiet{t}, 1, l)
	defer broker.Close()
	answers := map[string]sarama.MockResponse{
		"ApiVersionsRequest":    sarama.NewMockApiVersionsResponse(quiet{t}).SetApiKeys([]sarama.ApiVersionsResponseKey{{ApiKey: 0, MaxVersion: 7}, {ApiKey: 3, MaxVersion: 5}, {ApiKey: 22, MaxVersion: 1}}),
		"MetadataRequest":       sarama.NewMockMetadataResponse(quiet{t}).SetBroker(broker.Addr(), 1).SetLeader(topic, 0, 1),
		"InitProducerIDRequest": sarama.NewMockInitProducerIDResponse(quiet{t}),
	}
	broker.SetHandlerByMap(answers)
	k := newKafka(t, l, files)
	if err := sendFor(t, k, 500*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	answers["ProduceRequest"] = sarama.NewMockProduceResponse(quiet{t})
	broker.SetHandlerByMap(answers)
	if err := sendFor(t, k, time.Minute); err != nil {
		t.Errorf("when the broker answers again: %v", err)
	}
}

// quiet takes what the library's broker reports: connections that are cut are what is tested.
type quiet struct{ *testing.T }

func (q quiet) Error(a ...any)            { q.Log(a...) }
func (q quiet) Errorf(f string, a ...any) { q.Logf(f, a...) }
