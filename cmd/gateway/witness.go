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
	"syscall"
	"time"

	"yizheng/audit/witness"
	"yizheng/cmd/internal/assembly"
	"yizheng/identity/jose"
)

// WitnessConfig is the configuration file of a witness, which runs in another
// department than the logs it watches. Unknown keys are errors. Relative paths
// are relative to the file.
type WitnessConfig struct {
	// Name stands in the cosignatures, for ever: lower-case letters, digits and "./-_".
	Name string `yaml:"name"`
	// Listen is the address of the HTTPS listener.
	Listen string `yaml:"listen"`
	// Dir keeps what was cosigned last of each log. A witness that has lost it
	// must be given a new name and key.
	Dir string `yaml:"dir"`
	// Key is the witness's own SM2 key (gateway keys new), made by its department.
	Key        string `yaml:"key"`
	Passphrase string `yaml:"passphrase"` // file; empty: the key is not encrypted
	TLS        struct {
		Certificate string `yaml:"certificate"`
		Key         string `yaml:"key"`
		ClientCA    string `yaml:"client_ca"` // if given, callers have to show a certificate of it
	} `yaml:"tls"`
	// Logs are those it watches.
	Logs []struct {
		Origin string   `yaml:"origin"` // without the quarter: gw00.690100.example/audit
		Keys   []string `yaml:"keys"`   // PEM; any of which may sign
	} `yaml:"logs"`
}

const witnessExample = `gateway witness -config witness.yaml

    name: witness.audit.690100.example
    listen: 0.0.0.0:8445
    dir: witness
    key: keys/witness.key
    passphrase: keys/passphrase
    tls: { certificate: tls/witness.crt, key: tls/witness.key, client_ca: tls/gateways-ca.crt }
    logs:
      - { origin: gw00.690100.example/audit, keys: [gw00-audit.pub.pem] }
`

// runWitness cosigns checkpoints of other departments' logs until it is told to stop.
func runWitness(ctx context.Context, args []string, out io.Writer) error {
	f := flags("witness", "-config FILE", witnessExample)
	file := f.String("config", "", "配置文件 / configuration file")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *file == "" {
		f.Usage()
		return errUsage
	}
	c, err := readWitnessConfig(*file)
	if err != nil {
		return err
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	w, err := c.open()
	if err != nil {
		return err
	}
	return c.serve(ctx, witness.Server{Witness: w, Logger: log}, out)
}

func readWitnessConfig(path string) (*WitnessConfig, error) {
	c := &WitnessConfig{}
	if err := decodeStrictly(path, c); err != nil {
		return nil, err
	}
	paths := []*string{&c.Dir, &c.Key, &c.Passphrase, &c.TLS.Certificate, &c.TLS.Key, &c.TLS.ClientCA}
	for i := range c.Logs {
		for j := range c.Logs[i].Keys {
			paths = append(paths, &c.Logs[i].Keys[j])
		}
	}
	assembly.Resolve(filepath.Dir(path), paths...)
	return c, c.check(path)
}

func (c *WitnessConfig) check(path string) error {
	var errs []error
	bad := func(key, zh, en string) { errs = append(errs, fmt.Errorf("%s: %s: %s / %s", path, key, zh, en)) }
	for key, v := range map[string]string{"name": c.Name, "listen": c.Listen, "dir": c.Dir, "key": c.Key, "tls.certificate": c.TLS.Certificate, "tls.key": c.TLS.Key} {
		if v == "" {
			bad(key, "缺少此项", "is missing")
		}
	}
	if len(c.Logs) == 0 {
		bad("logs", "至少一个", "needs at least one")
	}
	for _, l := range c.Logs {
		if l.Origin == "" || len(l.Keys) == 0 {
			bad("logs", "每个日志须有 origin 与 keys", "every log needs origin and keys")
		}
	}
	return errors.Join(errs...)
}

// lock makes the state this process's own: two witnesses of one name could
// cosign two histories.
func (c *WitnessConfig) lock() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.Dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("状态目录须先建好 / the state directory has to exist: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s 正由另一个见证进程使用 / in use by another witness", c.Dir), f.Close())
	}
	return f, nil
}

func (c *WitnessConfig) open() (*witness.Witness, error) {
	key, err := jose.ReadKey(c.Key, c.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("witness key: %w", err)
	}
	conf := witness.Config{Name: c.Name, Dir: c.Dir, Signer: key}
	for _, l := range c.Logs {
		var keys []*ecdsa.PublicKey
		for _, path := range l.Keys {
			k, err := jose.ReadPublicKey(path)
			if err != nil {
				return nil, fmt.Errorf("log %s: %w", l.Origin, err)
			}
			keys = append(keys, k)
		}
		conf.Logs = append(conf.Logs, witness.Log{Origin: l.Origin, Keys: keys})
	}
	return witness.New(conf)
}

// serve answers until ctx ends.
func (c *WitnessConfig) serve(ctx context.Context, s witness.Server, out io.Writer) error {
	pair, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if c.TLS.ClientCA != "" {
		ca, err := os.ReadFile(c.TLS.ClientCA)
		if err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		if !conf.ClientCAs.AppendCertsFromPEM(ca) {
			return fmt.Errorf("tls: %s: 没有证书 / holds no certificate", c.TLS.ClientCA)
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: s.Handler(), TLSConfig: conf, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	line, _ := json.Marshal(map[string]any{"event": "listening", "addr": l.Addr().String(), "name": c.Name, "logs": len(c.Logs)}) // strings and a number always encode
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
