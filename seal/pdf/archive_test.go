package pdf

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

var archiveSlot = SignatureSlot{Filter: "Adobe.PPKLite", SubFilter: "adbe.pkcs7.detached", MaxBytes: 2048, PDFA: true}

func TestPDFAIsClaimedOnlyWithAContainerItKnows(t *testing.T) {
	d := sampleDocument()
	r := testRenderer(t, d)
	for _, slot := range []SignatureSlot{{PDFA: true}, {PDFA: true, SubFilter: "GM.sm2seal"}} {
		if _, err := r.Render(d, slot); !errors.Is(err, ErrDocument) {
			t.Errorf("%+v: %v", slot, err)
		}
	}
	plain, err := r.Render(d, SignatureSlot{})
	if err != nil {
		t.Fatal(err)
	}
	if file := plain.file; bytes.Contains(file, []byte("pdfaid")) || bytes.Contains(file, []byte("OutputIntent")) {
		t.Error("a file with a seal of GB/T 38540 claims PDF/A")
	}
}

func TestPDFAMetadataHoldNoPersonalData(t *testing.T) {
	d := sampleDocument()
	draft, err := testRenderer(t, d).Render(d, archiveSlot)
	if err != nil {
		t.Fatal(err)
	}
	_, metadata, found := strings.Cut(string(draft.file), "<?xpacket begin")
	metadata, _, _ = strings.Cut(metadata, "<?xpacket end")
	for _, want := range []string{"<pdfaid:part>2<", "<pdfaid:conformance>U<", "最低生活保障证明", "2025-03-05T10:15:00+08:00", "<pdf:Producer>Yizheng<"} {
		if !found || !strings.Contains(metadata, want) {
			t.Errorf("the metadata lack %s", want)
		}
	}
	for _, r := range d.Rows {
		if strings.Contains(metadata, r.Value) {
			t.Errorf("the metadata hold %s", r.Label)
		}
	}
	if strings.Contains(metadata, d.Number) {
		t.Error("the metadata hold the number")
	}
}
