package exchange

import (
	"testing"
	"time"

	"yizheng/audit"
)

// The log refuses an entry with what looks like an ID number, so that a document
// of such a number could never be released.
func TestNoCertificateNumberLooksLikeAnIDNumber(t *testing.T) {
	day := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	drawn := 0
	for range 5000 {
		n, err := drawNumber("690100", "00", day)
		if err != nil {
			t.Fatal(err)
		}
		for range audit.IDNumbers([]byte(n)) {
			drawn++
		}
		if n, err = newNumber("690100", "00", day); err != nil {
			t.Fatal(err)
		}
		for range audit.IDNumbers([]byte(n)) {
			t.Errorf("%s looks like one", n)
		}
	}
	if drawn == 0 {
		t.Error("none was drawn that does: this test shows nothing")
	}
	t.Logf("%d of 5000 draws look like one", drawn)
}
