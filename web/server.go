// Package web is the HTTPS door: it finds out who knocks, turns JSON into
// calls of packages exchange and reading, and writes what they say. It decides
// nothing about residents' data itself.
//
// Every route stands in one table (routes.go) with who may use it and how its
// use gets into the audit log. Handlers cannot reach the socket: they return a
// reply, and the middleware writes it after the record is durable. Errors are
// RFC 9457 problems in Chinese and English. The API is described in
// openapi.yaml, which a test holds against the table.
package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/audit/supervise"
	"yizheng/audit/supervise/report"
	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/custody"
	"yizheng/exchange/reading"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
	"yizheng/seal"
	"yizheng/seal/pdf"
	"yizheng/web/health"
)

// Config is what a Server is made of.
type Config struct {
	Catalogue   *catalog.Catalogue
	Exchanges   *exchange.Service
	Desk        *reading.Desk
	Audit       *audit.Log
	Custody     *custody.Custody
	Persons     *staff.Register   // who administers; nil: nobody may
	Search      *search.Service   // nil: the log is not indexed here, and nobody can search it
	Peers       map[string]string // other nodes that may ask for log entries: certificate digest to name
	Trust       *seal.Trust
	Renderer    *pdf.Renderer // of print orders
	Key         *jose.Key     // its public half is told to agents
	Demo        bool          // shows the last exchange on the start page
	Logger      *slog.Logger
	Supervision *supervise.Engine // nil: none
	Font        string            // path of the TrueType font that statistics are printed with
	Health      *health.Watch     // tells how the gateway is
	Metrics     *health.Metrics
	Monitors    map[string]bool // systems that may ask for both in full: certificate digests
}

// Server serves the API.
type Server struct {
	catalogue   *catalog.Catalogue
	exchanges   *exchange.Service
	desk        *reading.Desk
	audit       *audit.Log
	custody     *custody.Custody
	persons     *staff.Register
	search      *search.Service
	peers       map[string]string
	trust       *seal.Trust
	renderer    *pdf.Renderer
	key         *jose.Key
	demo        bool
	log         *slog.Logger
	openapi     []byte
	limits      *limits
	origins     *http.CrossOriginProtection
	times       times
	closing     chan struct{} // closed when streams must end
	supervision *supervise.Engine
	printer     *report.Printer
	health      *health.Watch
	metrics     *health.Metrics
	monitors    map[string]bool
}

// times a client may take, and how often a silent stream says that it lives.
type times struct {
	body   time.Duration // to send a request
	answer time.Duration // from the request's first byte to the answer's last; more than any route's own limit
	event  time.Duration // to take one event of a stream
	beat   time.Duration
	// patience is how long a stranger waits for memory or a processor to become free.
	patience time.Duration
}

var usual = times{body: 60 * time.Second, answer: 200 * time.Second, event: 10 * time.Second, beat: 15 * time.Second, patience: 5 * time.Second}

// New makes a Server.
func New(c Config) (*Server, error) {
	s := &Server{catalogue: c.Catalogue, exchanges: c.Exchanges, desk: c.Desk, audit: c.Audit, custody: c.Custody, persons: c.Persons, search: c.Search, peers: c.Peers, trust: c.Trust, renderer: c.Renderer,
		supervision: c.Supervision, printer: report.NewPrinter(c.Font), health: c.Health, metrics: c.Metrics, monitors: c.Monitors, key: c.Key, demo: c.Demo, log: c.Logger, limits: newLimits(), origins: http.NewCrossOriginProtection(), times: usual, closing: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.openapi, err = openAPI(); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	return s, nil
}

// Handler is the whole API.
func (s *Server) Handler() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false // a redirect would be an answer nobody has written down
	engine.Use(numbered, gin.CustomRecoveryWithWriter(nil, s.recovered))
	for _, rt := range s.routes() {
		engine.Handle(rt.method, rt.path, s.handle(rt))
	}
	engine.NoRoute(func(c *gin.Context) {
		s.refuse(c, newProblem(http.StatusNotFound, "NO_SUCH_CALL", "", "没有这个接口；接口说明见 /openapi.json", "no such call; see /openapi.json"))
	})
	engine.NoMethod(func(c *gin.Context) {
		s.refuse(c, newProblem(http.StatusMethodNotAllowed, "METHOD", "", "此接口不支持该方法；接口说明见 /openapi.json", "this call does not support the method; see /openapi.json"))
	})
	return engine
}

// Serve answers on l until ctx ends, then lets running requests finish for at most grace.
func (s *Server) Serve(ctx context.Context, l net.Listener, certificate tls.Certificate, clients *x509.CertPool, grace time.Duration) error {
	server := &http.Server{
		Handler: s.Handler(),
		HTTP2:   &http.HTTP2Config{MaxConcurrentStreams: 100, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: 30 * time.Second},
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
			ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clients,
		},
		// ReadTimeout is for the body alone (request.read lifts it); WriteTimeout holds
		// for every answer but streams, which set their own at every event (stream.put).
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: s.times.body, WriteTimeout: s.times.answer,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: log.New(errorLog{s.log}, "", 0), // stays out of stdout, and says nothing about requests
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	close(s.closing)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(stop)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if serveErr := <-ended; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// errorLog passes net/http's complaints on as debug messages.
type errorLog struct{ log *slog.Logger }

func (e errorLog) Write(p []byte) (int, error) {
	e.log.Debug("https", "message", string(p))
	return len(p), nil
}
