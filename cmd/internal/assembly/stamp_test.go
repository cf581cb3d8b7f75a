package assembly

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"yizheng/audit"
)

func TestStampsConfig_NamesWhatIsWrong(t *testing.T) {
	const url = "https://tsa.690100.example/"
	for _, test := range []struct {
		name string
		conf StampsConfig
		want []string
	}{
		{"only an address", StampsConfig{URL: url}, nil},
		{"everything", StampsConfig{URL: url, Policy: "1.2.156.1", Every: time.Minute, MaxUnstamped: time.Hour}, nil},
		{"no TLS", StampsConfig{URL: "http://tsa.690100.example/"}, []string{"audit.timestamp.url"}},
		{"no policy", StampsConfig{URL: url, Policy: "best"}, []string{"audit.timestamp.policy"}},
		{"too often", StampsConfig{URL: url, Every: -time.Second}, []string{"audit.timestamp.every"}},
		{"held between two stamps", StampsConfig{URL: url, MaxUnstamped: time.Hour}, []string{"audit.timestamp.max_unstamped"}},
	} {
		var got []string
		c := AuditConfig{Dir: "a", Key: "k", Pseudonyms: "p", Timestamp: &test.conf}
		c.Check(func(key, _, _ string) { got = append(got, key) })
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v", test.name, got)
		}
		Resolve("/srv", c.Paths()...)
		if test.conf.Dir != "/srv/a-stamps" {
			t.Errorf("stamps go to %s", test.conf.Dir)
		}
	}
}

// The end of a quarter that nobody came to stamp is found beside the new one.
func TestOpenStamper_KnowsTheShardBefore(t *testing.T) {
	n := newNode(t)
	n.run(autumn, "A")
	l, err := n.open(winter)
	n.must(err)
	defer l.Close()
	c := AuditConfig{Dir: n.dir, Timestamp: &StampsConfig{URL: "https://127.0.0.1:1/", Dir: t.TempDir()}}
	s, err := OpenStamper(context.Background(), c, l, slog.New(slog.DiscardHandler))
	n.must(err)
	if s.Before.Origin != audit.ShardOrigin(testOrigin, autumn) || s.Before.Size == 0 {
		t.Errorf("before: %s, size %d", s.Before.Origin, s.Before.Size)
	}
	c.Timestamp = nil
	if s, err := OpenStamper(context.Background(), c, l, nil); s != nil || err != nil {
		t.Errorf("without configuration: %v, %v", s, err)
	}
}
