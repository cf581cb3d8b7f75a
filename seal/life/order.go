package life

import (
	"path/filepath"
	"time"

	"yizheng/seal"
)

// Make makes the seal that the order asks for. The result is a SESeal in DER.
func (o *Order) Make(maker seal.Credential, at time.Time) ([]byte, error) {
	cert, err := seal.ParseCertificate(o.Holder)
	if err != nil {
		return nil, err
	}
	return seal.MakeSeal(maker, seal.SealOrder{ESID: o.ESID, Name: o.Name, Version: o.Version, VendorID: o.VendorID, PictureGIF: o.Picture,
		WidthMM: o.WidthMM, HeightMM: o.HeightMM, Created: at, Validity: seal.Validity{From: o.From, Until: o.Until}, HolderCert: cert})
}

// Dir is the directory of a seal, where its key is.
func (r *Register) Dir(id string) string { return filepath.Join(r.dir, id) }
