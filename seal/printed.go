package seal

import (
	"fmt"

	"yizheng/seal/pdf"
	"yizheng/seal/ses"
)

// Printed returns the picture and the name of the seal in a sealed document, as
// Registry.Picture does for a seal held here: with them the document can be drawn
// again and compared. The file must have passed Verify. Errors are those of
// pdf.ReadSignature and ses.ParseSignature.
func Printed(file []byte) (pdf.Picture, string, error) {
	field, err := pdf.ReadSignature(file)
	if err != nil {
		return pdf.Picture{}, "", err
	}
	sig, err := ses.ParseSignature(field.Contents)
	if err != nil {
		return pdf.Picture{}, "", fmt.Errorf("seal: %w", err)
	}
	picture, err := sealPicture(sig.Seal.Info.Picture)
	return picture, sig.Seal.Info.Property.Name, err
}
