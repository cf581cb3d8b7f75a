package seal

import (
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/revocation"
)

// Whose certificate a Standing is of.
const (
	OfSigner    = "signer"
	OfMaker     = "maker"
	OfStamp     = "tsa"      // of the time stamp authority of the signature
	OfSealStamp = "seal-tsa" // of that of the seal itself
)

var standingNames = map[string]Text{
	OfSigner: {"签章者证书", "signer's certificate"}, OfMaker: {"制章者证书", "maker's certificate"},
	OfStamp: {"时间戳机构证书", "time stamp authority's certificate"}, OfSealStamp: {"印章时间戳机构证书", "certificate of the authority of the seal's time stamp"},
}

// Standing is what was found out about the revocation of one certificate, and how
// fresh that is. Without a Source nobody gave an answer; From is then who was asked.
type Standing struct {
	Of         string           `json:"of"` // signer, maker, tsa, seal-tsa
	State      revocation.State `json:"state"`
	Revoked    time.Time        `json:"revoked,omitzero"` // since when, also after the signing time
	Source     string           `json:"source,omitempty"` // crl, ocsp
	From       string           `json:"from,omitempty"`   // file or address
	ProducedAt time.Time        `json:"producedAt,omitzero"`
	NextUpdate time.Time        `json:"nextUpdate,omitzero"`
	Stale      bool             `json:"stale,omitempty"` // the next update was due before now
	Text       Text             `json:"text"`
}

// Name says whose certificate it is.
func (s Standing) Name() Text { return standingNames[s.Of] }

// revocation asks about a certificate whose chain holds, and notes the answer.
func (v *verification) revocation(of string, cert, issuer *smx509.Certificate, at time.Time) revocation.Status {
	s := v.trust.Revocation(v.ctx, cert, issuer, at, v.now)
	v.r.found(of, s)
	return s
}

// found notes an answer, or that nobody gave one who should.
func (r *Report) found(of string, s revocation.Status) {
	if s.Source == "" && s.Fault == nil {
		return
	}
	zh, en := s.Text()
	r.Revocation = append(r.Revocation, Standing{
		Of: of, State: s.State, Revoked: s.Since, Source: s.Source, From: s.From,
		ProducedAt: s.ProducedAt, NextUpdate: s.NextUpdate, Stale: s.Stale, Text: Text{zh, en},
	})
}
