package seal

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/cms"
	"yizheng/seal/keystore"
	"yizheng/seal/pdf"
	"yizheng/seal/revocation"
	"yizheng/seal/ses"
	"yizheng/seal/tsp"
)

// Use is what the audit record of one use of a seal keeps. It says nothing about
// the document but that it was sealed.
type Use struct {
	SealID          string    // id in the registry
	ESID            string    // identifier inside the seal
	SealName        string    // name of the seal
	Signer          string    // common name of the holder's certificate
	CertSN          string    // serial number of that certificate, lower-case hex
	SignatureDigest string    // SM3 of the SES_Signature or CMS message, lower-case hex
	At              time.Time // timeInfo, UTC, whole seconds

	StampedAt  time.Time // of the time stamp, UTC; zero without one
	StampFault error     // why there is none although TimeStamps are configured
}

// Stamp is what a record says about the time stamp: its time (RFC 3339),
// "unavailable" when the signature had to go without, or "" when none is configured.
func (u Use) Stamp() string {
	switch {
	case u.StampFault != nil:
		return "unavailable"
	case u.StampedAt.IsZero():
		return ""
	}
	return u.StampedAt.UTC().Format(time.RFC3339)
}

// Info describes a seal of the registry.
type Info struct {
	ID, ESID, Name, Signer, SignerCode, CertSN string
	Seal, Cert                                 Validity
	State                                      State // of the register or status.json
	KeyHere                                    bool  // false: the department keeps it, this program cannot sign
	KeyProtected                               bool  // the key is encrypted or in a module; production demands it
}

// Seals lists the seals, ordered by id.
func (r *Registry) Seals() []Info {
	var out []Info
	for id, h := range r.held() {
		if h.faulty {
			continue
		}
		p := h.seal.Info.Property
		name, code := subject(h.cert)
		out = append(out, Info{
			ID: id, ESID: h.seal.Info.ESID, Name: p.Name, Signer: name, SignerCode: code, CertSN: serial(h.cert),
			Seal: Validity{p.ValidStart, p.ValidEnd}, Cert: Validity{h.cert.NotBefore, h.cert.NotAfter}, State: h.state.State,
			KeyHere: h.key != nil, KeyProtected: h.key != nil && h.key.Protected,
		})
	}
	slices.SortFunc(out, func(a, b Info) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}

// Picture returns what to print for a seal, at its true size, and the seal's name.
// It returns ErrUnknownSeal or ErrSealNotValid.
func (r *Registry) Picture(id string) (pdf.Picture, string, error) {
	h, err := r.find(id)
	if err != nil {
		return pdf.Picture{}, "", err
	}
	return h.picture, h.seal.Info.Property.Name, nil
}

// Slot returns the signature slot a document for this seal needs. It returns
// ErrUnknownSeal or ErrSealNotValid.
func (r *Registry) Slot(id string) (pdf.SignatureSlot, error) {
	h, err := r.find(id)
	if err != nil {
		return pdf.SignatureSlot{}, err
	}
	// Beside seal and certificate stand a digest, a time, a signature and tags.
	slot := pdf.SignatureSlot{MaxBytes: len(h.seal.Raw) + len(h.cert.Raw) + 512}
	if r.mode(id) == ModeCMS {
		slot = cmsSlot(h.seal.Raw, cms.Overhead)
		for _, c := range append([]*smx509.Certificate{h.cert}, h.above...) {
			slot.MaxBytes += len(c.Raw)
		}
	}
	if r.options.TimeStamps != nil {
		slot.MaxBytes += tsp.MaxToken
	}
	return slot, nil
}

func (r *Registry) find(id string) (*held, error) {
	h := r.held()[id]
	if h == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownSeal, id)
	}
	if h.faulty {
		return nil, fmt.Errorf("%w: %s: its files are faulty (印章材料有误)", ErrSealNotValid, id)
	}
	return h, nil
}

// Check reports whether a seal may be used here at a time. It returns ErrUnknownSeal
// or ErrSealNotValid with the cause.
func (r *Registry) Check(ctx context.Context, id string, at time.Time) error {
	_, err := r.signer(ctx, id, at)
	return err
}

// CheckHosted is Check for a seal whose key is kept elsewhere.
func (r *Registry) CheckHosted(ctx context.Context, id string, at time.Time) error {
	h, err := r.find(id)
	if err != nil {
		return err
	}
	return r.mayUse(ctx, h, at)
}

// signer is a seal that may be used here at a time.
func (r *Registry) signer(ctx context.Context, id string, at time.Time) (*held, error) {
	h, err := r.find(id)
	if err != nil {
		return nil, err
	}
	if h.key == nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSealNotValid, id, keystore.ErrNoKey)
	}
	return h, r.mayUse(ctx, h, at)
}

func (r *Registry) mayUse(ctx context.Context, h *held, at time.Time) error {
	refuse := func(zh, en string) error {
		return fmt.Errorf("%w: %s: %s (%s)", ErrSealNotValid, h.id, en, zh)
	}
	p := h.seal.Info.Property
	switch {
	case h.state.State != Issued:
		return refuse("状态为 "+string(h.state.State), "its state is "+string(h.state.State))
	case at.Before(p.ValidStart):
		return refuse("印章尚未生效", "the seal is not valid yet")
	case at.After(p.ValidEnd):
		return refuse("印章已过有效期", "the seal's validity has ended")
	case at.Before(h.cert.NotBefore) || at.After(h.cert.NotAfter):
		return refuse("签章证书不在有效期内", "the certificate is not within its validity")
	case r.options.Trust == nil:
		return nil
	}
	if list := r.options.Trust.statusOf(h.maker); list != nil {
		if s, _ := list.At(h.seal.Info.ESID, at); s != Issued {
			return refuse("状态表列为 "+string(s), "the status list says "+string(s))
		}
	}
	if issuer, err := r.options.Trust.chain(h.cert, at, forSigner); err != nil {
		return refuse("签章证书不受信任", "its certificate is not trusted")
	} else if s := r.options.Trust.Revocation(ctx, h.cert, issuer, at, at); s.State == revocation.Revoked || s.State == revocation.Unknown && !s.Tolerated {
		zh, en := s.Text()
		return refuse(zh, en)
	}
	return nil
}

// Sign seals a rendered document with the seal id at the time at (cut to seconds)
// and returns the finished file. at must be the document's IssuedAt: verifiers
// compare the two. The signature covers the whole file but the
// signature itself. Errors: ErrUnknownSeal, ErrSealNotValid, ErrNoStamp,
// pdf.ErrTooLarge, or ctx's error when it is done before the key is used.
func (r *Registry) Sign(ctx context.Context, id string, d *pdf.Draft, at time.Time) ([]byte, Use, error) {
	at = at.UTC().Truncate(time.Second)
	h, err := r.signer(ctx, id, at)
	if err != nil {
		return nil, Use{}, err
	}
	if err := ctx.Err(); err != nil {
		return nil, Use{}, fmt.Errorf("seal: %s: %w", id, err)
	}
	name, _ := subject(h.cert)
	use := Use{SealID: id, ESID: h.seal.Info.ESID, SealName: h.seal.Info.Property.Name, Signer: name, CertSN: serial(h.cert), At: at}
	sign := r.signSES
	if r.mode(id) == ModeCMS {
		sign = r.signCMS
	}
	signature, err := sign(ctx, h, d, &use)
	if err != nil {
		return nil, Use{}, fmt.Errorf("seal: %s: %w", id, err)
	}
	sealed, err := d.Fill(signature)
	if err != nil {
		return nil, Use{}, fmt.Errorf("seal: %s: %w", id, err)
	}
	sum, err := h.hash.Sum(h.begins(signature))
	if err != nil {
		return nil, Use{}, fmt.Errorf("seal: %s: %w", id, err)
	}
	use.SignatureDigest = hex.EncodeToString(sum)
	return sealed, use, nil
}

// signSES returns the SES_Signature of a draft.
func (r *Registry) signSES(ctx context.Context, h *held, d *pdf.Draft, use *Use) ([]byte, error) {
	tbs, err := ses.MarshalTBS(h.seal.Raw, h.cert.Raw, use.At, d.Digest(), propertyInfo(d.ByteRange()), nil)
	if err != nil {
		return nil, err
	}
	value, err := h.key.SignBegun(h.begins(tbs))
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	token, err := r.stamp(ctx, h, use, value)
	if err != nil {
		return nil, err
	}
	return ses.MarshalSignature(tbs, h.cert.Raw, value, token)
}

// begins is splitBehind the seal.
func (h *held) begins(b []byte) (beginning, rest []byte) { return splitBehind(h.seal.Raw, b) }

// splitBehind splits what is signed with a seal, or holds its signature, behind the
// seal's own bytes: up to there it is the same for all documents but for lengths.
func splitBehind(seal, b []byte) (beginning, rest []byte) {
	n := len(seal)
	if i := bytes.Index(b[:min(len(b), n+64)], seal); i >= 0 {
		n += i
		return b[:n], b[n:]
	}
	return nil, b
}

// signCMS returns the CMS message of a draft.
func (r *Registry) signCMS(ctx context.Context, h *held, d *pdf.Draft, use *Use) ([]byte, error) {
	signer := cms.Signer{Key: h.key, Cert: h.cert, Above: h.above}
	return signer.Sign(d.Digest(), use.At, func(value []byte) ([]byte, error) { return r.stamp(ctx, h, use, value) })
}

// propertyInfo says what of the file is protected (GB/T 38540 7.1).
func propertyInfo(byteRange [4]int) string {
	b := append(make([]byte, 0, 64), "/ByteRange ["...)
	for i, n := range byteRange {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return string(append(b, ']'))
}
