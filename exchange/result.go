package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange/store"
	"yizheng/identity/jose"
)

// TypeResult is the JWE typ of a result, TypeData the JWS typ of the data in it.
const (
	TypeResult = "yz-result+jwe"
	TypeData   = "yz-data+jws"
)

// Result is what a caller decrypts: one proof about one person, as far as the
// grant lets it. Format and vectors: docs/protocol/result.md.
type Result struct {
	V            int                  `json:"v"` // 1
	Exchange     string               `json:"exchange"`
	Part         string               `json:"part"`
	Proof        catalog.ProofCode    `json:"proof"`
	Role         catalog.Role         `json:"role"`
	Code         Code                 `json:"code"`
	Sentence     string               `json:"sentence"`
	DataTime     string               `json:"data_time,omitempty"` // RFC 3339
	Stale        bool                 `json:"stale,omitempty"`     // older than the source's update cycle
	Authenticity catalog.Authenticity `json:"authenticity,omitempty"`
	Missing      []string             `json:"missing,omitempty"`  // departments that did not answer
	Data         string               `json:"data,omitempty"`     // JWS over Data, signed by the gateway
	Document     []byte               `json:"document,omitempty"` // the sealed PDF, standard base64
	Number       string               `json:"number,omitempty"`   // certificate number
	Seed         []byte               `json:"seed,omitempty"`     // opens the commitments in the log
	Receipt      string               `json:"receipt"`            // of the release record, shape of c2sp.org/tlog-proof
	IssueReceipt string               `json:"issue_receipt,omitempty"`
	ManualNumber string               `json:"manual_number,omitempty"` // 受理号
	Pad          string               `json:"pad,omitempty"`           // of sensitive proofs, see padded; readers ignore it
}

// Data is the payload of Result.Data.
type Data struct {
	V        int               `json:"v"` // 1
	Exchange string            `json:"exchange"`
	Proof    catalog.ProofCode `json:"proof"`
	Issuer   string            `json:"issuer"`
	DataTime string            `json:"data_time"`
	Records  []map[string]any  `json:"records"`
}

// result is the open part of a released result: what progress may show.
type result struct {
	code     Code
	sentence string
	number   string
	millis   int64
	manual   string // 受理号
	withheld bool
	printed  bool // a print is recorded here
}

// hand encrypts the result to the caller's key, stores the ciphertext and wipes
// the rest. The record of the release is durable by now.
func (s *Service) hand(ctx context.Context, x *Exchange, pt *part, v verdict, is *issued, receipts []audit.Receipt, took time.Duration) error {
	r := Result{
		V: 1, Exchange: x.Number, Part: pt.id, Proof: pt.proof.Code, Role: pt.subject.role, Code: v.code.Shown(),
		Sentence: sentence(pt, v), Stale: v.stale, Authenticity: v.auth, Missing: v.missing, ManualNumber: v.wording.Receipt,
	}
	if !v.dataTime.IsZero() {
		r.DataTime = v.dataTime.Format(time.RFC3339)
	}
	if err := s.fillIn(&r, x, pt, v, is); err != nil {
		return err
	}
	texts := make([]string, len(receipts))
	for i, receipt := range receipts {
		t, err := receipt.MarshalText()
		if err != nil {
			return fmt.Errorf("hand over: receipt: %w", err)
		}
		texts[i] = string(t)
	}
	r.Receipt = texts[0]
	if r.Number != "" {
		r.IssueReceipt = texts[1]
	}
	plain, err := json.Marshal(r)
	if err != nil {
		return errors.New("hand over: result has no JSON form")
	}
	if pt.proof.Sensitive {
		bare := plain
		plain = Padded(bare, padStep(pt))
		clear(bare)
	}
	sealed, err := x.plan.reply.Encrypt(TypeResult, plain)
	clear(plain)
	if err != nil {
		return fmt.Errorf("hand over: encrypt to reply key: %w", err)
	}
	open := &result{code: v.code.Shown(), sentence: r.Sentence, number: r.Number, manual: r.ManualNumber, millis: took.Milliseconds()}
	if err := s.keep(context.WithoutCancel(ctx), x, pt, open, []byte(sealed)); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	if x.isForgotten() { // meanwhile; whichever of the two comes last, nothing stays
		return errors.Join(errForgotten, s.store.DeleteExchange(context.WithoutCancel(ctx), x.Number))
	}
	x.released(pt, open)
	return nil
}

// keep puts a result where any gateway finds it. That is the moment of its
// release: the store lets nobody do it twice.
func (s *Service) keep(ctx context.Context, x *Exchange, pt *part, open *result, sealed []byte) (err error) {
	r := store.Result{ExchangeNo: x.Number, Part: pt.id, Sealed: sealed, Expires: x.expires()}
	if r.View, err = s.sealView(pt, open); err != nil {
		return err
	}
	if r.Manual, err = s.manual(x, pt, open.manual); err != nil {
		return err
	}
	if x.holder != "" {
		x.left, err = s.store.PutDeferred(ctx, r, x.holder)
		return err
	}
	return s.store.PutResult(ctx, r, s.runner)
}

// Sensitive results come in steps of this many bytes, so that their size does
// not tell whether something was found. A document of a page or two is some
// 200 KiB, in base64 a third more.
const (
	PadDocument = 512 << 10
	PadData     = 16 << 10
)

func padStep(pt *part) int {
	if pt.mayIssue() {
		return PadDocument
	}
	return PadData
}

// Padded adds the member pad to a JSON object that has none and is not empty, up
// to the next whole number of steps. What it is made of does not matter under
// the encryption.
func Padded(object []byte, step int) []byte {
	const head, tail = `,"pad":"`, `"}`
	n := len(object) - 1 + len(head) + len(tail)
	p := make([]byte, 0, (n+step-1)/step*step)
	p = append(append(p, object[:len(object)-1]...), head...)
	p = append(p, bytes.Repeat([]byte("0"), cap(p)-n)...)
	return append(p, tail...)
}

// fillIn adds what the grant lets out of a found proof, and the seed of every commitment.
func (s *Service) fillIn(r *Result, x *Exchange, pt *part, v verdict, is *issued) error {
	if is == nil {
		return nil
	}
	r.Seed = is.secret.Seed()
	if is.file != nil {
		r.Document, r.Number = is.file, is.number
	}
	if is.blank || pt.grant.Output == catalog.OutputDocument {
		return nil
	}
	payload, err := compactJSON(Data{V: 1, Exchange: x.Number, Proof: pt.proof.Code, Issuer: is.issuer,
		DataTime: r.DataTime, Records: v.records})
	if err != nil {
		return errors.New("hand over: data has no JSON form")
	}
	defer clear(payload)
	if r.Data, err = jose.Sign(s.key, TypeData, payload); err != nil {
		return fmt.Errorf("hand over: sign data: %w", err)
	}
	return nil
}

func sentence(pt *part, v verdict) string {
	v.wording.Untold = pt.proof.Sensitive
	text := v.code.Sentence(v.wording)
	if v.code == Found && pt.grant.Output == catalog.OutputData {
		text = FoundDataOnly(v.wording)
	}
	if v.code == GlyphMissing && pt.grant.Output == catalog.OutputDocument {
		text = "姓名含缺字 " + v.wording.Glyphs + "，未盖章，已转字库管理员。"
		if v.wording.Untold {
			text = "姓名含缺字 " + v.wording.Glyphs + "，未盖章，请告知字库管理员补字。"
		}
	}
	if v.stale {
		text += "数据可能过期。"
	}
	return text
}
