package keystore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// Module says where in a cryptographic module (PKCS#11) a key is and how the module
// signs with it. OASIS gives SM2 no mechanism, so each maker has a number of its own:
// it stands in the module's manual, and here.
type Module struct {
	Library string // the maker's shared object
	Token   string // label of the token
	PINFile string // file with the PIN of the token's user
	ID      []byte // CKA_ID of the private key

	Mechanism uint // CK_MECHANISM_TYPE
	Input     Input
	Encoding  Encoding
}

// Input is what a module's mechanism takes.
type Input string

// Inputs. In both the user's id is the standard's default (GB/T 35276).
const (
	InputMessage Input = "message" // the whole message: the module computes SM3(Z ‖ M)
	InputDigest  Input = "digest"  // SM3(Z ‖ M), computed here
)

// Encoding is what a module's mechanism returns.
type Encoding string

// Encodings.
const (
	EncodingRaw Encoding = "raw" // r ‖ s, 32 bytes each
	EncodingDER Encoding = "der" // SEQUENCE { r, s }
)

// moduleFile is the JSON of a Module; docs/protocol/seal-register.md describes it.
type moduleFile struct {
	Library   string   `json:"library"`
	Token     string   `json:"token"`
	PINFile   string   `json:"pin_file"`
	ID        string   `json:"id"`
	Mechanism string   `json:"mechanism"`
	Input     Input    `json:"input"`
	Encoding  Encoding `json:"encoding"`
}

// ReadModule reads a file of a key in a module. A relative PIN file is relative to it.
func ReadModule(path string) (Module, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Module{}, fmt.Errorf("keystore: %w", err)
	}
	m, err := parseModule(raw)
	if err != nil {
		return Module{}, fmt.Errorf("keystore: %s: %w", path, err)
	}
	if !filepath.IsAbs(m.PINFile) {
		m.PINFile = filepath.Join(filepath.Dir(path), m.PINFile)
	}
	return m, nil
}

func parseModule(raw []byte) (m Module, err error) {
	var f moduleFile
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return m, fmt.Errorf("not a key in a module: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return m, errors.New("not a key in a module: something follows")
	}
	number, err := strconv.ParseUint(f.Mechanism, 0, 32)
	if err != nil {
		return m, errors.New("mechanism must be a number, as 0x80000001 (机制编号见密码机手册)")
	}
	m = Module{Library: f.Library, Token: f.Token, PINFile: f.PINFile, Mechanism: uint(number), Input: f.Input, Encoding: f.Encoding}
	m.ID, err = hex.DecodeString(f.ID)
	switch {
	case err != nil || len(m.ID) == 0:
		return m, errors.New("id must be the CKA_ID of the private key in hexadecimal (私钥的 CKA_ID，十六进制)")
	case m.Library == "" || m.Token == "" || m.PINFile == "":
		return m, errors.New("library, token and pin_file are needed (缺 library、token 或 pin_file)")
	case m.Input != InputMessage && m.Input != InputDigest:
		return m, errors.New("input must be message or digest")
	case m.Encoding != EncodingRaw && m.Encoding != EncodingDER:
		return m, errors.New("encoding must be raw or der")
	}
	return m, nil
}
