package assembly

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/audit/replica"
)

// ReplicaConfig is where a log's replica is: a directory on another disk, or a
// gateway audit replica on another machine.
type ReplicaConfig struct {
	Dir         string `yaml:"dir"`         // must exist
	URL         string `yaml:"url"`         // https://replica.example.gov.cn:8447
	CA          string `yaml:"ca"`          // PEM; who the other machine must be
	Certificate string `yaml:"certificate"` // PEM; ours
	Key         string `yaml:"key"`
	// Optional lets business go on while the replica does not follow. Default: it
	// stops within seconds, as for every other failure of the log.
	Optional bool `yaml:"optional"`
}

// Paths are those that Resolve is for.
func (c *ReplicaConfig) Paths() []*string {
	return []*string{&c.Dir, &c.CA, &c.Certificate, &c.Key}
}

// Replica is the way to a log's replica. Close it after the log.
type Replica struct {
	audit.Replica
	close func() error

	turned chan struct{} // a quarter has ended
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// OpenReplica prepares what is configured, and has a log that is opened with c
// use it; nil if nothing is. A machine that is down does not stop the start.
func OpenReplica(conf *ReplicaConfig, origin string, key *ecdsa.PublicKey, c *audit.Config) (*Replica, error) {
	if conf == nil {
		return nil, nil
	}
	r := &Replica{close: func() error { return nil }, turned: make(chan struct{}, 1)}
	switch {
	case (conf.Dir == "") == (conf.URL == ""):
		return nil, errors.New("audit.replica: dir 与 url 须有且只有一个 / give either dir or url")
	case conf.Dir != "":
		d, err := audit.OpenReplicaDir(audit.ReplicaConfig{Dir: conf.Dir, Origin: origin, Keys: []*ecdsa.PublicKey{key}, Logger: c.Logger})
		if err != nil {
			return nil, fmt.Errorf("audit.replica.dir: 目录须先建好 / has to exist: %w", err)
		}
		r.Replica, r.close = d, d.Close
	default:
		client, err := conf.client()
		if err != nil {
			return nil, fmt.Errorf("audit.replica: %w", err)
		}
		r.Replica, r.close = client, func() error { client.HTTP.CloseIdleConnections(); return nil }
	}
	c.Replica, c.ReplicaOptional = r.Replica, conf.Optional
	return r, nil
}

func (c *ReplicaConfig) client() (replica.Client, error) {
	ca, err := os.ReadFile(c.CA)
	if err != nil {
		return replica.Client{}, fmt.Errorf("ca: %w", err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !conf.RootCAs.AppendCertsFromPEM(ca) {
		return replica.Client{}, fmt.Errorf("%s: 没有证书 / holds no certificate", c.CA)
	}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return replica.Client{}, fmt.Errorf("certificate: %w", err)
	}
	conf.Certificates = []tls.Certificate{pair}
	// The other side lets a connection be idle for longer.
	transport := &http.Transport{TLSClientConfig: conf, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 5 * time.Second, MaxIdleConns: 4}
	return replica.Client{URL: strings.TrimSuffix(c.URL, "/"), HTTP: &http.Client{Transport: transport}}, nil
}

// Earlier brings, beside everything else, what the replica lacks of the quarters
// before the present one, until Close: now, and after every turn of the log (see
// Turned), whose tail a replica that was down has not got.
func (r *Replica) Earlier(archives *Archives, live *audit.Log, log *slog.Logger) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.wg.Go(func() {
		for {
			err := r.earlier(ctx, archives, path.Base(live.Latest().Origin()))
			var again <-chan time.Time
			if err != nil && ctx.Err() == nil {
				log.Warn("audit replica lacks something of an earlier quarter; trying again in a minute", "err", err)
				again = time.After(time.Minute)
			}
			select {
			case <-ctx.Done():
				return
			case <-r.turned:
			case <-again:
			}
		}
	})
}

// Turned tells that a quarter has ended. It does not wait.
func (r *Replica) Turned(*audit.Log) {
	select {
	case r.turned <- struct{}{}:
	default: // it is known already
	}
}

func (r *Replica) earlier(ctx context.Context, archives *Archives, present string) error {
	quarters, err := archives.Before(present)
	if err != nil {
		return err
	}
	for _, name := range quarters {
		a, err := archives.Open(ctx, name)
		if err == nil {
			err = a.Replicate(ctx, r.Replica)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// Close lets the replica go.
func (r *Replica) Close() error {
	if r.cancel != nil {
		r.cancel()
	}
	r.wg.Wait()
	return r.close()
}
