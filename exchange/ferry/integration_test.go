//go:build integration

package ferry

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// real uses the Apache Kafka that deploy/dev/kafka has started. Without it this
// tier could not run, which is a failure and not a skip.
func real(t testing.TB) *cluster {
	t.Helper()
	brokers, dir := os.Getenv("YIZHENG_TEST_KAFKA_BROKERS"), os.Getenv("YIZHENG_TEST_KAFKA_TLS")
	if brokers == "" || dir == "" {
		t.Fatal("YIZHENG_TEST_KAFKA_BROKERS or YIZHENG_TEST_KAFKA_TLS is not set: run this tier with `make test`")
	}
	return newNames(&cluster{brokers: strings.Split(brokers, ","),
		files: Files{CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}})
}

func TestApacheKafka(t *testing.T) { conform(t, real) }

// A front whose certificate has the front's rights and no others can serve, and
// can neither read another's requests nor any answers.
func TestFrontNeedsNoMoreThanItsGrants(t *testing.T) {
	t.Parallel()
	c := real(t)
	k := c.ready(t)
	other := newNames(&cluster{brokers: c.brokers, files: c.files})
	other.topics(t, k)
	dir := os.Getenv("YIZHENG_TEST_KAFKA_TLS")
	narrow := func(name string) *Kafka {
		n := &cluster{brokers: c.brokers, files: Files{CA: c.files.CA, Certificate: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}}
		return n.open(t)
	}
	l := Layout{Gateways: []string{"User:CN=gateway"}, Fronts: []FrontLayout{{Name: c.front(), Principals: []string{"User:CN=front"}}}}
	changes, err := k.PlanAccess(t.Context(), l)
	if err != nil || len(changes) == 0 {
		t.Fatal(changes, err)
	}
	if err := k.ApplyTopics(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left to grant", func() bool {
		changes, err := k.PlanAccess(t.Context(), l)
		return err == nil && len(changes) == 0
	})
	front, gateway := narrow("front"), narrow("gateway")
	s, _ := c.serve(t, front, echo, func(s *ServerConfig) { s.Deferred = true })
	a := c.asker(t, gateway, nil)
	asked := 0
	eventually(t, "the front answers", func() bool { return c.answers(t, a, &asked) })
	q := c.question("deferred", []byte("x"), time.Hour, nil)
	if err := a.Post(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the front answers what was deferred", func() bool { return s.Counts().Answered > uint64(a.Counts().Answered) })
	eventually(t, "the front is up", func() bool { return a.state(c.front()).Up && len(a.state(c.front()).Replicas) == 1 })

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	nothing := func(context.Context, Message) error { return nil }
	for _, topic := range []string{RequestTopic(other.front()), a.ReplyTopic(), TopicDeferredReply} {
		if err := front.ConsumeDirect(ctx, DirectConfig{Topic: topic, Oldest: true}, nothing); err == nil {
			t.Errorf("the front may read %s", topic)
		}
	}
	if err := front.Publish(ctx, Message{Topic: RequestTopic(c.front()), Body: []byte("x")}); err == nil {
		t.Error("the front may ask")
	}
	if err := gateway.Publish(ctx, Message{Topic: a.ReplyTopic(), Body: []byte("x")}); err == nil {
		t.Error("the gateway may answer")
	}
	if err := gateway.ConsumeDirect(ctx, DirectConfig{Topic: RequestTopic(c.front()), Oldest: true}, nothing); err == nil {
		t.Error("the gateway may read requests")
	}
}

// A front that comes back finds a question that was published meanwhile also
// where its topic has begun a new segment and nothing is left of the old one but
// the file: brokers then find no record of any time.
func TestNoQuestionIsSkippedBehindAnErasedSegment(t *testing.T) {
	t.Parallel()
	c := real(t)
	k := c.ready(t)
	topic := RequestTopic(c.front())
	client, err := k.newClient("")
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	roll := "200" // ms
	if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		"segment.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &roll}}, false); err != nil {
		t.Fatal(err)
	}
	offset := func(at int64) int64 {
		n, err := client.GetOffset(topic, 0, at)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	publish := func(text string) {
		if err := k.Publish(t.Context(), Message{Topic: topic, Partition: 0, Body: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	publish("done with")
	erase := k.newEraser()
	erase.upTo(topic, 0, 1)
	eventually(t, "the first is erased", func() bool { return offset(sarama.OffsetOldest) == 1 })
	erase.stop()
	time.Sleep(400 * time.Millisecond)
	publish("asked meanwhile")
	if n := offset(time.Now().Add(-liveBacklog).UnixMilli()); n != -1 {
		t.Logf("the broker finds record %d: this one would not have lost it", n)
	}
	got := make(chan string, 8)
	running(t, func(ctx context.Context) error {
		return k.ConsumeGroup(ctx, GroupConfig{Group: c.front(), Topics: []string{topic}, SkipOlder: liveBacklog},
			func(_ context.Context, m Message) error { got <- string(m.Body); return nil })
	})
	select {
	case text := <-got:
		if text != "asked meanwhile" {
			t.Errorf("got %q", text)
		}
	case <-time.After(20 * time.Second):
		t.Error("the question was skipped")
	}
}
