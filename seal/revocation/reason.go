package revocation

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"strconv"

	"golang.org/x/crypto/cryptobyte"
)

// Reason is why a certificate was revoked (RFC 5280, 5.3.1). Unspecified stands for
// none given, too.
type Reason int

// Reasons. 7 is not used, 8 (removeFromCRL) stands in delta lists only.
const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	CACompromise         Reason = 2
	AffiliationChanged   Reason = 3
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
	CertificateHold      Reason = 6
	PrivilegeWithdrawn   Reason = 9
	AACompromise         Reason = 10
)

// Compromised reports whether the key was, or may have been, in other hands. Who has
// it can write any signing time.
func (r Reason) Compromised() bool {
	return r == KeyCompromise || r == CACompromise || r == AACompromise
}

// Orderly reports whether the certificate ended although nobody else had the key, so
// that nothing speaks against signatures of before.
func (r Reason) Orderly() bool {
	switch r {
	case AffiliationChanged, Superseded, CessationOfOperation, PrivilegeWithdrawn:
		return true
	}
	return false
}

// graver reports whether r speaks more against earlier signatures than other.
func (r Reason) graver(other Reason) bool {
	return r.Compromised() && !other.Compromised() || other.Orderly() && !r.Orderly()
}

var reasonNames = map[Reason][2]string{
	Unspecified: {"未说明原因", "no reason given"}, KeyCompromise: {"密钥泄露", "key compromise"},
	CACompromise: {"签发机构密钥泄露", "compromise of the authority"}, AffiliationChanged: {"从属关系变更", "affiliation changed"},
	Superseded: {"已被替换", "superseded"}, CessationOfOperation: {"停止使用", "cessation of operation"},
	CertificateHold: {"暂停使用", "on hold"}, PrivilegeWithdrawn: {"权限收回", "privilege withdrawn"},
	AACompromise: {"属性机构密钥泄露", "compromise of the attribute authority"},
}

// Text names the reason in Chinese and in English.
func (r Reason) Text() (zh, en string) {
	if n, ok := reasonNames[r]; ok {
		return n[0], n[1]
	}
	return "原因代码 " + strconv.Itoa(int(r)), "reason code " + strconv.Itoa(int(r))
}

var oidReasonCode = asn1.ObjectIdentifier{2, 5, 29, 21}

// reasonOf is the reason of a list's entry. One that cannot be read is none.
func reasonOf(extensions []pkix.Extension) Reason {
	for _, e := range extensions {
		code := 0
		if s := cryptobyte.String(e.Value); e.Id.Equal(oidReasonCode) && s.ReadASN1Enum(&code) && s.Empty() {
			return Reason(code)
		}
	}
	return Unspecified
}
