package supervise

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/audit"
)

// maxText is how many characters the text of an order or an answer may have.
const maxText = 2000

// texts keeps what people write in orders and answers. The log has only a keyed
// digest of each, which is also its name here. Anything that could be an ID
// number is refused, so that no resident is written about by number.
type texts struct {
	dir string
	key []byte
}

// openTexts opens the directory, and makes it and its key if it is new.
func openTexts(dir string) (texts, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return texts{}, fmt.Errorf("supervise: %w", err)
	}
	name := filepath.Join(dir, "key")
	key, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		key = make([]byte, 32)
		rand.Read(key) // never fails
		err = audit.ReplaceFile(name, key)
	}
	if err == nil && len(key) != 32 {
		err = errors.New("key of texts: not 32 bytes")
	}
	if err != nil {
		return texts{}, fmt.Errorf("supervise: %w", err)
	}
	return texts{dir, key}, nil
}

// ErrText is wrapped by the refusal of a text.
var ErrText = errors.New("text refused")

// keep stores a text and returns its digest; "" for none.
func (t texts) keep(text string) (string, error) {
	if text = strings.TrimSpace(text); text == "" {
		return "", nil
	}
	switch {
	case !utf8.ValidString(text) || utf8.RuneCountInString(text) > maxText:
		return "", fmt.Errorf("%w: 文字最多 %d 字 / at most %d characters", ErrText, maxText, maxText)
	case holdsNumber(text):
		return "", fmt.Errorf("%w: 文字中含有疑似身份证件号码，请删去，用办件编号指代 / it holds what may be an ID number; name the case instead", ErrText)
	}
	return t.digest(text), t.store(text)
}

// digest names a text.
func (t texts) digest(text string) string { return base64.StdEncoding.EncodeToString(t.sum(text)) }

func (t texts) sum(text string) []byte {
	m := hmac.New(sm3.New, t.key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// store keeps a text as it is.
func (t texts) store(text string) error {
	return audit.ReplaceFile(filepath.Join(t.dir, hex.EncodeToString(t.sum(text))), []byte(text))
}

// read returns the text of a digest; false if it is not here, or not what was kept.
func (t texts) read(digest string) (string, bool) {
	sum, err := base64.StdEncoding.DecodeString(digest)
	if err != nil || len(sum) != sm3.Size {
		return "", false
	}
	text, err := os.ReadFile(filepath.Join(t.dir, hex.EncodeToString(sum)))
	if err != nil || !hmac.Equal(t.sum(string(text)), sum) {
		return "", false
	}
	return string(text), true
}

// holdsNumber reports a run of 15 digits or more (the last may be an X),
// in any width, whatever stands between them that is no letter: a space, a dash,
// a new line.
func holdsNumber(text string) bool {
	run := 0
	for _, r := range text {
		switch d := digitOf(r); {
		case d:
			if run++; run >= 15 {
				return true
			}
		case unicode.IsLetter(r):
			run = 0
		}
	}
	return false
}

// digitOf knows digits in all scripts, and in Chinese.
func digitOf(r rune) bool {
	return unicode.IsDigit(r) || strings.ContainsRune("〇零一二三四五六七八九壹贰叁肆伍陆柒捌玖①②③④⑤⑥⑦⑧⑨", r)
}
