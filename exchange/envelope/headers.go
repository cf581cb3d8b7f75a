package envelope

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// ErrHeaders is wrapped by EqualHeaders; the message names the header and no value.
var ErrHeaders = errors.New("envelope: headers differ from the signed attributes")

// The headers of a message, in this order in the specification. A transport may
// add others (time left, trace); those are not signed and prove nothing.
const (
	HeaderKind         = "yz-kind"
	HeaderExchange     = "yz-exchange"
	HeaderLeg          = "yz-leg"
	HeaderAttempt      = "yz-attempt"       // decimal
	HeaderSender       = "yz-sender"        //
	HeaderRecipient    = "yz-recipient"     //
	HeaderRecipientKey = "yz-recipient-key" // key id
	HeaderDeadline     = "yz-deadline"      // decimal, milliseconds since 1970-01-01 UTC
	HeaderLegDigest    = "yz-leg-digest"    // lower hex
	HeaderReplyTo      = "yz-reply-to"      // requests only
	HeaderReplyKey     = "yz-reply-key"     // requests only; key id
	HeaderEpoch        = "yz-epoch"         // decimal; absent when zero
)

func headerNames() [12]string {
	return [...]string{
		HeaderKind, HeaderExchange, HeaderLeg, HeaderAttempt, HeaderSender, HeaderRecipient,
		HeaderRecipientKey, HeaderDeadline, HeaderLegDigest, HeaderReplyTo, HeaderReplyKey, HeaderEpoch,
	}
}

// Headers are the attributes repeated for routing: of what Seal or Open
// returned. The signing time is not among them.
func (a Attributes) Headers() map[string]string {
	h := map[string]string{
		HeaderKind:         string(a.Kind),
		HeaderExchange:     a.Exchange,
		HeaderLeg:          a.Leg,
		HeaderAttempt:      strconv.Itoa(a.Attempt),
		HeaderSender:       a.Sender,
		HeaderRecipient:    a.Recipient,
		HeaderRecipientKey: a.RecipientKey,
		HeaderDeadline:     strconv.FormatInt(a.Deadline.UnixMilli(), 10),
		HeaderLegDigest:    hex.EncodeToString(a.LegDigest[:]),
	}
	if a.ReplyTo != "" {
		h[HeaderReplyTo] = a.ReplyTo
		h[HeaderReplyKey] = a.ReplyKeyID()
	}
	if a.Epoch != 0 {
		h[HeaderEpoch] = strconv.FormatUint(a.Epoch, 10)
	}
	return h
}

// EqualHeaders checks that h repeats the attributes exactly: every header of
// this package is there with the same value, and none that a lacks. Headers of
// other names are not looked at. The error wraps ErrHeaders.
func (a Attributes) EqualHeaders(h map[string]string) error {
	want := a.Headers()
	for _, name := range headerNames() {
		wanted, signed := want[name]
		got, there := h[name]
		if signed != there || got != wanted {
			return fmt.Errorf("%w: %s", ErrHeaders, name)
		}
	}
	return nil
}
