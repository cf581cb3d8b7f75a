package adapters

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The vectors of docs/protocol/national-platform.md, made with OpenSSL.
func TestSign_Vectors(t *testing.T) {
	for name, test := range map[string]struct {
		key   string
		parts []string
		want  string
	}{
		"token":  {"app-key-of-690100", []string{"si-contributions", "690100-yizheng", "1795312800000"}, "QnDoqcvaZCprKxHZuALl8L4daJfJI1faou5YY3FsiPc="},
		"query":  {"SECRETSECRETSECRETSECRET26", []string{"si-contributions", "690100-yizheng", "1795312800001"}, "XbgO4nrMG0Eu72pDXml5EFldCf0IYoqUH1i1d89LeXY="},
		"answer": {"SECRETSECRETSECRETSECRET26", []string{"si-contributions", "690100-yizheng", "1795312800001", sm3Hex([]byte(`{"code":"01"}`))}, "LfNlXjGTruNPnSW42MB/Vb1egvRF9KDtL4OZSOs5/2M="},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sign(test.key, test.parts...); got != test.want {
				t.Errorf("got %s", got)
			}
		})
	}
	if sign("k", "sid", "rid", "1") == sign("k", "rid", "sid", "1") {
		t.Error("the order of sid and rid does not matter")
	}
}

// issuer is a token endpoint in memory.
type issuer struct {
	calls   atomic.Int32
	mu      sync.Mutex
	now     time.Time
	life    time.Duration
	err     error
	waiting chan struct{} // if not nil, fetch waits for it
}

func (i *issuer) clock() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now
}

func (i *issuer) advance(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now = i.now.Add(d)
}

func (i *issuer) fetch(ctx context.Context) (secret, error) {
	n := i.calls.Add(1)
	i.mu.Lock()
	waiting := i.waiting
	i.mu.Unlock()
	if waiting != nil {
		select {
		case <-waiting:
		case <-ctx.Done():
			return secret{}, ctx.Err()
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return secret{}, i.err
	}
	return secret{string(rune('A' + n - 1)), i.now.Add(i.life)}, nil
}

func newCredential(t *testing.T, i *issuer) *credential {
	t.Helper()
	i.now, i.life = time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC), 30*time.Minute
	root, stop := context.WithCancel(context.Background())
	c := &credential{fetch: i.fetch, now: i.clock, ahead: 3 * time.Minute, limit: time.Minute, root: root, renews: new(sync.WaitGroup)}
	t.Cleanup(func() {
		stop()
		c.close()
		c.renews.Wait()
	})
	return c
}

func wantSecret(t *testing.T, c *credential, want string) {
	t.Helper()
	if got, err := c.get(t.Context()); err != nil || got != want {
		t.Fatalf("secret %q, %v; want %q", got, err, want)
	}
}

func TestCredential_HundredWaitForOneRenewal(t *testing.T) {
	i := &issuer{waiting: make(chan struct{})}
	c := newCredential(t, i)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if s, err := c.get(context.Background()); err != nil || s != "A" {
				t.Errorf("secret %q, %v", s, err)
			}
		})
	}
	time.Sleep(10 * time.Millisecond)
	close(i.waiting)
	wg.Wait()
	if n := i.calls.Load(); n != 1 {
		t.Errorf("%d renewals", n)
	}
}

func TestCredential_RenewsAheadWhileTheOldOneServes(t *testing.T) {
	i := &issuer{}
	c := newCredential(t, i)
	wantSecret(t, c, "A")
	i.advance(26 * time.Minute)
	wantSecret(t, c, "A")
	if n := i.calls.Load(); n != 1 {
		t.Fatalf("%d renewals before the margin", n)
	}
	i.advance(time.Minute)
	i.mu.Lock()
	i.waiting = make(chan struct{})
	i.mu.Unlock()
	for range 10 {
		wantSecret(t, c, "A") // nobody waits
	}
	close(i.waiting)
	c.renews.Wait()
	wantSecret(t, c, "B")
	if n := i.calls.Load(); n != 2 {
		t.Errorf("%d renewals", n)
	}
}

func TestCredential_EarlyRenewalThatFailsHurtsNobody(t *testing.T) {
	i := &issuer{}
	c := newCredential(t, i)
	wantSecret(t, c, "A")
	i.advance(28 * time.Minute)
	i.mu.Lock()
	i.err = errors.New("down")
	i.mu.Unlock()
	for range 20 {
		wantSecret(t, c, "A")
		c.renews.Wait()
	}
	if n := i.calls.Load(); n != 2 {
		t.Errorf("%d renewals: there is no pause after a failure", n)
	}
}

func TestCredential_PausesLongerAfterEachFailure(t *testing.T) {
	i := &issuer{err: errors.New("down")}
	c := newCredential(t, i)
	for second := range 300 {
		if _, err := c.get(t.Context()); !errors.Is(err, i.err) {
			t.Fatalf("second %d: %v", second, err)
		}
		i.advance(time.Second)
	}
	if n := i.calls.Load(); n < 8 || n > 25 {
		t.Errorf("%d renewals in five minutes", n)
	}
	i.mu.Lock()
	i.err = nil
	i.mu.Unlock()
	i.advance(time.Minute)
	if _, err := c.get(t.Context()); err != nil {
		t.Errorf("after recovery: %v", err)
	}
}

func TestCredential_CallerDoesNotWaitPastItsDeadline(t *testing.T) {
	i := &issuer{waiting: make(chan struct{})}
	c := newCredential(t, i)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	close(i.waiting)
	wantSecret(t, c, "A") // the renewal went on without that caller
}

func TestCredential_DropForgetsOnlyTheCurrentSecret(t *testing.T) {
	i := &issuer{}
	c := newCredential(t, i)
	wantSecret(t, c, "A")
	c.drop("older")
	wantSecret(t, c, "A")
	c.drop("A")
	wantSecret(t, c, "B")
	c.drop("A") // a straggler
	wantSecret(t, c, "B")
}

func TestCredential_SecretShorterThanTheMarginIsNotRenewedOnEveryCall(t *testing.T) {
	i := &issuer{}
	c := newCredential(t, i)
	i.life = time.Minute
	for range 10 {
		wantSecret(t, c, "A")
		c.renews.Wait()
	}
	if n := i.calls.Load(); n != 1 {
		t.Errorf("%d renewals", n)
	}
}

func TestCredential_RefusesASecretThatHasEnded(t *testing.T) {
	i := &issuer{}
	c := newCredential(t, i)
	i.life = -time.Second
	if _, err := c.get(t.Context()); !errors.Is(err, ErrAnswer) {
		t.Errorf("error %v", err)
	}
}

func TestCredential_StampsAreNeverTheSame(t *testing.T) {
	i := &issuer{}
	c := newCredential(t, i)
	first := c.stamp()
	if second := c.stamp(); first != i.now.UnixMilli() || second != first+1 {
		t.Errorf("%d, %d", first, second)
	}
	i.advance(-time.Hour) // the clock was set back
	if third := c.stamp(); third != first+2 {
		t.Errorf("%d after %d", third, first)
	}
}
