package seal

import (
	"fmt"

	"yizheng/seal/pdf"
	"yizheng/seal/ses"
)

// InFile returns the seal (SESeal, DER) in the signature of a sealed document.
// Errors are those of pdf.ReadSignature and ses.ParseSignature.
func InFile(file []byte) ([]byte, error) {
	field, err := pdf.ReadSignature(file)
	if err != nil {
		return nil, err
	}
	sig, err := ses.ParseSignature(field.Contents)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sig.Seal.Raw, nil
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
