package seal

import (
	"errors"
	"fmt"

	"yizheng/seal/pdf"
	"yizheng/seal/ses"
)

// InFile returns the seal (SESeal, DER) that a document made here carries in its
// signature, or beside it in CMS mode, and the slot that such a signature fills.
// Errors are those of ses.ParseSignature, and errNoSeal.
func InFile(field pdf.Signature) ([]byte, pdf.SignatureSlot, error) {
	if isCMS(field.Contents) {
		if field.Seal == nil {
			return nil, pdf.SignatureSlot{}, errNoSeal
		}
		return field.Seal, cmsSlot(field.Seal, len(field.Contents)), nil
	}
	sig, err := ses.ParseSignature(field.Contents)
	if err != nil {
		return nil, pdf.SignatureSlot{}, fmt.Errorf("seal: %w", err)
	}
	return sig.Seal.Raw, pdf.SignatureSlot{MaxBytes: len(field.Contents)}, nil
}

var errNoSeal = errors.New("seal: a signature without a seal")

// cmsSlot is the slot of a CMS message, which carries the seal beside it.
func cmsSlot(eseal []byte, maxBytes int) pdf.SignatureSlot {
	return pdf.SignatureSlot{Filter: "Adobe.PPKLite", SubFilter: "adbe.pkcs7.detached", MaxBytes: maxBytes, Seal: eseal, PDFA: true}
}

// Printed returns what to print for a seal (SESeal, DER), as Registry.Picture does
// for one that is held here: whoever verifies a document can draw it again with
// it, and compare.
func Printed(der []byte) (pdf.Picture, string, error) {
	s, err := ses.ParseSeal(der)
	if err != nil {
		return pdf.Picture{}, "", fmt.Errorf("seal: %w", err)
	}
	picture, err := sealPicture(s.Info.Picture)
	return picture, s.Info.Property.Name, err
}
