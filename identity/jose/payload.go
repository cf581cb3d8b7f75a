package jose

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/emmansun/gmsm/sm3"
)

// Unmarshal decodes a payload that is exactly one JSON value without unknown
// members, so that nothing was signed that its reader overlooks. The error may
// quote the payload: pass it on only where that is nobody's data.
func Unmarshal(payload []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	switch _, err := d.Token(); {
	case err == nil:
		return errors.New("data after the value")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("data after the value: %w", err)
	}
	return nil
}

// Digest is base64url of SM3 over a text. Signed statements name one another so.
func Digest(text string) string {
	sum := sm3.Sum([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
