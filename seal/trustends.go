package seal

import (
	"path/filepath"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// TrustEnd is when something that a verifier believes ends by its date.
type TrustEnd struct {
	What  string // trust.roots, trust.makers, trust.intermediates, trust.tsa; trust.crl, trust.seals-status
	Name  string // file or address; of a status list the key id of its maker
	Until time.Time
	// Routine: a list, which its issuer makes anew every few days. Only one that is
	// overdue is worth an alert.
	Routine bool
}

// Ends lists when what is believed ends: the certificates of the directory, and the
// next updates of revocation and status lists, also of those fetched.
func (t *Trust) Ends() []TrustEnd {
	list := append([]TrustEnd(nil), t.ends...)
	for _, due := range t.revocations.Dues() {
		list = append(list, TrustEnd{"trust.crl", due.From, due.Next, true})
	}
	for kid, l := range t.StatusLists() {
		list = append(list, TrustEnd{"trust.seals-status", kid, l.Next, true})
	}
	return list
}

// until notes when a certificate of the directory ends.
func (t *Trust) until(path string, cert *smx509.Certificate) {
	t.ends = append(t.ends, TrustEnd{What: "trust." + filepath.Base(filepath.Dir(path)), Name: filepath.Base(path), Until: cert.NotAfter})
}
