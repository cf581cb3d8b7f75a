package front

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"

	"yizheng/exchange/envelope"
	"yizheng/exchange/ferry"
	"yizheng/identity/jose"
)

// Door opens questions that arrive by ferry, has the agent answer them and
// seals the answers. The signed plaintext stays in memory, with the ferry's
// server, until the deadline; every attempt gets an envelope of its own.
type Door struct {
	Agent    *Agent
	Key      *jose.Key                                 // opens questions, signs answers
	Gateways func(name, keyID string) *ecdsa.PublicKey // who may ask
}

// Handle is a ferry.ServerConfig's Handle.
func (d Door) Handle(ctx context.Context, m ferry.Message) (ferry.Answer, error) {
	attrs, body, err := d.open(m)
	if err != nil {
		return ferry.Answer{}, err
	}
	defer clear(body)
	reply, err := d.Agent.Handle(ctx, attrs, body)
	if err != nil {
		return ferry.Answer{}, err
	}
	return ferry.Answer{Size: len(reply), Seal: func(attempt ferry.Message) ([]byte, map[string]string, error) {
		a, again, err := d.open(attempt)
		if err != nil {
			return nil, nil, err
		}
		clear(again)
		if a.LegDigest != attrs.LegDigest {
			return nil, nil, fmt.Errorf("%w: attempt asks another question", ferry.ErrUndecodable)
		}
		return d.seal(a, reply)
	}}, nil
}

func (d Door) open(m ferry.Message) (envelope.Attributes, []byte, error) {
	reader := envelope.Reader{Name: string(d.Agent.Front), Sender: d.Gateways, Key: func(id string) *jose.Key {
		if id == d.Key.ID() {
			return d.Key
		}
		return nil
	}}
	a, body, err := reader.Open(m.Body)
	if err != nil {
		var o *envelope.OpenError
		if errors.As(err, &o) {
			d.Agent.Logger.Warn("envelope refused", "cause", o.Cause())
		}
		return a, nil, fmt.Errorf("%w: %w", ferry.ErrUndecodable, err)
	}
	if err := a.EqualHeaders(m.Headers); err != nil {
		return a, nil, fmt.Errorf("%w: %w", ferry.ErrUndecodable, err)
	}
	if a.Kind != envelope.Request {
		return a, nil, fmt.Errorf("%w: not a question", ferry.ErrUndecodable)
	}
	return a, body, nil
}

// Fleet is whom an answer to a deferred question is for: any gateway may open it.
const Fleet = "gateways"

// seal answers the attempt a, to the key it names.
func (d Door) seal(a envelope.Attributes, reply []byte) ([]byte, map[string]string, error) {
	to := a.Sender
	if isDeferred(a) {
		to = Fleet
	}
	sealed, out, err := envelope.Seal(envelope.Sender{Key: d.Key}, envelope.Recipient{Key: a.ReplyKey}, envelope.Attributes{
		Kind: envelope.Answer, Exchange: a.Exchange, Leg: a.Leg, Attempt: a.Attempt, Sender: a.Recipient, Recipient: to,
		Deadline: a.Deadline, LegDigest: a.LegDigest, Epoch: a.Epoch,
	}, reply)
	if err != nil {
		return nil, nil, err
	}
	return sealed, out.Headers(), nil
}
