package ferry

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// The broker goes away, and another one that has forgotten everything comes in
// its place: askers and fronts find back by themselves.
func TestFerryOutlivesItsBroker(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	k := c.ready(t)
	c.serve(t, k, echo, nil)
	a := c.asker(t, k, nil)
	asked := 0
	eventually(t, "the front answers", func() bool { return c.answers(t, a, &asked) })

	_, port, err := net.SplitHostPort(c.brokers[0])
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	c.embedded.Close()
	if c.answers(t, a, &asked) {
		t.Error("answered without a broker")
	}
	again, err := StartEmbedded(EmbeddedConfig{TLS: c.files, Port: n, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	fresh := c.open(t)
	c.topics(t, fresh)
	eventually(t, "the front answers again", func() bool { return c.answers(t, a, &asked) })
}

// Clusters that do not take the certificate's name ask for a password inside TLS.
func TestPasswordInsideTLS(t *testing.T) {
	t.Parallel()
	files := certificates(t)
	conf, err := files.server()
	if err != nil {
		t.Fatal(err)
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(conf), kfake.EnableSASL(), kfake.Superuser("PLAIN", "gateway", "right"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	for password, want := range map[string]bool{"right\n": true, "wrong": false} {
		path := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(path, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := OpenKafka(t.Context(), KafkaConfig{Brokers: broker.ListenAddrs(), ClientID: "x", TLS: files, User: "gateway",
			PasswordFile: path, Logger: quiet(), Timeout: time.Second})
		if (err == nil) != want {
			t.Errorf("password %q: %v", fmt.Sprint(password), err)
		}
		if err == nil {
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
