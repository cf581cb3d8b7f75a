package witness

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/identity/jose"
)

const (
	vectorFile = "../../docs/protocol/vectors/witness.json"
	pageFile   = "../../docs/protocol/witness.md"
)

var update = flag.Bool("update", false, "make the vectors anew, with new keys")

// witnessVectors is docs/protocol/vectors/witness.json. Signatures are random:
// they are verified, not made again.
type witnessVectors struct {
	Note       string `json:"note"`
	Name       string `json:"name"`
	WitnessKey string `json:"witness_key"` // PEM
	LogKey     string `json:"log_key"`     // PEM
	OldRoot    string `json:"old_root"`    // of the size that Request begins from
	Request    string `json:"request"`
	Answer     string `json:"answer"`
	Time       int64  `json:"time"` // seconds, in Answer
	Cosigned   string `json:"cosigned"`
}

// made plays a log and a witness once.
func made(t *testing.T) witnessVectors {
	t.Helper()
	logKey, own := newKey(t), newKey(t)
	v := witnessVectors{Note: "Test vectors of docs/protocol/witness.md: a log of 4 entries that was cosigned grew to 11.", Name: "witness.audit.690100.example"}
	l := openLog(t, logKey, "2026q4", 3)
	w := newWitness(t, t.TempDir(), v.Name, own, logKey)
	first := l.Head()
	if _, err := w.Add(first, 0, nil); err != nil {
		t.Fatal(err)
	}
	grow(t, l, 7)
	head, path := l.Head(), proofOf(t, l, first.Size, l.Head().Size)
	body, err := request(head, first.Size, path)
	if err != nil {
		t.Fatal(err)
	}
	line, err := w.Add(head, first.Size, path)
	if err != nil {
		t.Fatal(err)
	}
	note, err := w.Last(head.Origin)
	if err != nil {
		t.Fatal(err)
	}
	at, err := audit.WitnessKey{Name: v.Name, Key: own.Public()}.Check(head.Head, line)
	if err != nil {
		t.Fatal(err)
	}
	v.OldRoot, v.Request, v.Answer, v.Cosigned, v.Time = first.Root.String(), string(body), line+"\n", string(note), at.Unix()
	for k, into := range map[key]*string{logKey: &v.LogKey, own: &v.WitnessKey} {
		pem, err := jose.MarshalPublicKeyPEM(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		*into = string(pem)
	}
	return v
}

func TestVectorsHoldAndArePrinted(t *testing.T) {
	if *update {
		b, err := json.MarshalIndent(made(t), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v witnessVectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	logKey, err := jose.ParsePublicKeyPEM([]byte(v.LogKey))
	if err != nil {
		t.Fatal(err)
	}
	own, err := jose.ParsePublicKeyPEM([]byte(v.WitnessKey))
	if err != nil {
		t.Fatal(err)
	}
	head, old, path, err := parse([]byte(v.Request))
	if err != nil {
		t.Fatal(err)
	}
	if err := head.Verify(logKey); err != nil {
		t.Error(err)
	}
	root, err := base64.StdEncoding.DecodeString(v.OldRoot)
	if err != nil {
		t.Fatal(err)
	}
	if err := continues(state{Size: old, Root: root}, head.Head, path); err != nil {
		t.Error(err)
	}
	witness := audit.WitnessKey{Name: v.Name, Key: own}
	if at, err := witness.Check(head.Head, strings.TrimSuffix(v.Answer, "\n")); err != nil || !at.Equal(time.Unix(v.Time, 0)) {
		t.Errorf("cosigned at %v: %v", at, err)
	}
	last, err := audit.ParseCheckpoint([]byte(v.Cosigned))
	if err != nil || last.Head != head.Head || len(last.Witnessed([]audit.WitnessKey{witness})) != 1 {
		t.Errorf("cosigned checkpoint %+v: %v", last, err)
	}
	page, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"request": v.Request, "answer": v.Answer, "cosigned checkpoint": v.Cosigned} {
		if !strings.Contains(string(page), "```\n"+text+"```\n") {
			t.Errorf("%s does not show the %s", pageFile, name)
		}
	}
}
