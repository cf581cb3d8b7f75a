package certificate

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"sync"
	"time"

	"yizheng/catalog"
	"yizheng/seal"
	"yizheng/seal/pdf"
)

// MaxFile is the largest document that is taken from elsewhere, in bytes. In
// base64 it still fits into an envelope.
const MaxFile = 7 << 20

// examineWithin bounds the calls for fresh revocation.
const examineWithin = 10 * time.Second

// Why a document that somebody else has sealed is not taken.
var (
	ErrFile  = errors.New("certificate: file is empty or too large")
	ErrSeal  = errors.New("certificate: seal does not verify, or is not the issuer's")
	ErrOther = errors.New("certificate: document is not that of the answer")
	// ErrPerson is returned with ErrQR for a document about somebody else.
	ErrPerson = errors.New("certificate: document is about another person")
)

// Examiner holds documents that somebody else has sealed to what they have to
// be. It is safe for concurrent use.
type Examiner struct {
	trust    *seal.Trust
	renderer *pdf.Renderer
	mu       sync.Mutex
	looks    map[catalog.SealID]look // of the seals met so far
}

// look is how a seal prints. A picture is decoded once: the renderer, too,
// prepares what goes with it once.
type look struct {
	der     []byte // of the seal it was read from
	picture pdf.Picture
	name    string
}

// NewExaminer makes an Examiner, which believes trust, and draws with the fonts
// of those who seal.
func NewExaminer(trust *seal.Trust, renderer *pdf.Renderer) *Examiner {
	return &Examiner{trust: trust, renderer: renderer, looks: make(map[catalog.SealID]look)}
}

// Examine reports whether file is the document of c, sealed with the hosted
// seal want, its QR code signed with the key signer. That it says what c says,
// all of it and nothing else, is seen by drawing c once more: seal picture,
// signed facts and signature are the only parts taken from the file, and each is
// verified for itself. Errors wrap one of the sentinels of this package and hold
// nothing of the document.
func (e *Examiner) Examine(ctx context.Context, file []byte, c Certificate, want catalog.Seal, signer *ecdsa.PublicKey, now time.Time) (seal.Use, error) {
	if len(file) == 0 || len(file) > MaxFile {
		return seal.Use{}, fmt.Errorf("%w: %d bytes", ErrFile, len(file))
	}
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	report := seal.VerifyContext(ctx, file, e.trust, now)
	if err := sealedWith(report, want, c.IssuedAt); err != nil {
		return seal.Use{}, err
	}
	private, err := pdf.ReadPrivate(ctx, file)
	if err != nil {
		return seal.Use{}, fmt.Errorf("%w: %w", ErrOther, err)
	}
	if private.Number != c.Number || private.Receipt != c.Receipt || !bytes.Equal(private.Seed, c.Seed) {
		return seal.Use{}, fmt.Errorf("%w: another number, seed or receipt", ErrOther)
	}
	if err := c.CheckQR(private.QR, signer); err != nil {
		return seal.Use{}, err
	}
	if err := e.redraw(ctx, file, c, want.ID, private.QR); err != nil {
		return seal.Use{}, err
	}
	return seal.Use{SealID: string(want.ID), ESID: report.ESID, SealName: report.SealName, Signer: report.Signer,
		CertSN: report.SignerSN, At: report.SigningTime, StampedAt: report.StampedAt}, nil
}

// sealedWith wants every check passed, but for a time stamp, and the very seal.
func sealedWith(r seal.Report, want catalog.Seal, at time.Time) error {
	if !r.Overall {
		for _, c := range r.Checks {
			if c.Result != seal.OK && c.No != seal.CheckStamp {
				return fmt.Errorf("%w: check %d: %s", ErrSeal, c.No, c.Result)
			}
		}
		return fmt.Errorf("%w: time stamp", ErrSeal)
	}
	switch {
	case r.ESID != want.Identifier() || r.SealName != want.Name:
		return fmt.Errorf("%w: another seal than %s", ErrSeal, want.ID)
	case r.SignerCode != string(want.Department):
		return fmt.Errorf("%w: seal %s in other hands", ErrSeal, want.ID)
	case !r.SigningTime.Equal(at.UTC().Truncate(time.Second)):
		return fmt.Errorf("%w: sealed at another time than said", ErrSeal)
	}
	return nil
}

// redraw compares everything but the signature, which Verify has found to cover
// all the rest.
func (e *Examiner) redraw(ctx context.Context, file []byte, c Certificate, id catalog.SealID, link string) error {
	field, err := pdf.ReadSignature(ctx, file)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOther, err)
	}
	eseal, slot, err := seal.InFile(field)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSeal, err)
	}
	l, err := e.look(eseal, id)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSeal, err)
	}
	draft, err := c.draft(e.renderer, link, l.picture, l.name, slot)
	if err != nil {
		return fmt.Errorf("%w: cannot be drawn here: %w", ErrOther, err)
	}
	digest, err := pdf.Digest(file, draft.ByteRange())
	if err != nil || field.ByteRange != draft.ByteRange() || !bytes.Equal(digest, draft.Digest()) {
		return fmt.Errorf("%w: not what is drawn here of the same answer; forged, or made with other fonts or another version", ErrOther)
	}
	return nil
}

// look is how the seal of a verified file prints; there are as many as the
// catalogue has hosted seals.
func (e *Examiner) look(der []byte, id catalog.SealID) (look, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l, ok := e.looks[id]; ok && bytes.Equal(l.der, der) {
		return l, nil
	}
	l := look{der: der}
	var err error
	if l.picture, l.name, err = seal.Printed(der); err != nil {
		return look{}, err
	}
	e.looks[id] = l
	return l, nil
}
