package front

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/envelope"
	"yizheng/exchange/ferry"
	"yizheng/identity/jose"
)

// SourceConfig is what a Source is made of.
type SourceConfig struct {
	Front  catalog.Front
	Sender string    // this gateway's name; fronts know its key by it
	Key    *jose.Key // signs questions
	Asker  *ferry.Asker
	Logger *slog.Logger
}

// Source asks one front by ferry. It is an exchange.Source for every source
// behind that front. A live answer is sealed to a key that exists for one
// question in this process's memory and dies with it.
type Source struct {
	c   SourceConfig
	pub *ecdsa.PublicKey
}

var _ exchange.Deferrer = (*Source)(nil)

// NewSource makes a Source.
func NewSource(c SourceConfig) (*Source, error) {
	pub, err := jose.ParsePublicKeyPEM([]byte(c.Front.Key))
	if err != nil {
		return nil, fmt.Errorf("front %s: key: %w", c.Front.ID, err)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Source{c: c, pub: pub}, nil
}

// Query asks and waits. Errors are those of exchange.Source.
func (s *Source) Query(ctx context.Context, ask exchange.Ask) (exchange.Answer, error) {
	body, err := question(ask).encode()
	if err != nil {
		return exchange.Answer{}, err
	}
	defer clear(body)
	once, err := jose.GenerateKey()
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("front: reply key: %w", err)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return exchange.Answer{}, errors.New("front: a question needs a deadline")
	}
	var reply Reply
	err = s.c.Asker.Ask(ctx, ferry.Question{
		Front: string(s.c.Front.ID), Exchange: ask.Terms.Exchange, Leg: ask.Terms.Leg, Deadline: deadline,
		HedgeEvery: hedging(ask.Source.Route),
		Seal: func(attempt int) ([]byte, map[string]string, error) {
			return s.seal(ask, envelope.Attributes{Attempt: attempt, Deadline: deadline, ReplyTo: s.c.Asker.ReplyTopic(),
				ReplyKey: once.Public(), Epoch: s.c.Asker.Epoch()}, body)
		},
		Accept: func(m ferry.Message) (bool, error) {
			r, err := s.open(ask, s.c.Sender, only(once), m)
			reply = r
			return err == nil || errors.Is(err, ErrMessage), err // what the front has signed ends the question, even if it is nonsense
		},
	})
	if err != nil {
		return exchange.Answer{}, s.failure(err)
	}
	return reply.answer()
}

// question is what an Ask says to a front.
func question(ask exchange.Ask) Question {
	return Question{Terms: ask.Terms, Source: ask.Source.ID, Caller: ask.Caller, Operator: ask.Operator,
		Person: ask.Subject, Salts: ask.Salts, Attestation: ask.Attestation, Order: ask.Order}
}

// Defer implements exchange.Deferrer: the same question, answered to a key of
// the fleet.
func (s *Source) Defer(ctx context.Context, ask exchange.Ask, deadline time.Time, reply *ecdsa.PublicKey) error {
	body, err := question(ask).encode()
	if err != nil {
		return err
	}
	defer clear(body)
	return s.c.Asker.Post(ctx, ferry.Question{
		Front: string(s.c.Front.ID), Exchange: ask.Terms.Exchange, Leg: ask.Terms.Leg, Deadline: deadline,
		Seal: func(attempt int) ([]byte, map[string]string, error) {
			return s.seal(ask, envelope.Attributes{Attempt: attempt, Deadline: deadline, ReplyTo: ferry.TopicDeferredReply, ReplyKey: reply}, body)
		},
	})
}

// Returned implements exchange.Deferrer.
func (s *Source) Returned(ask exchange.Ask, keys func(keyID string) *jose.Key, r exchange.Returned) (exchange.Answer, error) {
	reply, err := s.open(ask, Fleet, keys, ferry.Message{Headers: r.Headers, Body: r.Sealed})
	switch {
	case errors.Is(err, ErrMessage): // signed nonsense is an answer, if not a usable one
		return exchange.Answer{}, err
	case err != nil:
		return exchange.Answer{}, fmt.Errorf("%w: %w", exchange.ErrNotAnswer, err)
	}
	return reply.answer()
}

// hedging is how often to ask another replica. Behind a gap a lost file is sent
// again by the gap itself, and every attempt would have to cross it.
func hedging(r catalog.RouteClass) time.Duration {
	if r == catalog.RouteGap {
		return -1
	}
	return 0 // the asker's
}

// seal makes the envelope of one attempt; attempts differ in nothing but their number.
func (s *Source) seal(ask exchange.Ask, a envelope.Attributes, body []byte) ([]byte, map[string]string, error) {
	a.Kind, a.Exchange, a.Leg, a.LegDigest = envelope.Request, ask.Terms.Exchange, ask.Terms.Leg, ask.Digest
	a.Sender, a.Recipient = s.c.Sender, string(s.c.Front.ID)
	sealed, a, err := envelope.Seal(envelope.Sender{Key: s.c.Key}, envelope.Recipient{Key: s.pub}, a, body)
	if err != nil {
		return nil, nil, err
	}
	return sealed, a.Headers(), nil
}

// only is a key that exists for one question.
func only(once *jose.Key) func(string) *jose.Key {
	return func(id string) *jose.Key {
		if id == once.ID() {
			return once
		}
		return nil
	}
}

// open believes an answer only if the front signed it for this recipient, this
// question and one of these keys.
func (s *Source) open(ask exchange.Ask, recipient string, keys func(string) *jose.Key, m ferry.Message) (Reply, error) {
	reader := envelope.Reader{
		Name: recipient,
		Key:  keys,
		Sender: func(name, keyID string) *ecdsa.PublicKey {
			if name == string(s.c.Front.ID) && keyID == jose.KeyID(s.pub) {
				return s.pub
			}
			return nil
		},
	}
	a, body, err := reader.Open(m.Body)
	if err != nil {
		return Reply{}, err
	}
	defer clear(body)
	if m.Headers != nil { // an answer from the store has been compared before
		if err := a.EqualHeaders(m.Headers); err != nil {
			return Reply{}, err
		}
	}
	if a.Kind != envelope.Answer || a.Exchange != ask.Terms.Exchange || a.Leg != ask.Terms.Leg || a.LegDigest != ask.Digest {
		return Reply{}, errors.New("front: answer to another question")
	}
	return decodeReply(body)
}

// failure maps the ferry's errors to those a Source may return.
func (s *Source) failure(err error) error {
	var refused *ferry.RefusedError
	switch {
	case errors.Is(err, ferry.ErrFrontDown), errors.Is(err, ferry.ErrNotSent):
		return fmt.Errorf("%w: %w", exchange.ErrUnreachable, err)
	case errors.As(err, &refused):
		return fmt.Errorf("front %s: %w", s.c.Front.ID, err)
	}
	return err
}

// answer turns a reply into what the exchange knows.
func (r Reply) answer() (exchange.Answer, error) {
	switch r.Refusal {
	case "":
		return exchange.Answer{State: r.State, Records: r.Records, DataTime: r.DataTime, Authenticity: catalog.AuthSignature, Document: r.Document}, nil
	case Denied:
		return exchange.Answer{}, exchange.ErrDenied
	case Unreachable:
		return exchange.Answer{}, fmt.Errorf("%w: behind its front", exchange.ErrUnreachable)
	case TooLate:
		return exchange.Answer{}, fmt.Errorf("behind its front: %w", context.DeadlineExceeded)
	}
	return exchange.Answer{}, errors.New("the front's source failed")
}
