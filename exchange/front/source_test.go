package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/envelope"
	"yizheng/exchange/ferry"
	"yizheng/identity/jose"
)

// line is a gateway's end of an embedded broker; a front may stand at the other end.
type line struct {
	t     testing.TB
	bus   *ferry.Kafka
	asker *ferry.Asker
}

func newLine(t testing.TB) *line {
	t.Helper()
	files := certificates(t)
	broker, err := ferry.StartEmbedded(ferry.EmbeddedConfig{TLS: files, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	l := &line{t: t}
	l.bus, err = ferry.OpenKafka(t.Context(), ferry.KafkaConfig{Brokers: broker.Brokers(), ClientID: "test", TLS: files, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.bus.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.bus.EnsureTopics(t.Context(), ferry.Layout{Slots: []string{"00"}, Fronts: []ferry.FrontLayout{{Name: "hr-front", Deferred: 72 * time.Hour}}}); err != nil {
		t.Fatal(err)
	}
	if l.asker, err = ferry.NewAsker(l.bus, ferry.AskerConfig{Slot: "00", HeartbeatEvery: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	l.run(l.asker.Run)
	<-l.asker.Ready()
	return l
}

// run runs f until the test ends or stop is called, and waits for it.
func (l *line) run(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(l.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
			l.t.Errorf("run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	l.t.Cleanup(stop)
	return stop
}

// serve has handle answer what arrives for hr-front.
func (l *line) serve(handle func(context.Context, ferry.Message) (ferry.Answer, error)) (stop func()) {
	l.t.Helper()
	s, err := ferry.NewServer(l.bus, ferry.ServerConfig{Front: "hr-front", Handle: handle, Deferred: true, Drain: 100 * time.Millisecond, HeartbeatEvery: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		l.t.Fatal(err)
	}
	stop = l.run(s.Run)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, f := range l.asker.Fronts() {
			if f.Front == "hr-front" && f.Up {
				return stop
			}
		}
	}
	l.t.Fatal("the front is not heard of")
	return stop
}

func (l *line) source() *Source {
	l.t.Helper()
	f, _ := release.Catalogue.Front("hr-front")
	s, err := NewSource(SourceConfig{Front: f, Sender: "gw00", Key: own["gateway"], Asker: l.asker})
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

func (d *desk) door() Door {
	return Door{Agent: d.Agent, Key: own["hr-front"], Gateways: gateway}
}

// gateway is the one that may ask.
func gateway(name, keyID string) *ecdsa.PublicKey {
	if name == "gw00" && keyID == own["gateway"].ID() {
		return own["gateway"].Public()
	}
	return nil
}

// asked is a question as the exchange hands it to a Source.
func asked(q Question) exchange.Ask {
	src, _ := release.Catalogue.Source(q.Source)
	return exchange.Ask{Source: src, Terms: q.Terms, Digest: q.Terms.Digest(), Subject: q.Person, Salts: q.Salts, Attestation: q.Attestation,
		Operator: q.Operator, Caller: q.Caller}
}

func query(t testing.TB, s *Source, q Question, limit time.Duration) (exchange.Answer, error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return s.Query(ctx, asked(q))
}

func TestQuestionTravelsToTheFrontAndBack(t *testing.T) {
	l, d := newLine(t), newDesk(t)
	stop := l.serve(d.door().Handle)
	s := l.source()
	ask := func(no string) (exchange.Answer, error) {
		return query(t, s, cardRead(time.Now()).question(t, no), 5*time.Second)
	}
	got, err := ask("X-1")
	if err != nil || got.State != exchange.StateFound || len(got.Records) != 1 || got.Records[0].Fields["status"] != "1" || got.Authenticity != catalog.AuthSignature {
		t.Errorf("found: %q, %v", got.State, err)
	}
	d.system.gives(exchange.Answer{State: exchange.StateNotFound, DataTime: time.Now()}, nil)
	if got, err = ask("X-2"); err != nil || got.State != exchange.StateNotFound || got.DataTime.IsZero() {
		t.Errorf("not found: %q, %v", got.State, err)
	}
	stale := cardRead(time.Now())
	later(time.Now().Add(-time.Hour))(&stale)
	if _, err = query(t, s, stale.question(t, "X-3"), 5*time.Second); !errors.Is(err, exchange.ErrDenied) {
		t.Errorf("without a fresh card read: %v", err)
	}
	d.system.gives(exchange.Answer{}, exchange.ErrUnreachable)
	if _, err = ask("X-4"); !errors.Is(err, exchange.ErrUnreachable) {
		t.Errorf("system down behind the front: %v", err)
	}
	d.system.gives(exchange.Answer{}, errors.New("HTTP 500"))
	if _, err = ask("X-5"); err == nil || errors.Is(err, exchange.ErrUnreachable) || errors.Is(err, exchange.ErrDenied) {
		t.Errorf("system fails behind the front: %v", err)
	}
	d.system.says(func(ctx context.Context, _ exchange.Ask) (exchange.Answer, error) {
		<-ctx.Done()
		return exchange.Answer{}, ctx.Err()
	})
	if _, err = query(t, s, cardRead(time.Now()).question(t, "X-6"), 400*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late: %v", err)
	}
	if n := len(d.entries(audit.OpDeny)); n != 1 {
		t.Errorf("%d refusals recorded", n)
	}
	stop()
	began := time.Now()
	var down error
	for time.Since(began) < 5*time.Second { // its farewell may be on the way
		if _, down = query(t, s, cardRead(time.Now()).question(t, "X-7"), time.Second); errors.Is(down, exchange.ErrUnreachable) {
			break
		}
	}
	if !errors.Is(down, exchange.ErrUnreachable) || !errors.Is(down, ferry.ErrFrontDown) {
		t.Errorf("front that has gone: %v", down)
	}
}

func TestLogThatFailsAtTheFrontIsASourceError(t *testing.T) {
	t.Parallel()
	l, d := newLine(t), newDesk(t)
	l.serve(d.door().Handle)
	d.ok(d.log.Close())
	_, err := query(t, l.source(), cardRead(time.Now()).question(t, "X-1"), 5*time.Second)
	if reason, refused := ferry.IsRefused(err); !refused || reason != ferry.ReasonFailed || d.system.times() > 0 {
		t.Errorf("%v, asked %d times", err, d.system.times())
	}
}

// Whoever can write to the reply topic cannot make an answer.
func TestForgedAnswersAreNotBelieved(t *testing.T) {
	t.Parallel()
	forge := func(key *jose.Key, change func(*envelope.Attributes), body string) func(context.Context, ferry.Message) (ferry.Answer, error) {
		return func(_ context.Context, m ferry.Message) (ferry.Answer, error) {
			reader := envelope.Reader{Name: "hr-front", Sender: gateway, Key: func(string) *jose.Key { return own["hr-front"] }}
			q, _, err := reader.Open(m.Body)
			if err != nil {
				return ferry.Answer{}, err
			}
			a := envelope.Attributes{Kind: envelope.Answer, Exchange: q.Exchange, Leg: q.Leg, Attempt: q.Attempt, Sender: "hr-front", Recipient: "gw00",
				Deadline: q.Deadline, LegDigest: q.LegDigest, Epoch: q.Epoch}
			change(&a)
			sealed, a, err := envelope.Seal(envelope.Sender{Key: key}, envelope.Recipient{Key: q.ReplyKey}, a, []byte(body))
			if err != nil {
				return ferry.Answer{}, err
			}
			return ferry.Answer{Seal: func(ferry.Message) ([]byte, map[string]string, error) { return sealed, a.Headers(), nil }}, nil
		}
	}
	nothing := func(*envelope.Attributes) {}
	const good = `{"v":1,"state":"NOT_FOUND"}`
	for name, c := range map[string]struct {
		handle func(context.Context, ferry.Message) (ferry.Answer, error)
		want   error // nil: an answer
	}{
		"the front's own":           {forge(own["hr-front"], nothing, good), nil},
		"signed by a stranger":      {forge(own["stranger"], nothing, good), context.DeadlineExceeded},
		"signed by another front":   {forge(own["si-front"], nothing, good), context.DeadlineExceeded},
		"in another front's name":   {forge(own["si-front"], func(a *envelope.Attributes) { a.Sender = "si-front" }, good), context.DeadlineExceeded},
		"for another gateway":       {forge(own["hr-front"], func(a *envelope.Attributes) { a.Recipient = "gw01" }, good), context.DeadlineExceeded},
		"to another question":       {forge(own["hr-front"], func(a *envelope.Attributes) { a.LegDigest[3]++ }, good), context.DeadlineExceeded},
		"nonsense the front signed": {forge(own["hr-front"], nothing, `{"v":1}`), ErrMessage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			l.serve(c.handle)
			got, err := query(t, l.source(), cardRead(time.Now()).question(t, "X-1"), 1500*time.Millisecond)
			if c.want == nil && (err != nil || got.State != exchange.StateNotFound) || c.want != nil && (!errors.Is(err, c.want) || got.State != "") {
				t.Errorf("%q, %v; want %v", got.State, err, c.want)
			}
		})
	}
}

// attempt is what arrives at the front for one attempt of a question.
func attempt(t testing.TB, q Question, n int, reply *jose.Key, change func(*envelope.Attributes)) ferry.Message {
	t.Helper()
	body, err := q.encode()
	if err != nil {
		t.Fatal(err)
	}
	a := attributes(q)
	a.Attempt, a.ReplyTo, a.ReplyKey, a.Epoch = n, "xg.rep.gw00", reply.Public(), 3
	if change != nil {
		change(&a)
	}
	if a.Kind == envelope.Answer {
		a.ReplyTo, a.ReplyKey = "", nil
	}
	sealed, a, err := envelope.Seal(envelope.Sender{Key: own["gateway"]}, envelope.Recipient{Key: own["hr-front"].Public()}, a, body)
	if err != nil {
		t.Fatal(err)
	}
	return ferry.Message{Topic: "xg.req.hr-front", Headers: a.Headers(), Body: sealed}
}

func TestEachAttemptGetsTheSameAnswerSealedAfresh(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	q := cardRead(time.Now()).question(t, "X-1")
	first, second := own["stranger"], own["owner"] // any two keys
	answer, err := d.door().Handle(t.Context(), attempt(t, q, 1, first, nil))
	d.ok(err)
	open := func(m ferry.Message, key *jose.Key) (envelope.Attributes, string) {
		t.Helper()
		sealed, headers, err := answer.Seal(m)
		d.ok(err)
		a, body, err := envelope.Reader{Name: "gw00", Key: func(id string) *jose.Key {
			if id == key.ID() {
				return key
			}
			return nil
		}, Sender: func(string, string) *ecdsa.PublicKey { return own["hr-front"].Public() }}.Open(sealed)
		d.ok(err)
		d.ok(a.EqualHeaders(headers))
		return a, string(body)
	}
	a1, body1 := open(attempt(t, q, 1, first, nil), first)
	a2, body2 := open(attempt(t, q, 2, second, nil), second)
	if body1 != body2 || answer.Size != len(body1) {
		t.Error("two attempts, two answers")
	}
	if a1.Attempt != 1 || a2.Attempt != 2 || a2.Epoch != 3 || a2.LegDigest != q.Terms.Digest() || a2.Kind != envelope.Answer {
		t.Errorf("attributes %+v", a2)
	}
	other := q
	other.Terms.Fields = []string{"certificate_no"}
	if _, _, err := answer.Seal(attempt(t, other, 2, second, nil)); !errors.Is(err, ferry.ErrUndecodable) {
		t.Errorf("an attempt that asks another question: %v", err)
	}
	if d.system.times() != 1 {
		t.Errorf("asked %d times", d.system.times())
	}
}

func TestDoorRefusesWhatIsNotAGatewaysQuestion(t *testing.T) {
	t.Parallel()
	q := cardRead(time.Now()).question(t, "X-1")
	good := attempt(t, q, 1, own["owner"], nil)
	moved := attempt(t, q, 1, own["owner"], nil)
	moved.Headers["yz-reply-to"] = "xg.rep.gw07"
	for name, m := range map[string]ferry.Message{
		"no envelope":       {Headers: good.Headers, Body: []byte("x")},
		"changed":           {Headers: good.Headers, Body: append([]byte{}, append(good.Body[:len(good.Body)-1:len(good.Body)-1], 7)...)},
		"re-addressed":      moved,
		"headers missing":   {Body: good.Body},
		"an answer":         attempt(t, q, 1, own["owner"], func(a *envelope.Attributes) { a.Kind = envelope.Answer }),
		"for another front": attempt(t, q, 1, own["owner"], func(a *envelope.Attributes) { a.Recipient = "si-front" }),
		"of another name":   attempt(t, q, 1, own["owner"], func(a *envelope.Attributes) { a.Sender = "gw99" }),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			if _, err := d.door().Handle(t.Context(), m); !errors.Is(err, ferry.ErrUndecodable) {
				t.Errorf("%v", err)
			}
			if d.system.times() > 0 {
				t.Error("the system was asked")
			}
		})
	}
}

func TestSourceNeedsADeadlineAndAKey(t *testing.T) {
	if _, err := NewSource(SourceConfig{Front: catalog.Front{ID: "hr-front", Key: "none"}}); err == nil {
		t.Error("a front without a key was taken")
	}
	f, _ := release.Catalogue.Front("hr-front")
	s, err := NewSource(SourceConfig{Front: f})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Query(context.Background(), asked(cardRead(time.Now()).question(t, "X-1"))); err == nil {
		t.Error("asked without a deadline")
	}
}

func BenchmarkLegOverTheEmbeddedBroker(b *testing.B) {
	l, d := newLine(b), newDesk(b)
	l.serve(d.door().Handle)
	s := l.source()
	ask := make([]Question, b.N)
	for i := range ask {
		ask[i] = cardRead(time.Now()).question(b, "X-"+time.Now().Format("150405.000000000"))
	}
	b.ResetTimer()
	for i := range ask {
		if _, err := query(b, s, ask[i], 5*time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

// certificates writes a CA and one certificate that is good for both sides.
func certificates(t testing.TB) ferry.Files {
	t.Helper()
	dir := t.TempDir()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f := ferry.Files{CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	span := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true}
	ca, leaf := span, span
	ca.Subject, ca.IsCA, ca.KeyUsage = pkix.Name{CommonName: "test CA"}, true, x509.KeyUsageCertSign
	leaf.Subject, leaf.KeyUsage, leaf.IPAddresses = pkix.Name{CommonName: "test"}, x509.KeyUsageDigitalSignature, []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(err)
	caDER, err := x509.CreateCertificate(rand.Reader, &ca, &ca, &caKey.PublicKey, caKey)
	ok(err)
	der, err := x509.CreateCertificate(rand.Reader, &leaf, &ca, &key.PublicKey, caKey)
	ok(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	ok(err)
	ok(os.WriteFile(f.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600))
	ok(os.WriteFile(f.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	ok(os.WriteFile(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return f
}
