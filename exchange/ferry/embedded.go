package ferry

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// EmbeddedConfig configures the in-process broker.
type EmbeddedConfig struct {
	TLS    Files        // the broker's own certificate, valid for 127.0.0.1
	Port   int          // 0: a free one
	Logger *slog.Logger // nil: slog.Default
}

// Embedded is a Kafka broker inside this process, for the demo city and quick
// tests. It listens on the loopback interface only, demands client
// certificates, keeps everything in memory and loses it when it ends. It is
// for one machine and no substitute for a cluster; `mode: production` must
// refuse it.
type Embedded struct{ cluster *kfake.Cluster }

// StartEmbedded starts the broker.
func StartEmbedded(c EmbeddedConfig) (*Embedded, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	conf, err := c.TLS.server()
	if err != nil {
		return nil, err
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.Ports(c.Port),
		kfake.TLS(conf),
		kfake.BrokerConfigs(map[string]string{
			"log.segment.bytes":      "4194304",
			"log.cleaner.backoff.ms": "15000",
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	e := &Embedded{cluster: cluster}
	c.Logger.Warn("内置消息代理仅供单机演示，数据只在内存 / the embedded broker is for one machine only, in memory", "address", e.Brokers())
	return e, nil
}

// Brokers returns the address for KafkaConfig.
func (e *Embedded) Brokers() []string { return e.cluster.ListenAddrs() }

// String returns the address.
func (e *Embedded) String() string { return strings.Join(e.Brokers(), ",") }

// Close stops the broker; its clients should have been closed before.
func (e *Embedded) Close() { e.cluster.Close() }
