// Command province is a simulated provincial data-sharing platform: an HTTPS
// server that checks signature, time and replay of every request by its own
// code and answers from a file of fictional people. It shares no code with the
// gateway, so that each can find the other's mistakes. The protocol is
// described in docs/protocol/national-platform.md.
//
// The people stay in memory. The log (standard error, JSON lines) names
// services, outcomes and durations only. On standard output it prints one line
//
//	{"event":"listening","addr":"127.0.0.1:41234"}
//
// and ends in good order on SIGTERM or SIGINT.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `province: a simulated provincial platform

  province -cert server.pem -key server.key -systems configs/demo/systems -rid 690100-yizheng -app-key-file app.key

`

type options struct {
	listen, cert, key, clientCA, systems string
	platform                             platformConfig
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(0)
		}
		fmt.Fprintln(os.Stderr, "province:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout, slog.New(slog.NewJSONHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, "province:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

func parse(args []string) (options, error) {
	var o options
	var appKeyFile string
	f := flag.NewFlagSet("province", flag.ContinueOnError)
	f.Usage = func() { fmt.Fprint(f.Output(), usage); f.PrintDefaults() }
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` to listen on")
	f.StringVar(&o.cert, "cert", "", "PEM `file` of the server certificate")
	f.StringVar(&o.key, "key", "", "PEM `file` of its key")
	f.StringVar(&o.clientCA, "client-ca", "", "PEM `file` of authorities for client certificates, which are then required")
	f.StringVar(&o.systems, "systems", "", "YAML `file`, or directory of such files, with a province: section")
	f.StringVar(&o.platform.rid, "rid", "", "requester `number` that may ask")
	f.StringVar(&appKeyFile, "app-key-file", "", "`file` with the requester's app key")
	f.StringVar(&o.platform.prefix, "prefix", "gjgxjhpt_", "`prefix` of the protocol's headers")
	f.DurationVar(&o.platform.secretLife, "secret-life", 30*time.Minute, "how long a secret serves")
	f.DurationVar(&o.platform.window, "window", 5*time.Minute, "how far rtime may be from our clock")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for name, value := range map[string]string{"-cert": o.cert, "-key": o.key, "-systems": o.systems, "-rid": o.platform.rid, "-app-key-file": appKeyFile} {
		if value == "" {
			return o, fmt.Errorf("%s is missing; see -h", name)
		}
	}
	b, err := os.ReadFile(appKeyFile)
	if err != nil {
		return o, fmt.Errorf("app key: %w", err)
	}
	if o.platform.appKey = strings.TrimSpace(string(b)); o.platform.appKey == "" {
		return o, fmt.Errorf("app key: %s is empty", appKeyFile)
	}
	return o, nil
}

// run serves until ctx ends and then lets requests under way finish.
func run(ctx context.Context, o options, out io.Writer, logger *slog.Logger) error {
	services, err := loadServices(o.systems)
	if err != nil {
		return err
	}
	conf, err := tlsConfig(o)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	o.platform.services, o.platform.now, o.platform.logger = services, time.Now, logger
	server := &http.Server{
		Handler:           newPlatform(o.platform),
		TLSConfig:         conf,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	if err := json.NewEncoder(out).Encode(map[string]string{"event": "listening", "addr": listener.Addr().String()}); err != nil {
		return errors.Join(fmt.Errorf("announce: %w", err), server.Close())
	}
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(bounded); err != nil {
		err = errors.Join(err, server.Close())
		return fmt.Errorf("stop: %w", err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func tlsConfig(o options) (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}
	if o.clientCA == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(o.clientCA)
	if err != nil {
		return nil, fmt.Errorf("client-ca: %w", err)
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client-ca: %s holds no certificate", o.clientCA)
	}
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	return conf, nil
}
