package life

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"yizheng/identity/jose"
	"yizheng/identity/staff"
	"yizheng/seal"
	"yizheng/seal/ses"
)

// TypeStep is the JWS typ of a step.
const TypeStep = "yz-seal-step+jws"

// Action is what a step does.
type Action string

// Actions. Those of the first line ask, and need an approval; rules.go says when.
const (
	Apply, Import, Renew, Replace Action = "apply", "import", "renew", "replace"
	Resume, Revoke, Destroy       Action = "resume", "revoke", "destroy"
	Suspend, Reject               Action = "suspend", "reject" // one person's
	Approve                       Action = "approve"
	Make, Issue                   Action = "make", "issue"
	Test                          Action = "test" // the seal seals a test document; nothing changes
)

// Reason is why a seal is suspended, revoked and so on: a code, never free text.
type Reason = seal.Reason

// Reasons.
const (
	Lost        Reason = "LOST"        // 丢失
	Compromised Reason = "COMPROMISED" // 密钥泄露或疑似泄露
	Reorganised Reason = "REORGANISED" // 机构变更
	Expired     Reason = "EXPIRED"     // 到期
	Found       Reason = "FOUND"       // 找回或核查无误
	Mistake     Reason = "MISTAKE"     // 办理有误
	Retired     Reason = "RETIRED"     // 不再使用
)

// Reasons lists all codes.
func Reasons() []Reason {
	return []Reason{Lost, Compromised, Reorganised, Expired, Found, Mistake, Retired}
}

// Order is what an application asks for: everything a maker must put into the
// seal, so that who approves sees what will be made.
type Order struct {
	ESID     string    `json:"esid"` // identifier inside the seal
	Name     string    `json:"name"` // 印章名称
	VendorID string    `json:"vendor"`
	Picture  []byte    `json:"picture"` // GIF
	WidthMM  int       `json:"width"`
	HeightMM int       `json:"height"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	Holder   []byte    `json:"holder"` // signing certificate, DER
	// Version of the seal's structure; 0 is V4 (GB/T 38540), 1 V1 (GM/T 0031-2014).
	Version ses.Version `json:"version,omitempty"`
}

// Step is one line's payload. Number counts from 1.
type Step struct {
	V      int       `json:"v"` // 1
	Number uint64    `json:"n"`
	Prev   string    `json:"prev"` // Digest of the line before, "" in the first
	At     time.Time `json:"at"`   // UTC, whole seconds
	Seal   string    `json:"seal"`
	Action Action    `json:"action"`
	Of     string    `json:"of,omitempty"` // approve, reject, make, issue: Digest of the line that asked
	Reason Reason    `json:"reason,omitempty"`
	Order  *Order    `json:"order,omitempty"`  // apply, renew, replace
	ESeal  []byte    `json:"eseal,omitempty"`  // make, import: SESeal, DER
	Holder []byte    `json:"holder,omitempty"` // import: signing certificate, DER
}

// Sign is the step as a person's statement.
func (s Step) Sign(k *jose.Key) (string, error) {
	s.V, s.At = 1, s.At.UTC().Truncate(time.Second)
	payload, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("seal register: %w", err)
	}
	return jose.Sign(k, TypeStep, payload)
}

// Digest names a line: base64url of SM3 over its bytes without the line end.
func Digest(line string) string {
	return jose.Digest(line)
}

// Read verifies a statement and returns the step and who signed it. Whether the
// step is allowed, Append says.
func Read(line string, persons *staff.Register) (Step, staff.Person, error) {
	var s Step
	_, p, err := persons.Verify(line, TypeStep, func(payload []byte) (time.Time, error) {
		err := strictStep(payload, &s)
		return s.At, err
	})
	return s, p, err
}

func strictStep(payload []byte, s *Step) error {
	if err := jose.Unmarshal(payload, s); err != nil {
		return fmt.Errorf("not a step: %w", err)
	}
	if s.V != 1 || s.Number == 0 || s.At.IsZero() || s.Seal == "" || s.Action == "" {
		return errors.New("not a step: version, number, time, seal and action expected")
	}
	return nil
}
