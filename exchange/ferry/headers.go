package ferry

import (
	"fmt"
	"strconv"
	"time"
)

// Headers that repeat signed attributes of the envelope. The opener of the
// envelope compares them; the transport routes by them.
const (
	HeaderExchange = "yz-exchange"
	HeaderLeg      = "yz-leg"
	HeaderAttempt  = "yz-attempt"
	HeaderDeadline = "yz-deadline" // Unix time in milliseconds
	HeaderReplyTo  = "yz-reply-to" // a topic; requests only
	HeaderEpoch    = "yz-epoch"    // of the asking gateway's slot; absent when zero
)

// Headers of the transport itself. They are not signed: changing one can only
// lose a message, which whoever can change it could do anyway.
const (
	HeaderRemaining = "fy-remaining" // milliseconds left when sent: clocks differ
	HeaderNonce     = "fy-nonce"     // random, known to the asked front only, echoed
	HeaderTrace     = "traceparent"  // W3C Trace Context
	HeaderRefused   = "fy-refused"   // on an answer without a body: a Reason
	HeaderWorking   = "fy-working"   // a sign of life without a body: milliseconds until the next
	HeaderReason    = "fy-reason"    // on xg.dlq: a Reason
	HeaderDigest    = "fy-digest"    // on xg.dlq: lower hex SM3 of the body
	HeaderSource    = "fy-source"    // on xg.dlq: the topic the request came from
	HeaderChunk     = "fy-chunk"     // "<message id> <index> <count> <total bytes>"
)

// deadLetterHeaders are all that may go to xg.dlq: an unknown header could hold anything.
var deadLetterHeaders = []string{"yz-kind", "yz-sender", "yz-recipient", "yz-recipient-key", "yz-leg-digest",
	HeaderExchange, HeaderLeg, HeaderAttempt, HeaderDeadline, HeaderReplyTo, HeaderEpoch, HeaderRemaining, HeaderTrace}

// Reason says why a front did not answer. Reasons are a closed list: they are
// shown and counted, and must not depend on what an envelope holds.
type Reason string

const (
	ReasonUndecodable Reason = "undecodable" // cannot be opened or is not for this front
	ReasonFailed      Reason = "failed"      // the handler failed three times
	ReasonTooLarge    Reason = "too-large"   // the answer exceeds MaxBody, or question or answer what a gap carries
	ReasonReplyTopic  Reason = "reply-topic" // may not be answered where it asks to be
	ReasonHeaders     Reason = "headers"     // a routing header is missing or malformed
	ReasonFull        Reason = "full"        // a front behind a gap has no room to keep another deferred request
)

func knownReason(s string) Reason {
	switch r := Reason(s); r {
	case ReasonUndecodable, ReasonFailed, ReasonTooLarge, ReasonReplyTopic, ReasonHeaders, ReasonFull:
		return r
	}
	return ReasonFailed
}

// leg is what answers are matched by.
type leg struct{ exchange, leg string }

func legOf(headers map[string]string) leg {
	return leg{headers[HeaderExchange], headers[HeaderLeg]}
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// deadlineOf returns when an answer is no longer wanted, in this machine's
// clock. Two statements are at hand: the absolute deadline, which is wrong by
// the difference of the clocks (up to skew is tolerated), and the time that was
// left when the request was sent, which is wrong by the time on the way. Both
// err to the late side, so the earlier one counts.
func deadlineOf(headers map[string]string, now time.Time, skew time.Duration) (time.Time, error) {
	at, err := strconv.ParseInt(headers[HeaderDeadline], 10, 64)
	if err != nil || at <= 0 {
		return time.Time{}, fmt.Errorf("header %s is not a time in milliseconds", HeaderDeadline)
	}
	deadline := time.UnixMilli(at).Add(skew)
	left := headers[HeaderRemaining]
	if left == "" {
		return deadline, nil
	}
	ms, err := strconv.ParseInt(left, 10, 64)
	if err != nil || ms < 0 || ms > int64(366*24*time.Hour/time.Millisecond) {
		return time.Time{}, fmt.Errorf("header %s is not a number of milliseconds", HeaderRemaining)
	}
	if byLeft := now.Add(time.Duration(ms) * time.Millisecond); byLeft.Before(deadline) {
		return byLeft, nil
	}
	return deadline, nil
}
