package ferry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emmansun/gmsm/sm3"
	"golang.org/x/sync/errgroup"
)

// Answer seals what a front has to say, for one attempt. It keeps the signed
// plaintext, in memory only.
type Answer struct {
	// Seal opens and checks the attempt it is to answer (which may be another
	// than the one handled, even of another gateway) and seals the answer to
	// the key that attempt names. The headers repeat the answer's attributes.
	// It may be called by several goroutines at once.
	Seal func(attempt Message) (body []byte, headers map[string]string, err error)
	// Size is about how many bytes Seal keeps in memory, for the cache's bound.
	Size int
}

// ServerConfig configures a front's side.
type ServerConfig struct {
	Front string // its name in topics: [a-z0-9-]
	// Handle opens and checks a request and works out its answer. It runs in
	// many goroutines, once for each (exchange, leg) that succeeds; its context
	// ends with the leg's deadline. What the department denies or cannot answer
	// is an Answer too. An error that wraps ErrUndecodable is final; any other
	// is tried three times, for a deferred request until its deadline. A request
	// that fails for good gets a refusal without reasons, and its digest goes to
	// xg.dlq.
	Handle func(ctx context.Context, request Message) (Answer, error)
	// Parallel bounds the live requests in hand; it is announced as credits. 0: 64.
	Parallel int
	// Deferred takes the front's deferred requests as well.
	Deferred bool
	// ParallelDeferred bounds the deferred requests in hand, which take no live
	// request's place. 0: 64.
	ParallelDeferred int
	// RetryPause is the longest time between two tries of a deferred request that
	// cannot be handled at present; 0 means a minute.
	RetryPause time.Duration
	// HeartbeatEvery is the interval of heartbeats; 0 means 5 s.
	HeartbeatEvery time.Duration
	// SignEvery is how often an asker is told that its live request is being
	// worked on, first after a quarter of it, so that it need not ask another
	// replica, and the department twice. 0 means 600 ms, < 0 never.
	SignEvery time.Duration
	// Skew is how far the clocks of gateways and front may differ; 0 means 2 s.
	Skew time.Duration
	// CacheBytes bounds the answers kept for repetition; 0 means 64 MiB.
	CacheBytes int
	// Describe fills in Keys, Release and Can of a heartbeat; may be nil.
	Describe func(*Heartbeat)
	// Drain is how long requests in hand may go on when Run's ctx has ended; 0: 5 s.
	Drain  time.Duration
	Logger *slog.Logger // nil: slog.Default
}

const (
	tries          = 3
	retryPause     = 50 * time.Millisecond
	liveBacklog    = 3 * time.Minute // older live requests have expired in any case
	sendDeferred   = 30 * time.Second
	buryTime       = 5 * time.Second
	maxNameInRoute = 128
)

// Server answers the requests of one front. Several processes may serve the
// same front and share its requests.
type Server struct {
	bus      Bus
	config   ServerConfig
	log      *slog.Logger
	instance string
	answers  *answers // live
	late     *answers // deferred: a live attempt that ran out of time must not answer for them
	counts   serveCounters
	inHand   atomic.Int64 // live
}

// NewServer returns a server; Run starts it.
func NewServer(bus Bus, c ServerConfig) (*Server, error) {
	if !frontName.MatchString(c.Front) {
		return nil, fmt.Errorf("front %q does not fit into a topic name", c.Front)
	}
	if c.Handle == nil {
		return nil, errors.New("a server needs a handler")
	}
	if c.Parallel <= 0 {
		c.Parallel = 64
	}
	if c.ParallelDeferred <= 0 {
		c.ParallelDeferred = 64
	}
	if c.HeartbeatEvery <= 0 {
		c.HeartbeatEvery = 5 * time.Second
	}
	if c.SignEvery == 0 {
		c.SignEvery = 600 * time.Millisecond
	}
	if c.RetryPause <= 0 {
		c.RetryPause = time.Minute
	}
	if c.Skew <= 0 {
		c.Skew = 2 * time.Second
	}
	if c.CacheBytes <= 0 {
		c.CacheBytes = 64 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &Server{bus: bus, config: c, log: c.Logger.With("front", c.Front), instance: rand.Text()[:12],
		answers: newAnswers(c.CacheBytes), late: newAnswers(c.CacheBytes)}, nil
}

// Instance is the random name of this process in heartbeats.
func (s *Server) Instance() string { return s.instance }

// Run serves until ctx ends, finishes what is in hand and says farewell.
func (s *Server) Run(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		return s.bus.ConsumeGroup(ctx, GroupConfig{Group: s.config.Front, Topics: []string{RequestTopic(s.config.Front)},
			Parallel: s.config.Parallel, SkipOlder: liveBacklog, Erase: true, Drain: s.config.Drain}, s.live)
	})
	if s.config.Deferred {
		all.Go(func() error {
			return s.bus.ConsumeGroup(ctx, GroupConfig{Group: s.config.Front + ".deferred",
				Topics: []string{DeferredRequestTopic(s.config.Front)}, Parallel: s.config.ParallelDeferred, Erase: true,
				Drain: s.config.Drain}, s.deferred)
		})
	}
	all.Go(func() error { s.beat(ctx); return nil })
	return all.Wait()
}

// live handles a live request. It never asks for it again: the asker hedges.
func (s *Server) live(ctx context.Context, m Message) error {
	s.inHand.Add(1)
	defer s.inHand.Add(-1)
	_ = s.serve(ctx, m, IsReplyTopic(m.Headers[HeaderReplyTo], false))
	return nil
}

// deferred handles a deferred request, again if its answer could not be sent.
func (s *Server) deferred(ctx context.Context, m Message) error {
	return s.serve(ctx, m, isDeferred(m))
}

func isDeferred(m Message) bool { return m.Headers[HeaderReplyTo] == TopicDeferredReply }

// serve takes one request from arrival to its answer. mayReply says whether its
// reply address is one a front may answer: it would else write wherever it is
// told to. The error is that of sending.
func (s *Server) serve(ctx context.Context, m Message, mayReply bool) error {
	s.counts.Received.Add(1)
	if !mayReply {
		s.counts.Misplaced.Add(1)
		s.bury(ctx, m, ReasonReplyTopic)
		return nil
	}
	key, now := legOf(m.Headers), time.Now()
	deadline, err := deadlineOf(m.Headers, now, s.config.Skew)
	if err != nil || key.exchange == "" || key.leg == "" || len(key.exchange) > maxNameInRoute || len(key.leg) > maxNameInRoute {
		s.counts.Unreadable.Add(1)
		return s.refuse(ctx, m, ReasonHeaders)
	}
	if !now.Before(deadline) {
		s.counts.Expired.Add(1)
		return nil
	}
	work, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	quiet := s.signs(work, m)
	kept, try := s.answers, s.try
	if isDeferred(m) {
		kept, try = s.late, s.tryOn
	}
	answer, repeated, err := kept.get(work, key, deadline, func() (Answer, error) { return try(work, m) })
	quiet()
	if err != nil {
		return s.fail(ctx, work, m, err)
	}
	if repeated {
		s.counts.Repeated.Add(1)
	}
	body, headers, err := sealAnswer(answer, m)
	if err != nil {
		return s.fail(ctx, work, m, err)
	}
	if len(body) > MaxBody {
		s.counts.Failed.Add(1)
		return s.refuse(ctx, m, ReasonTooLarge)
	}
	err = s.reply(ctx, m, body, headers)
	if errors.Is(err, ErrTooLarge) { // a gap may carry less than Kafka does
		s.counts.Failed.Add(1)
		return s.refuse(ctx, m, ReasonTooLarge)
	}
	return err
}

// signs tells the asker from time to time that its request is being worked on,
// until quiet is called, which waits for the end of it.
func (s *Server) signs(ctx context.Context, m Message) (quiet func()) {
	every := s.config.SignEvery
	if every < 0 || isDeferred(m) {
		return func() {}
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	sign := func() {
		for wait := every; ctx.Err() == nil; pause(ctx, wait) {
			h := echoed(m, map[string]string{HeaderWorking: strconv.FormatInt(wait.Milliseconds(), 10)})
			_ = s.bus.Publish(ctx, Message{Topic: m.Headers[HeaderReplyTo], Headers: h, Body: []byte{}}) // the next one may arrive
		}
	}
	wg.Add(1)
	timer := time.AfterFunc(every/4, func() { defer wg.Done(); sign() })
	return func() {
		stop()
		if timer.Stop() {
			wg.Done()
		}
		wg.Wait()
	}
}

// echoed returns the headers of an answer to m: what identifies the question,
// and what the answer adds.
func echoed(m Message, add map[string]string) map[string]string {
	h := make(map[string]string, 12)
	for _, name := range []string{HeaderExchange, HeaderLeg, HeaderAttempt, HeaderEpoch, HeaderNonce, HeaderTrace} {
		if v := m.Headers[name]; v != "" {
			h[name] = v
		}
	}
	for k, v := range add {
		h[k] = v
	}
	return h
}

// Refusal is the answer to a request that cannot even be taken to its front.
func Refusal(m Message, why Reason) Message {
	r := Message{Topic: m.Headers[HeaderReplyTo], Key: []byte(m.Headers[HeaderExchange]), Body: []byte{},
		Headers: echoed(m, map[string]string{HeaderRefused: string(why)})}
	if r.Topic == TopicDeferredReply {
		r.Partition = AnyPartition
	}
	return r
}

// fail ends a request whose handler failed.
func (s *Server) fail(ctx, work context.Context, m Message, err error) error {
	switch {
	case ctx.Err() != nil: // we are stopping: another replica will take it
		return ctx.Err()
	case work.Err() != nil:
		s.counts.Expired.Add(1)
		return nil
	case errors.Is(err, ErrUndecodable):
		s.counts.Unreadable.Add(1)
		return s.refuse(ctx, m, ReasonUndecodable)
	}
	s.counts.Failed.Add(1)
	s.log.Warn("request failed", "exchange", m.Headers[HeaderExchange], "leg", m.Headers[HeaderLeg], "err", err)
	return s.refuse(ctx, m, ReasonFailed)
}

// try calls the handler up to three times.
func (s *Server) try(ctx context.Context, m Message) (a Answer, err error) {
	for i := range tries {
		if i > 0 {
			pause(ctx, retryPause)
		}
		a, err = s.handle(ctx, m)
		if err == nil || errors.Is(err, ErrUndecodable) || ctx.Err() != nil {
			return a, err
		}
	}
	return a, err
}

// tryOn calls the handler until it succeeds or the deadline has passed: nobody
// waits, and nobody would ask again.
func (s *Server) tryOn(ctx context.Context, m Message) (Answer, error) {
	for wait := retryPause; ; wait = min(2*wait, s.config.RetryPause) {
		a, err := s.handle(ctx, m)
		if err == nil || errors.Is(err, ErrUndecodable) || ctx.Err() != nil {
			return a, err
		}
		s.log.Warn("deferred request is tried again", "exchange", m.Headers[HeaderExchange], "leg", m.Headers[HeaderLeg], "err", err)
		pause(ctx, wait)
	}
}

// handle turns a panic of the handler into an error: no request may stop the
// front. What it panicked with may quote the request and is not repeated.
func (s *Server) handle(ctx context.Context, m Message) (a Answer, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the handler panicked")
		}
	}()
	a, err = s.config.Handle(ctx, m)
	if err == nil && a.Seal == nil {
		err = errors.New("the handler gave no answer")
	}
	return a, err
}

func sealAnswer(a Answer, m Message) (body []byte, headers map[string]string, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("sealing panicked")
		}
	}()
	return a.Seal(m)
}

// reply sends an answer where the request asks for it.
func (s *Server) reply(ctx context.Context, m Message, body []byte, headers map[string]string) error {
	h := echoed(m, headers)
	// Hours may be left of a deferred request's deadline, but not for one try.
	ctx, cancel := context.WithTimeout(ctx, sendDeferred)
	defer cancel()
	to := m.Headers[HeaderReplyTo]
	partition := int32(0)
	if isDeferred(m) {
		partition = AnyPartition
	}
	err := s.bus.Publish(ctx, Message{Topic: to, Partition: partition, Key: []byte(h[HeaderExchange]), Headers: h, Body: body})
	if err != nil {
		s.counts.Unsent.Add(1)
		s.log.Warn("answer is not sent", "topic", to, "err", err)
		return err
	}
	s.counts.Answered.Add(1)
	return nil
}

// refuse answers without a body and buries the request.
func (s *Server) refuse(ctx context.Context, m Message, why Reason) error {
	s.bury(ctx, m, why)
	return s.reply(ctx, m, []byte{}, map[string]string{HeaderRefused: string(why)})
}

// bury puts headers, reason and digest of a request to xg.dlq, never its body.
func (s *Server) bury(ctx context.Context, m Message, why Reason) {
	ctx, cancel := context.WithTimeout(ctx, buryTime)
	defer cancel()
	digest := sm3.Sum(m.Body)
	h := map[string]string{HeaderReason: string(why), HeaderDigest: hex.EncodeToString(digest[:]), HeaderSource: m.Topic}
	for _, name := range deadLetterHeaders {
		if v := m.Headers[name]; v != "" && len(v) <= 256 {
			h[name] = v
		}
	}
	s.log.Warn("dead letter", "reason", string(why), "topic", m.Topic, "partition", m.Partition, "offset", m.Offset, "digest", h[HeaderDigest])
	if err := s.bus.Publish(ctx, Message{Topic: TopicDeadLetter, Partition: AnyPartition, Headers: h, Body: []byte{}}); err != nil {
		s.log.Warn("dead letter is not sent", "err", err)
	}
}

// beat sends heartbeats until ctx ends, then a farewell.
func (s *Server) beat(ctx context.Context) {
	tick := time.NewTicker(s.config.HeartbeatEvery)
	defer tick.Stop()
	for {
		s.control(ctx, s.heartbeat())
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.control(context.WithoutCancel(ctx), nil)
			return
		}
	}
}

func (s *Server) heartbeat() []byte {
	h := Heartbeat{}
	if s.config.Describe != nil {
		s.config.Describe(&h)
	}
	h.V, h.Front, h.Instance = 1, s.config.Front, s.instance
	h.Sent, h.Every = time.Now().UnixMilli(), s.config.HeartbeatEvery.Milliseconds()
	h.Credits, h.InHand, h.Deferred = s.config.Parallel, int(s.inHand.Load()), s.config.Deferred
	body, _ := json.Marshal(h) // strings and numbers only: cannot fail
	return body
}

// control publishes a heartbeat; nil deletes it.
func (s *Server) control(ctx context.Context, body []byte) {
	ctx, cancel := context.WithTimeout(ctx, s.config.HeartbeatEvery)
	defer cancel()
	err := s.bus.Publish(ctx, Message{Topic: TopicControl, Partition: 0, Key: heartbeatKey(s.config.Front, s.instance), Body: body})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("heartbeat is not sent", "err", err)
	}
}
