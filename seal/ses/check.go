package ses

import (
	"bytes"
	"fmt"
	"slices"
)

// CheckFormat names what is wrong with a seal that parsed: mark, versions, kind,
// certificate list, picture, unknown critical extensions. Errors wrap ErrFormat.
func (s *Seal) CheckFormat() error {
	i := &s.Info
	p := &i.Property
	switch {
	case i.Header.ID != "ES":
		return fmt.Errorf("%w: seal header ID is not \"ES\"", ErrFormat)
	case i.Header.Version != int(s.Version):
		return fmt.Errorf("%w: seal header says version %d, the structure is of version %d", ErrFormat, i.Header.Version, s.Version)
	case i.ESID == "":
		return fmt.Errorf("%w: seal without identifier (esID)", ErrFormat)
	case p.Kind != Unit && p.Kind != Person:
		return fmt.Errorf("%w: seal type %d, expected 1 (unit) or 2 (person)", ErrFormat, p.Kind)
	case p.ListType != Certificates && p.ListType != Digests:
		return fmt.Errorf("%w: certListType %d, expected 1 (certificates) or 2 (digests)", ErrFormat, p.ListType)
	case len(p.Certs)+len(p.Digests) == 0:
		return fmt.Errorf("%w: the seal's certificate list is empty", ErrFormat)
	case p.ValidEnd.Before(p.ValidStart):
		return fmt.Errorf("%w: seal validity ends before it starts", ErrFormat)
	case !slices.Contains(pictureTypes(s.Version), i.Picture.Type):
		return fmt.Errorf("%w: picture type is not one of version %d", ErrFormat, s.Version)
	case len(i.Picture.Data) == 0 || i.Picture.Width == 0 || i.Picture.Height == 0:
		return fmt.Errorf("%w: the seal's picture is empty or without size", ErrFormat)
	case !bytes.HasPrefix(i.Picture.Data, pictureMarks[i.Picture.Type]):
		return fmt.Errorf("%w: the seal's picture is not of the type it names", ErrFormat)
	}
	return checkCritical(i.Extensions)
}

// CheckFormat names what is wrong with a signature that parsed, its seal included.
// Errors wrap ErrFormat.
func (s *Signature) CheckFormat() error {
	if err := s.Seal.CheckFormat(); err != nil {
		return err
	}
	switch {
	case s.TBS.Version != s.Seal.Info.Header.Version:
		return fmt.Errorf("%w: signature version %d, seal version %d", ErrFormat, s.TBS.Version, s.Seal.Info.Header.Version)
	case len(s.TBS.DataHash) != 32:
		return fmt.Errorf("%w: dataHash has %d octets, SM3 has 32", ErrFormat, len(s.TBS.DataHash))
	}
	return checkCritical(s.TBS.Extensions)
}

func checkCritical(list []Extension) error {
	for _, e := range list {
		if e.Critical {
			return fmt.Errorf("%w: unknown critical extension %s", ErrFormat, e.ID)
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
