package main

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"yizheng/identity"
	"yizheng/identity/jose"
)

const (
	maxSkew   = 30 * time.Second // by which this clock and the gateway's may differ
	postSpare = 2 * time.Second  // kept of a challenge's time for sending the answer
)

// Codes of a failed read that the gateway is told.
const (
	codeExpired    = "CARD_EXPIRED"
	codeNoCard     = "NO_CARD"
	codeReader     = "READER_ERROR"
	codeUnreadable = "CARD_UNREADABLE"
)

// failure is why no card could be attested: a code for the gateway and the reason.
type failure struct {
	code string
	err  error
}

// work is the answering of challenges on one connection, one at a time: a new
// challenge ends the wait for the one before.
type work struct {
	agent  *agent
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func newWork(a *agent) *work { return &work{agent: a, cancel: func() {}} }

// begin starts answering the challenge in an event's data.
func (w *work) begin(ctx context.Context, data string) error {
	var m struct {
		ReadSession string `json:"read_session"`
		Challenge   string `json:"challenge"`
	}
	if err := json.Unmarshal([]byte(data), &m); err != nil {
		return errors.New("gateway sent a malformed challenge event")
	}
	w.stop()
	ctx, w.cancel = context.WithCancel(ctx)
	w.done.Go(func() { w.agent.answer(ctx, m.ReadSession, m.Challenge) })
	return nil
}

// stop ends the present answer and waits for it.
func (w *work) stop() {
	w.cancel()
	w.done.Wait()
}

// answer verifies a challenge, reads a card and sends the attestation, or the
// reason why there is none. A challenge that is not the gateway's, or not for
// this workstation, gets no answer.
func (a *agent) answer(ctx context.Context, session, token string) {
	c, err := a.verify(session, token)
	if err != nil {
		a.log.Warn("challenge refused / 拒绝网关质询", "err", err)
		a.tell(event{Event: "error", ReadSession: session, Message: err.Error()})
		return
	}
	a.tell(event{Event: "waiting", ReadSession: session})
	wait, cancel := context.WithDeadline(ctx, time.UnixMilli(c.Expires).Add(-postSpare))
	body, failed := a.attest(wait, token)
	cancel()
	if ctx.Err() != nil {
		return // another challenge came, or the connection ended
	}
	path := "/v1/read-sessions/" + url.PathEscape(session)
	if failed == nil {
		if err := a.send(ctx, path+"/attestation", body); err != nil {
			a.log.Warn("attestation not accepted / 网关未接受读卡", "err", err)
			a.tell(event{Event: "failed", ReadSession: session, Message: err.Error()})
			return
		}
		a.tell(event{Event: "read", ReadSession: session})
		return
	}
	a.log.Warn("no card read / 读卡未成功", "code", failed.code, "err", failed.err)
	a.tell(event{Event: "failed", ReadSession: session, Code: failed.code, Message: failed.err.Error()})
	if err := a.send(ctx, path+"/failure", map[string]string{"code": failed.code}); err != nil {
		a.log.Warn("failure not delivered", "err", err)
	}
}

// verify checks a challenge against the pinned key, this workstation and the clock.
func (a *agent) verify(session, token string) (identity.Challenge, error) {
	c, err := identity.VerifyChallenge(token, func(kid string) *ecdsa.PublicKey {
		if kid != jose.KeyID(a.gatewayKey) {
			return nil
		}
		return a.gatewayKey
	})
	if err != nil {
		return identity.Challenge{}, err
	}
	if c.Workstation != a.config.Workstation || c.ReadSession != session {
		return identity.Challenge{}, errors.New("challenge is for another workstation or read session / 质询不属于本工位")
	}
	if err := c.Fresh(time.Now(), maxSkew); err != nil {
		return identity.Challenge{}, fmt.Errorf("%w: compare this computer's clock with the gateway's / 请核对本机时钟", err)
	}
	return c, nil
}

// attestation is the body of a successful answer.
type attestation struct {
	Attestation string `json:"attestation"`
	Card        string `json:"card"`
}

// attest waits for a card, checks it and signs the read.
func (a *agent) attest(ctx context.Context, challenge string) (attestation, *failure) {
	read, err := a.reader.read(ctx)
	if err != nil {
		return attestation{}, &failure{codeNoCard, errors.New("no card was laid on the reader in time / 未在时限内放置证件")}
	}
	card, err := identity.ParseCard(read.text[:])
	if err != nil {
		return attestation{}, &failure{codeUnreadable, err}
	}
	now := time.Now()
	if err := card.CheckValidity(now); errors.Is(err, identity.ErrExpired) {
		return attestation{}, &failure{codeExpired, err}
	} else if err != nil {
		return attestation{}, &failure{codeUnreadable, err}
	}
	seq, err := a.sequence.next()
	if err != nil {
		return attestation{}, &failure{codeReader, err}
	}
	signed, salts, err := identity.AttestRead(a.key, challenge, card, identity.Reading{
		SAM: a.config.SAM, Seq: seq, At: now, UID: read.uid,
		OperatorChecked: a.config.OperatorCheck == checkAlways, Simulated: true,
	})
	if err != nil {
		return attestation{}, &failure{codeReader, err}
	}
	sealed, err := identity.SealCard(a.gatewayKey, identity.CardRead{Card: card, Salts: salts, UID: read.uid})
	if err != nil {
		return attestation{}, &failure{codeReader, err}
	}
	return attestation{Attestation: signed, Card: sealed}, nil
}

// send posts v and expects a 2xx answer.
func (a *agent) send(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := a.post(ctx, path, v)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		return nil
	}
	var problem struct {
		Code string `json:"code"`
	}
	// A body that is no problem document leaves the code empty; the status says enough.
	_ = json.NewDecoder(io.LimitReader(resp.Body, maxLine)).Decode(&problem)
	return fmt.Errorf("gateway answered %d %s", resp.StatusCode, problem.Code)
}
