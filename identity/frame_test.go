package identity

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
)

// frame lays out an answer from parts with its length and check byte.
func frame(status string, lengths []int, parts ...[]byte) []byte {
	var data []byte
	for _, n := range lengths {
		data = append(data, byte(n>>8), byte(n))
	}
	data = append(data, slices.Concat(parts...)...)
	size := len(status) + len(data) + 1
	body := slices.Concat([]byte{byte(size >> 8), byte(size)}, []byte(status), data)
	var check byte
	for _, b := range body {
		check ^= b
	}
	return slices.Concat([]byte(framePreamble), body, []byte{check})
}

func TestFrameYieldsTextPhotoAndFingerprint(t *testing.T) {
	text, photo, finger := encode(t, residentText()), bytes.Repeat([]byte{7}, 1024), bytes.Repeat([]byte{9}, 1024)
	short := frame(frameSuccess, []int{256, 1024}, text, photo)
	if want := "aaaaaa9669050800009001000400"; hex.EncodeToString(short[:14]) != want {
		t.Errorf("head %x, want %s", short[:14], want)
	}
	f, err := ParseFrame(short)
	if err != nil || !bytes.Equal(f.Text, text) || !bytes.Equal(f.Photo, photo) || f.Fingerprint != nil {
		t.Errorf("without fingerprint: %v", err)
	}
	f, err = ParseFrame(frame(frameSuccess, []int{256, 1024, 1024}, text, photo, finger))
	if err != nil || !bytes.Equal(f.Text, text) || !bytes.Equal(f.Photo, photo) || !bytes.Equal(f.Fingerprint, finger) {
		t.Errorf("with fingerprint: %v", err)
	}
	if _, err := ParseCard(f.Text); err != nil {
		t.Error(err)
	}
}

func TestFrameIsRefused(t *testing.T) {
	text, photo := encode(t, residentText()), make([]byte, 1024)
	good := frame(frameSuccess, []int{256, 1024}, text, photo)
	found, err := hex.DecodeString("aaaaaa9669000800009f0000000097") // "card found", from a reader's manual
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		raw  []byte
		want error
	}{
		{"status without text", found, ErrReader},
		{"empty", nil, ErrFrame},
		{"cut", good[:len(good)-1], ErrFrame},
		{"one byte more", append(bytes.Clone(good), 0), ErrFrame},
		{"preamble", append([]byte{0}, good[1:]...), ErrFrame},
		{"wrong check byte", append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1), ErrFrame},
		{"lengths too large", frame(frameSuccess, []int{256, 1025}, text, photo), ErrFrame},
		{"short text", frame(frameSuccess, []int{254, 1024}, text[:254], photo), ErrFrame},
		{"nothing inside", frame(frameSuccess, nil), ErrFrame},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseFrame(c.raw); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add(frame(frameSuccess, []int{256, 2}, encode(f, residentText()), []byte{1, 2}))
	f.Add([]byte(framePreamble))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if frame, err := ParseFrame(raw); err == nil && len(frame.Text) != CardTextSize {
			t.Errorf("text of %d bytes", len(frame.Text))
		}
	})
}
