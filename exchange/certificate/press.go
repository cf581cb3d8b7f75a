package certificate

import (
	"context"
	"fmt"

	"yizheng/catalog"
	"yizheng/identity/jose"
	"yizheng/seal"
	"yizheng/seal/pdf"
)

// Press renders certificates and seals them with the seals it holds. It is safe
// for concurrent use.
type Press struct {
	Key      *jose.Key // signs the facts of QR codes
	Renderer *pdf.Renderer
	Seals    *seal.Registry
}

// Issue makes the sealed document of c. Errors are those of pdf.Renderer.Render,
// *pdf.GlyphMissingError among them, and of seal.Registry.Sign.
func (p Press) Issue(ctx context.Context, c Certificate, id catalog.SealID) ([]byte, seal.Use, error) {
	fail := func(what string, err error) ([]byte, seal.Use, error) {
		return nil, seal.Use{}, fmt.Errorf("certificate: %s of proof %s: %w", what, c.Proof.Code, err)
	}
	link, err := c.SignQR(p.Key)
	if err != nil {
		return fail("QR code", err)
	}
	picture, name, err := p.Seals.Picture(string(id))
	if err != nil {
		return fail("seal", err)
	}
	slot, err := p.Seals.Slot(string(id))
	if err != nil {
		return fail("seal", err)
	}
	draft, err := c.draft(p.Renderer, link, picture, name, slot)
	if err != nil {
		return fail("rendering", err)
	}
	file, use, err := p.Seals.Sign(ctx, string(id), draft, c.IssuedAt)
	if err != nil {
		return fail("seal", err)
	}
	return file, use, nil
}

func (c Certificate) draft(r *pdf.Renderer, link string, picture pdf.Picture, name string, slot pdf.SignatureSlot) (*pdf.Draft, error) {
	d := c.Document(link)
	d.SealPicture, d.SealName = picture, name
	return r.Render(d, slot)
}
