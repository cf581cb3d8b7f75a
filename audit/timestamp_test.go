package audit

import (
	"bytes"
	"testing"
)

func FuzzParseStamp(f *testing.F) {
	head := SignedHead{Head: Head{Origin: "gw1.example.gov.cn/audit/2026q4", Size: 7, Time: 1}, KeyHash: 1, Signature: []byte{0x30, 0}}
	line, err := Stamp{head, []byte{0x30, 0}}.MarshalText()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := ParseStamp(line); err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(bytes.Replace(line, []byte(`"token"`), []byte(`"x":1,"token"`), 1))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := ParseStamp(line)
		if err != nil {
			return
		}
		if again, err := s.MarshalText(); err != nil || !bytes.Equal(again, line) {
			t.Errorf("%q became %q, %v", line, again, err)
		}
	})
}
