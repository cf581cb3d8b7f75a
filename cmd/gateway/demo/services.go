package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Services are those of a real deployment, in the place of what a gateway can
// do without on one machine: Apache Kafka for the broker in its own process,
// PostgreSQL for SQLite, and Redis, without which there is no fast path.
type Services struct {
	Brokers []string // host:port
	// CA and CAKey, PEM, certify the city's clients. The brokers trust them, and
	// have their own certificate from them.
	CA, CAKey string
	// Certificate and Key of somebody who may make topics and grant access.
	Certificate, Key string
	PostgreSQL       string // connection string
	Redis            string // redis://… or rediss://…
}

// useServices has the city's certificates come from the authority that the
// brokers trust, and writes down where database and Redis are.
func (c *City) useServices() error {
	s := c.Services
	if s == nil {
		return nil
	}
	if err := os.MkdirAll(c.in("keys/tls"), 0o700); err != nil {
		return err
	}
	for to, from := range map[string]string{"ca.crt": s.CA, "ca.key": s.CAKey} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(c.in("keys/tls/"+to), b, 0o600)
		}
		if err != nil {
			return fmt.Errorf("certificates for the services: %w", err)
		}
	}
	return errors.Join(os.WriteFile(c.in("postgresql.dsn"), []byte(s.PostgreSQL), 0o600),
		os.WriteFile(c.in("redis.url"), []byte(s.Redis), 0o600))
}

// storeConfig is the gateway's store.
func (c *City) storeConfig() m {
	if c.Services == nil {
		return m{"driver": "sqlite", "dsn": "state.db"}
	}
	return m{"driver": "pgx", "dsn_file": "postgresql.dsn", "redis_url": "redis.url"}
}

// ferryConfig is the gateway's way to the fronts.
func (c *City) ferryConfig() m {
	config := m{"ca": "keys/tls/ca.crt", "certificate": "keys/tls/kafka-gw00.crt", "key": "keys/tls/kafka-gw00.key"}
	if c.Services != nil {
		config["brokers"] = c.Services.Brokers
		return config
	}
	config["embedded"], config["port"] = true, 0
	config["broker_certificate"], config["broker_key"] = "keys/tls/broker.crt", "keys/tls/broker.key"
	return config
}

// prepareCluster does what the administrator of a cluster does before the
// first gateway starts: topics and access rights, by the gateway's own command.
func (c *City) prepareCluster(ctx context.Context) error {
	s := c.Services
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(c.Bin, "gateway"), "topics", "apply", "-config", c.in("gateway.yaml"), "-replication", "1",
		"-principal", "User:CN={name}", "-certificate", s.Certificate, "-key", s.Key, "-yes")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("topics apply: %w\n%s", err, out)
	}
	return nil
}
