package exchange

import (
	"encoding/json"
	"fmt"

	"yizheng/catalog"
)

// Principal is who asks, as the door (HTTPS, later the ferry) has established it.
type Principal struct {
	Caller       catalog.CallerID
	Operator     catalog.OperatorID
	Workstations []catalog.WorkstationID // paired with the session
	Certificate  string                  // hex SM3 of the client certificate's public key
	Session      string
	Address      string
	Trace        string
}

// Request is one exchange asked for. It names nobody: whom it is about is
// inside the subject tokens, which only a card read can mint.
type Request struct {
	Item      catalog.ItemCode               `json:"item"`
	Situation catalog.SituationCode          `json:"situation"`
	Case      string                         `json:"case"`
	Purpose   string                         `json:"purpose"`
	Subjects  []SubjectToken                 `json:"subjects"`
	Proofs    []catalog.ProofCode            `json:"proofs,omitempty"` // default: all of the situation
	Fields    map[catalog.ProofCode][]string `json:"fields,omitempty"` // default: all that the grant gives
	ReplyKey  json.RawMessage                `json:"reply_key"`        // JWK, SM2 or P-256
	Pickup    string                         `json:"pickup,omitempty"` // 受理号 of an earlier exchange, to ask for its proof again
	Notice    string                         `json:"notice,omitempty"` // catalog.Notice the residents were shown; default: the item's
}

// SubjectToken is one person's token with the role they have in this case.
type SubjectToken struct {
	Role  catalog.Role `json:"role"`
	Token string       `json:"token"`
}

// Reason is why a request was refused as a whole.
type Reason string

const (
	ReasonInvalid        Reason = "INVALID_REQUEST"
	ReasonUnknownItem    Reason = "UNKNOWN_ITEM"
	ReasonPurpose        Reason = "PURPOSE_NOT_ALLOWED"
	ReasonOutsideItem    Reason = "PROOF_OUTSIDE_ITEM"
	ReasonOutsideGrant   Reason = "FIELD_OUTSIDE_GRANT"
	ReasonNoGrant        Reason = "NO_GRANT"
	ReasonToken          Reason = "SUBJECT_TOKEN_INVALID"
	ReasonTokenElsewhere Reason = "SUBJECT_TOKEN_ELSEWHERE"
	ReasonTokenSpent     Reason = "SUBJECT_TOKEN_SPENT"
	ReasonRole           Reason = "SUBJECT_ROLE_MISSING"
	ReasonReplyKey       Reason = "REPLY_KEY_INVALID"
	ReasonKeyReuse       Reason = "IDEMPOTENCY_KEY_REUSED"
	ReasonQuota          Reason = "QUOTA_EXCEEDED"
	ReasonGone           Reason = "REPEAT_REQUEST"
	ReasonNotFound       Reason = "NO_SUCH_EXCHANGE"
	ReasonNotRetryable   Reason = "NOT_RETRYABLE"
	ReasonStatement      Reason = "STATEMENT_INVALID"
	ReasonNoDocument     Reason = "NO_SUCH_DOCUMENT"
	ReasonWithdrawal     Reason = "WITHDRAWAL_REFUSED"
	ReasonPickup         Reason = "PICKUP_REFUSED"
	ReasonNotice         Reason = "NOTICE_OUTDATED"
	ReasonReprint        Reason = "REPRINT_REASON"
	ReasonForeign        Reason = "NOT_OF_EXCHANGE"
	ReasonUnsealed       Reason = "SEAL_NOT_VERIFIED"
	ReasonWithdrawn      Reason = "DOCUMENT_WITHDRAWN"
	ReasonUnavailable    Reason = "UNAVAILABLE"
)

// Refusal is an error that its receiver can act on: what, where, what to do.
// It never holds a resident's data.
type Refusal struct {
	Reason  Reason
	Where   string // field of the request
	Chinese string
	English string
	Err     error // for the log, never for the caller
}

func (r *Refusal) Error() string {
	if r.Err != nil {
		return fmt.Sprintf("%s at %q: %v", r.Reason, r.Where, r.Err)
	}
	return fmt.Sprintf("%s at %q", r.Reason, r.Where) // the sentences may echo what the caller sent
}

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(reason Reason, where, chinese, english string) *Refusal {
	return &Refusal{Reason: reason, Where: where, Chinese: chinese, English: english}
}
