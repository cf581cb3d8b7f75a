package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"yizheng/catalog/beijing"
	"yizheng/seal"
	"yizheng/seal/reach"
)

// online is what the issuing gateway says of a document; docs/protocol/seal.md has the members.
type online struct {
	Gateway   string    `json:"gateway"`
	State     string    `json:"state"` // valid, expired, withdrawn, unknown; unreachable, none
	Withdrawn time.Time `json:"withdrawn,omitzero"`
	Matches   *bool     `json:"matches,omitempty"`
	Log       *logProof `json:"log,omitempty"` // with -log-key only
	recorded  time.Time // when its log took the record of the issue; zero if it does not match
	failure   error     // unreachable: why
}

// issuer is the gateway to ask, and what is known of its log.
type issuer struct {
	*remote
	log logKeys
}

func newIssuer(address, ca, logKey, receipt string) (*issuer, error) {
	r, err := newRemote(address, ca, "", "")
	if err != nil {
		return nil, err
	}
	log, err := readLogKeys(logKey, receipt)
	return &issuer{r, log}, err
}

// States that are not the gateway's: nothing was found out.
const (
	stateUnreachable = "unreachable"
	stateNone        = "none" // the document has no number to ask for
)

// look asks about a document by its number and salted digest. It sends nothing else.
// With keys of the log, what can be proved of the answer must be: Log is then never nil.
func (r *issuer) look(ctx context.Context, number string, digest []byte) *online {
	o := &online{Gateway: r.url, State: stateNone}
	var shown issueLeaf
	if number != "" {
		shown = r.ask(ctx, o, number, digest)
	}
	switch {
	case len(r.log.keys) == 0:
	case o.issued():
		o.Log = r.log.prove(number, digest, shown)
		o.recorded = o.Log.Recorded // zero if it is not proved
	default:
		o.Log = o.unproved()
	}
	return o
}

// ask fills o with what the gateway says, and returns what it shows of its log.
func (r *issuer) ask(ctx context.Context, o *online, number string, digest []byte) issueLeaf {
	ask := struct {
		Number string `json:"number"`
		Digest []byte `json:"digest"`
	}{number, digest}
	var answer struct {
		Record struct {
			Number    string    `json:"number"`
			State     string    `json:"state"`
			Withdrawn time.Time `json:"withdrawn"`
			Matches   *bool     `json:"matches"`
			Recorded  time.Time `json:"recorded"`
			issueLeaf
		} `json:"record"`
	}
	err := r.call(ctx, http.MethodPost, "/v1/verify", ask, &answer)
	record := answer.Record
	if err == nil && (record.Number != number || !known(record.State, record.Matches != nil)) {
		err = fmt.Errorf("网关的回答读不懂，地址对吗 / the answer is not a gateway's, is the address right?")
	}
	if err != nil {
		o.State, o.failure = stateUnreachable, err
		return issueLeaf{}
	}
	o.State, o.Withdrawn, o.Matches = record.State, record.Withdrawn, record.Matches
	if o.issued() {
		o.recorded = record.Recorded
	}
	return record.issueLeaf
}

// known: a gateway that has issued a number says whether this is its document.
func known(state string, compared bool) bool {
	switch state {
	case "valid", "expired", "withdrawn":
		return compared
	}
	return state == "unknown"
}

// issued: the gateway says that it issued this very document.
func (o *online) issued() bool { return o.Matches != nil && *o.Matches }

// bad reports whether the answer does not carry the document: it speaks against it, is
// not proved, or is none at all. Who asks wants to know, as with -ocsp.
func (o *online) bad() bool {
	stands := o.issued() && (o.State == "valid" || o.State == "expired")
	return !stands || o.Log != nil && o.Log.Result != seal.OK
}

// unproved is the proof of an answer that leaves nothing to prove.
func (o *online) unproved() *logProof {
	why, told := seal.Text{ZH: "网关没有说这一份文件是它签发的", EN: "the gateway does not say that it issued this very document"}, []string{"state", "matches"}
	switch o.State {
	case stateUnreachable:
		why, told = seal.Text{ZH: "未能问到网关", EN: "the gateway could not be asked"}, nil
	case stateNone:
		why, told = seal.Text{ZH: "文件没有证明编号", EN: "the document has no certificate number"}, nil
	case "unknown":
		told = []string{"state"}
	}
	return &logProof{Result: seal.Fail, Told: told, Reason: seal.Text{
		ZH: "日志：要求了证明（-log-key）而没有证明，不算通过：" + why.ZH,
		EN: "log: a proof was demanded (-log-key) and there is none, so this does not pass: " + why.EN,
	}}
}

// text says it in a sentence.
func (o *online) text() seal.Text {
	switch {
	case o.State == stateUnreachable:
		zh, en := o.failure.Error(), o.failure.Error()
		if call := (*reach.Fault)(nil); errors.As(o.failure, &call) {
			zh, en = call.Text()
		}
		return seal.Text{ZH: "在线：未能查询，是否已撤回未知，不算通过；请稍后再问，或不带 -online 只作离线核验（" + zh + "）",
			EN: "online: could not ask, whether it was withdrawn is unknown, so this does not pass; ask again later, or verify offline without -online (" + en + ")"}
	case o.State == stateNone:
		return seal.Text{ZH: "在线：文件没有证明编号，无从查询，是否已撤回未知，不算通过；不带 -online 可只作离线核验",
			EN: "online: no certificate number to ask for, whether it was withdrawn is unknown, so this does not pass; without -online it is verified offline"}
	case o.State == "unknown":
		return seal.Text{ZH: "在线：该网关没有签发过这个编号，请勿采信；或请问编号所示的网关", EN: "online: that gateway has issued no such number, do not rely on it; or ask the gateway that the number names"}
	case !*o.Matches:
		return seal.Text{ZH: "在线：该编号签发的不是这一份文件，请勿采信", EN: "online: what was issued under this number is another document, do not rely on this one"}
	case o.State == "withdrawn":
		since := o.Withdrawn.In(beijing.Zone()).Format(time.DateTime)
		return seal.Text{ZH: "在线：已由签发机关撤回，自 " + since + "，请勿采信", EN: "online: withdrawn by its issuer since " + since + ", do not rely on it"}
	case o.State == "expired":
		return seal.Text{ZH: "在线：确由该网关签发，未撤回，已过有效期", EN: "online: issued by that gateway, not withdrawn, no longer valid by its own terms"}
	}
	return seal.Text{ZH: "在线：确由该网关签发，未撤回", EN: "online: issued by that gateway, not withdrawn"}
}
