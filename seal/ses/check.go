package ses

import (
	"bytes"
	"slices"
)

// CheckFormat names what is wrong with a seal that parsed: mark, versions, kind,
// certificate list, picture, unknown critical extensions. Errors wrap ErrFormat.
func (s *Seal) CheckFormat() error {
	i := &s.Info
	p := &i.Property
	switch {
	case i.Header.ID != "ES":
		return fault(ErrValue, "eSealInfo.header.ID", "seal header ID is not \"ES\"")
	case i.Header.Version != int(s.Version):
		return fault(ErrVersions, "eSealInfo.header.version", "seal header says version %d, the structure is of version %d", i.Header.Version, s.Version)
	case i.ESID == "":
		return fault(ErrValue, "eSealInfo.esID", "seal without identifier (esID)")
	case p.Kind != Unit && p.Kind != Person:
		return fault(ErrValue, "eSealInfo.property.type", "seal type %d, expected 1 (unit) or 2 (person)", p.Kind)
	case p.ListType != Certificates && p.ListType != Digests:
		return fault(ErrValue, "eSealInfo.property.certListType", "certListType %d, expected 1 (certificates) or 2 (digests)", p.ListType)
	case len(p.Certs)+len(p.Digests) == 0:
		return fault(ErrValue, "eSealInfo.property.certList", "the seal's certificate list is empty")
	case p.ValidEnd.Before(p.ValidStart):
		return fault(ErrValue, "eSealInfo.property.validEnd", "seal validity ends before it starts")
	case !slices.Contains(pictureTypes(s.Version), i.Picture.Type):
		return fault(ErrPicture, "eSealInfo.picture.type", "picture type is not one of version %d", s.Version)
	case len(i.Picture.Data) == 0 || i.Picture.Width == 0 || i.Picture.Height == 0:
		return fault(ErrPicture, "eSealInfo.picture", "the seal's picture is empty or without size")
	case !bytes.HasPrefix(i.Picture.Data, pictureMarks[i.Picture.Type]):
		return fault(ErrPicture, "eSealInfo.picture.data", "the seal's picture is not of the type it names")
	}
	return checkCritical("eSealInfo.extDatas", i.Extensions)
}

// CheckFormat names what is wrong with a signature that parsed, its seal included.
// Errors wrap ErrFormat.
func (s *Signature) CheckFormat() error {
	if err := s.Seal.CheckFormat(); err != nil {
		return err
	}
	switch {
	case s.TBS.Version != s.Seal.Info.Header.Version:
		return fault(ErrVersions, "toSign.version", "signature version %d, seal version %d", s.TBS.Version, s.Seal.Info.Header.Version)
	case len(s.TBS.DataHash) != 32:
		return fault(ErrValue, "toSign.dataHash", "dataHash has %d octets, SM3 has 32", len(s.TBS.DataHash))
	}
	return checkCritical("toSign.extDatas", s.TBS.Extensions)
}

func checkCritical(field string, list []Extension) error {
	for _, e := range list {
		if e.Critical {
			return fault(ErrCritical, field, "an extension that must be understood")
		}
	}
	return nil
}

// pictureMarks are the first octets of the picture types that have such.
var pictureMarks = map[string][]byte{
	"GIF": []byte("GIF8"), "BMP": []byte("BM"), "JPG": {0xff, 0xd8, 0xff}, "PNG": []byte("\x89PNG\r\n\x1a\n"), "OFD": []byte("PK"),
}

// pictureTypes returns the picture types a version allows. Lower case is refused:
// no maker writes it and the standards spell them in capitals.
func pictureTypes(v Version) []string {
	if v == V5 {
		return []string{"GIF", "BMP", "JPG", "PNG", "SVG", "OFD"}
	}
	return []string{"GIF", "BMP", "JPG"}
}
