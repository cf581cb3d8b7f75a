package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"yizheng/audit"
	"yizheng/audit/replica"
	"yizheng/cmd/internal/assembly"
	"yizheng/identity/jose"
)

// replicaFile is the configuration of a replica. Unknown keys are errors;
// relative paths are relative to the file.
type replicaFile struct {
	Listen string `yaml:"listen"`
	TLS    struct {
		Certificate string `yaml:"certificate"`
		Key         string `yaml:"key"`
		ClientCA    string `yaml:"client_ca"` // callers have to show a certificate of it
	} `yaml:"tls"`
	Logs []struct {
		Origin string `yaml:"origin"` // without the quarter
		Dir    string `yaml:"dir"`    // must exist; one for each log
		Key    string `yaml:"key"`    // PEM; the log's public key
	} `yaml:"logs"`
}

const replicaExample = `gateway audit replica -config replica.yaml

    listen: 0.0.0.0:8447
    tls: { certificate: tls/replica.crt, key: tls/replica.key, client_ca: tls/gateways-ca.crt }
    logs:
      - { origin: gw00.690100.example/audit, dir: gw00, key: gw00-audit.pub.pem }`

// auditReplica keeps copies of other machines' logs until it is told to stop.
func auditReplica(ctx context.Context, args []string, out io.Writer) (err error) {
	f := flags("audit replica", "-config FILE", replicaExample)
	file := f.String("config", "", "配置文件 / configuration file")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *file == "" {
		f.Usage()
		return errUsage
	}
	c, err := readReplicaFile(*file)
	if err != nil {
		return err
	}
	s := replica.Server{Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil))}
	defer func() {
		for _, log := range s.Logs {
			err = errors.Join(err, log.Close())
		}
	}()
	for _, l := range c.Logs {
		key, err := jose.ReadPublicKey(l.Key)
		if err != nil {
			return fmt.Errorf("log %s: %w", l.Origin, err)
		}
		d, err := audit.OpenReplicaDir(audit.ReplicaConfig{Dir: l.Dir, Origin: l.Origin, Keys: []*ecdsa.PublicKey{key}, Logger: s.Logger})
		if err != nil {
			return fmt.Errorf("log %s: 目录须先建好 / the directory has to exist: %w", l.Origin, err)
		}
		s.Logs = append(s.Logs, d)
	}
	return c.serve(ctx, s, out)
}

func readReplicaFile(path string) (*replicaFile, error) {
	c := &replicaFile{}
	if err := decodeStrictly(path, c); err != nil {
		return nil, err
	}
	paths := []*string{&c.TLS.Certificate, &c.TLS.Key, &c.TLS.ClientCA}
	missing := c.Listen == "" || c.TLS.Certificate == "" || c.TLS.Key == "" || c.TLS.ClientCA == "" || len(c.Logs) == 0
	for i := range c.Logs {
		l := &c.Logs[i]
		missing = missing || l.Origin == "" || l.Dir == "" || l.Key == ""
		paths = append(paths, &l.Dir, &l.Key)
	}
	if missing {
		return nil, fmt.Errorf("configuration %s: 须有 listen、tls 的三项，以及每个日志的 origin、dir、key / listen, all of tls, and origin, dir and key of every log are needed", path)
	}
	assembly.Resolve(filepath.Dir(path), paths...)
	return c, nil
}

// serve answers until ctx ends.
func (c *replicaFile) serve(ctx context.Context, s replica.Server, out io.Writer) error {
	pair, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	ca, err := os.ReadFile(c.TLS.ClientCA)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(ca) {
		return fmt.Errorf("tls: %s: 没有证书 / holds no certificate", c.TLS.ClientCA)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	line, _ := json.Marshal(map[string]any{"event": "listening", "addr": l.Addr().String(), "logs": len(c.Logs)}) // strings and a number always encode
	fmt.Fprintln(out, string(line))
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err = server.Shutdown(stop)
	<-ended
	return err
}
