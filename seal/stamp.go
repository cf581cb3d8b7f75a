package seal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"yizheng/seal/cms"
	"yizheng/seal/revocation"
	"yizheng/seal/ses"
	"yizheng/seal/tsp"
)

// TimeStamps says where the time stamps of signatures come from.
type TimeStamps struct {
	Client *tsp.Client
	// Required refuses a document that gets no time stamp; otherwise it goes without,
	// and Use says so.
	Required bool
}

// ErrNoStamp is wrapped by Sign when a time stamp is required and none is to be had.
var ErrNoStamp = errors.New("seal: no time stamp, so no document (没有时间戳，未签章；请联系时间戳服务方，或稍后重试)")

// errOldSeal is why signatures of GM/T 0031-2014 have none.
var errOldSeal = errors.New("a signature of GM/T 0031-2014 has no place for a time stamp")

// stamp returns a token for a signature value made at a time, verified as any reader
// will, and notes in use how it went. Without TimeStamps it returns nil.
func (r *Registry) stamp(ctx context.Context, h *held, use *Use, signature []byte) ([]byte, error) {
	o := r.options.TimeStamps
	if o == nil {
		return nil, nil
	}
	raw, when, err := []byte(nil), time.Time{}, errOldSeal
	if h.seal.Version != ses.V1 || r.mode(h.id) == ModeCMS {
		raw, when, err = r.token(ctx, signature, use.At)
	}
	switch {
	case err == nil:
		use.StampedAt = when
		return raw, nil
	case o.Required:
		return nil, fmt.Errorf("%w: %w", ErrNoStamp, err)
	}
	use.StampFault = err
	return nil, nil
}

func (r *Registry) token(ctx context.Context, signature []byte, at time.Time) ([]byte, time.Time, error) {
	raw, token, err := r.options.TimeStamps.Client.Stamp(ctx, signature)
	if err != nil {
		return nil, time.Time{}, err
	}
	if result, reason, _ := r.options.Trust.checkToken(ctx, token, signature, at, at); result != OK {
		return nil, time.Time{}, fmt.Errorf("%w: %s", tsp.ErrUnavailable, reason.EN)
	}
	return raw, token.GenTime, nil
}

// CheckStamp is check 8: whether token is a time stamp of a signature value made at a
// time, by an authority under the directory's roots or its tsa. It is Absent for no
// token. The time is the authority's, zero unless the result is OK.
func (t *Trust) CheckStamp(ctx context.Context, token, signature []byte, at, now time.Time) (Result, Text, time.Time) {
	result, reason, when, _ := t.judgeStamp(ctx, token, signature, at, now)
	return result, reason, when
}

// judgeStamp is CheckStamp; it returns besides what is known of the revocation of the
// authority's certificate, if that was asked.
func (t *Trust) judgeStamp(ctx context.Context, token, signature []byte, at, now time.Time) (result Result, reason Text, when time.Time, rev revocation.Status) {
	if token == nil {
		return Absent, say("签章没有时间戳", "the signature has no time stamp"), when, rev
	}
	parsed, err := tsp.Parse(token)
	if err != nil {
		return Fail, Unreadable(err), when, rev
	}
	if result, reason, rev = t.checkToken(ctx, parsed, signature, at, now); result == OK {
		when = parsed.GenTime
	}
	return result, reason, when, rev
}

func (t *Trust) checkToken(ctx context.Context, token *tsp.Token, signature []byte, at, now time.Time) (Result, Text, revocation.Status) {
	if t == nil || t.stampRoots == nil {
		return Fail, say("没有受信任的时间戳机构", "no time stamp authority is trusted"), revocation.Status{}
	}
	issuer, err := token.Verify(signature, t.stampRoots, t.intermediates)
	if err != nil {
		return Fail, stampFault(err), revocation.Status{}
	}
	rev := t.Revocation(ctx, token.Cert, issuer, token.GenTime, now)
	result, reason := judgeToken(token, rev, at, now)
	return result, reason, rev
}

// judgeToken is what a token with a right signature is worth.
func judgeToken(token *tsp.Token, rev revocation.Status, at, now time.Time) (Result, Text) {
	when := token.GenTime
	zh, en := rev.Text()
	switch {
	case rev.State == revocation.Revoked:
		return Fail, Text{"时间戳机构：" + zh, "the time stamp authority: " + en}
	case rev.State == revocation.Unknown && !rev.Tolerated:
		return Unknown, Text{"时间戳机构：" + zh, "the time stamp authority: " + en}
	case at.IsZero():
		return Unknown, say("签章时间未知，无法与时间戳 %s 比较", "the signing time is unknown, the time stamp says %s", moment(when))
	case when.After(now.Add(clockSkew)):
		return Fail, say("时间戳的时间（%s）晚于现在", "the time stamp's time (%s) is in the future", moment(when))
	case when.Sub(at).Abs() > clockSkew+token.Accuracy:
		return Fail, say("时间戳的时间（%s）与签章时间相差过大", "the time stamp's time (%s) is too far from the signing time", moment(when))
	}
	return OK, say("时间戳 %s，由 %s 签发", "stamped at %s by %s", moment(when), token.Cert.Subject.CommonName)
}

// stampFault puts an error of tsp.Token.Verify into words.
func stampFault(err error) Text {
	for _, class := range []error{tsp.ErrImprint, tsp.ErrUsage, tsp.ErrFormat} {
		if errors.Is(err, class) {
			return Unreadable(err)
		}
	}
	for _, class := range []error{cms.ErrDigest, cms.ErrSignature, cms.ErrCertificate, cms.ErrFormat} {
		if errors.Is(err, class) {
			return say("时间戳的签名不正确：", "the time stamp's signature is wrong: ").and(Unreadable(err))
		}
	}
	zh, en := chainFault(err)
	return Text{"时间戳机构的证书：" + zh, "the time stamp authority's certificate: " + en}
}
