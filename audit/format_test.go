package audit

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

const vectorsFile = "../docs/protocol/vectors/audit-log.json"

var updateVectors = flag.Bool("update-vectors", false, "write the test vectors instead of comparing them (the formats are frozen)")

// vectors is the file of test vectors. Byte strings are lower hex unless they are text.
type vectors struct {
	Note       string           `json:"note"`
	PrivateKey string           `json:"private_key"`
	SPKI       string           `json:"spki"`
	KeyID      string           `json:"key_id"`
	Origin     string           `json:"origin"`
	KeyHash    uint32           `json:"key_hash"`
	LogJSON    string           `json:"log_json"`
	Batches    []vectorBatch    `json:"batches"`
	Record     string           `json:"checkpoints_log"`
	Receipt    string           `json:"receipt"`
	Pointer    string           `json:"pointer"`
	Roots      []string         `json:"roots"` // of sizes 0, 1, 2, ...
	Tiles      []vectorTile     `json:"tiles"`
	Pseudonyms vectorPseudonyms `json:"pseudonyms"`
}

type vectorBatch struct {
	Entries    []vectorEntry `json:"entries"`
	HeadBytes  string        `json:"head_bytes"`
	Checkpoint string        `json:"checkpoint"`
	Frame      string        `json:"frame"`
}

type vectorEntry struct {
	Open   string `json:"open"`
	Closed string `json:"closed"`
	Salt   string `json:"salt"`
	Stored string `json:"stored"`
	Leaf   string `json:"leaf"`
}

type vectorTile struct {
	Level int    `json:"level"`
	N     uint64 `json:"n"`
	Width int    `json:"width"`
	Path  string `json:"path"`
}

type vectorPseudonyms struct {
	Key   string            `json:"key"`
	Cases []vectorPseudonym `json:"cases"`
}

type vectorPseudonym struct {
	Type   string `json:"type"`
	Number string `json:"number"`
	At     string `json:"at"`
	Kind   string `json:"kind"`
	Epoch  string `json:"epoch"`
	Norm   string `json:"normalised"`
	P      string `json:"p"`
}

// fixedKey signs deterministically, so that vectors can be made again.
type fixedKey struct{ *sm2.PrivateKey }

func (k fixedKey) Public() *ecdsa.PublicKey { return &k.PublicKey }
func (k fixedKey) SignMessage(msg []byte) ([]byte, error) {
	return sm2.SignDeterministic(k.PrivateKey, msg, sm2.DefaultSM2SignerOpts)
}

func vectorKey(t testing.TB) fixedKey {
	t.Helper()
	d := sm3.Sum([]byte("yizheng audit test vectors"))
	k, err := sm2.NewPrivateKeyFromInt(new(big.Int).SetBytes(d[:]))
	if err != nil {
		t.Fatal(err)
	}
	return fixedKey{k}
}

// vectorEntries are two batches; the entries use most fields.
func vectorEntries() [][]Entry {
	rows, prev := 0, uint64(1)
	return [][]Entry{
		{{Open: Open{ID: "01KA8Z0000000000000000000A", Op: OpLogOpen}}},
		{{
			Open: Open{ID: "01KA8Z0000000000000000000B", Op: OpQuery, Phase: PhaseIntent,
				Subjects:   []SubjectRef{{Type: SubjectIDNumber, Epoch: "2026q4", P: "AAECAwQFBgcICQoLDA0ODw==", Role: "applicant"}},
				Department: "690100000012", Item: "690100-SUBSIDY", Case: "2026-000123", Basis: "statute", Purpose: "subsidy-review",
				Fields: []string{"months", "status"}, Exchange: "Y2026110100017", Release: 7, Disclose: DiscloseNow},
			Closed: Closed{Actor: "clerk-7", Role: "clerk", Auth: "certificate", Workstation: "w-12", IP: "10.1.2.3",
				Legs: []string{"a1", "b2"}, Digests: map[string]string{"request": "00ff", "answer": "11ee"}},
		}, {
			Open: Open{ID: "01KA8Z0000000000000000000C", Op: OpQuery, Phase: PhaseDone, Outcome: OutcomeAnswered, Millis: 412,
				Exchange: "Y2026110100017", Prev: &prev},
			Closed: Closed{Result: "NOT_FOUND", Rows: &rows},
		}},
	}
}

// buildVectors makes everything from the key and the entries.
func buildVectors(t *testing.T) vectors {
	k := vectorKey(t)
	v := vectors{Note: "Test vectors of docs/protocol/audit-log.md. Text is text, other values are lower hex.", Origin: testOrigin}
	v.PrivateKey = hex.EncodeToString(k.D.FillBytes(make([]byte, 32)))
	v.KeyID, _ = KeyID(k.Public())
	v.KeyHash, _ = noteKeyHash(testOrigin, k.Public())
	created := time.Date(2026, 11, 1, 1, 0, 0, 0, time.UTC).UnixMicro()
	m, err := newMeta(Config{Origin: testOrigin, Signer: k, SegmentSize: 64 << 20}, created)
	if err != nil {
		t.Fatal(err)
	}
	v.SPKI = m.Keys[0].SPKI
	metaNote, err := m.sign(k)
	if err != nil {
		t.Fatal(err)
	}
	v.LogJSON = string(metaNote)

	var tree frontier
	store := &tileStore{}
	prev, us := metaDigest(metaNote), created
	v.Roots = append(v.Roots, hex.EncodeToString((Hash(tree.root())).bytes()))
	var head SignedHead
	for _, batch := range vectorEntries() {
		var vb vectorBatch
		var body []byte
		first := tree.size
		for _, e := range batch {
			us += 1500
			e.Open.V, e.Open.Time = Version, minTime
			var salt [SaltSize]byte
			sum := sm3.Sum([]byte{byte(tree.size)})
			copy(salt[:], sum[:])
			var r request
			if err := r.assemble(&e.Open, &e.Closed, salt); err != nil {
				t.Fatal(err)
			}
			enc := &r.entries[0]
			leaf := r.stamp(enc, us, new(hasher))
			stored := string(r.body[enc.at:])
			open, line2, _ := strings.Cut(strings.TrimSuffix(stored, "\n"), "\n")
			_, closed, _ := strings.Cut(line2, " ")
			tree.add(leaf, func(level uint, _ uint64, h *Hash) { store.add(level, *h) })
			v.Roots = append(v.Roots, hex.EncodeToString(tree.root().bytes()))
			vb.Entries = append(vb.Entries, vectorEntry{Open: open, Closed: closed,
				Salt: hex.EncodeToString(salt[:]), Stored: stored, Leaf: hex.EncodeToString(leaf[:])})
			body = append(body, r.body...)
		}
		h := Head{Origin: testOrigin, Size: tree.size, Root: tree.root(), Time: us, Prev: prev}
		prev = h.digest()
		sig, err := k.SignMessage(h.Text())
		if err != nil {
			t.Fatal(err)
		}
		head = SignedHead{Head: h, KeyHash: v.KeyHash, Signature: sig}
		checkpoint, _ := head.MarshalText()
		frame := finishFrame(append(appendHeader(nil, first, len(batch), len(body)), body...), h, sig)
		vb.HeadBytes, vb.Checkpoint, vb.Frame = hex.EncodeToString(h.appendTo(nil)), string(checkpoint), hex.EncodeToString(frame)
		v.Batches = append(v.Batches, vb)
		v.Record += string(checkpointRecord(uint64(len(v.Batches)-1), checkpoint))
	}
	path, err := inclusionPath(1, tree.size, store.node)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := store.node(0, 1)
	r := Receipt{Origin: testOrigin, Index: 1, Leaf: leaf, Head: head, Proof: path}
	text, _ := r.MarshalText()
	v.Receipt, v.Pointer = string(text), r.Pointer().String()
	for _, c := range []vectorTile{{Level: 0, N: 0, Width: 3}, {Level: 0, N: 999, Width: 256}, {Level: 1, N: 1000, Width: 256}, {Level: 2, N: 1234067, Width: 17}} {
		c.Path = tilePath(c.Level, c.N, c.Width)
		v.Tiles = append(v.Tiles, c)
	}
	v.Pseudonyms = buildPseudonyms(t)
	return v
}

func (h Hash) bytes() []byte { return h[:] }

// The sample numbers belong to nobody: there is no area code 690101.
func buildPseudonyms(t *testing.T) vectorPseudonyms {
	key := sm3.Sum([]byte("pseudonym key"))
	out := vectorPseudonyms{Key: hex.EncodeToString(key[:])}
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	for _, c := range []vectorPseudonym{
		{Type: "idno", Number: "690101199003075114", At: "2026-11-01T09:00:00+08:00"},
		{Type: "111", Number: "69010119900307500x", At: "2026-09-30T16:00:00Z"},
		{Type: "", Number: "６９０１０１ 1990 0307 500Ｘ", At: "2026-11-01T09:00:00+08:00"},
		{Type: "idno", Number: "690101900307511", At: "2026-11-01T09:00:00+08:00"},
		{Type: "idno", Number: "690101199003075115", At: "2026-11-01T09:00:00+08:00"},
		{Type: "uscc", Number: "12690000MB0000001a", At: "2026-11-01T09:00:00+08:00"},
	} {
		at, err := time.Parse(time.RFC3339, c.At)
		if err != nil {
			t.Fatal(err)
		}
		if c.Kind, c.Norm, err = normalise(c.Type, c.Number); err != nil {
			t.Fatal(err)
		}
		writeTest(t, filepath.Join(dir, c.Kind+"-"+Quarter(at)+".key"), []byte(out.Key+"\n"))
		p, err := OpenPseudonyms(dir)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := p.Of(c.Type, c.Number, at)
		if err != nil {
			t.Fatal(err)
		}
		c.Epoch, c.P = ref.Epoch, ref.P
		out.Cases = append(out.Cases, c)
	}
	return out
}

func TestFormatsAreThoseOfTheVectors(t *testing.T) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	v := buildVectors(t)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *updateVectors {
		if err := os.WriteFile(vectorsFile, buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := readTest(t, vectorsFile); !bytes.Equal(want, buf.Bytes()) {
		t.Errorf("formats changed: this package makes\n%s", buf.Bytes())
	}
	r, err := ParseReceipt([]byte(v.Receipt))
	if err == nil {
		err = r.Verify(vectorKey(t).Public(), r.Leaf)
	}
	if err != nil {
		t.Errorf("receipt: %v", err)
	}
	c := chain{origin: testOrigin, prev: metaDigest([]byte(v.LogJSON))}
	for _, b := range v.Batches {
		raw, _ := hex.DecodeString(b.Frame)
		f, err := parseFrame(testOrigin, raw)
		if err == nil {
			err = c.follow(f, nil, nil)
		}
		if err != nil {
			t.Errorf("frame: %v", err)
		}
	}
}

// TestTreeHasTheShapeOfRFC6962 leans on the known roots of the certificate
// transparency reference for the shape, and goes over to SM3 by exchanging
// nothing but the hash.
func TestTreeHasTheShapeOfRFC6962(t *testing.T) {
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := map[int]string{
		1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	sha := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for i, l := range leaves {
		raw, _ := hex.DecodeString(l)
		if err := sha.Append(rfc6962.DefaultHasher.HashLeaf(raw), nil); err != nil {
			t.Fatal(err)
		}
		root, err := sha.GetRootHash(nil)
		if want := roots[i+1]; err != nil || want != "" && hex.EncodeToString(root) != want {
			t.Fatalf("SHA-256 root of %d leaves is %x", i+1, root)
		}
	}
	ours, gm := frontier{}, (&compact.RangeFactory{Hash: sm3Hasher{}.HashChildren}).NewEmptyRange(0)
	if root := ours.root(); hex.EncodeToString(root[:]) != "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b" {
		t.Errorf("root of nothing is %x", root)
	}
	for i := range 300 {
		leaf := leafOf([]byte{byte(i), byte(i >> 8)})
		ours.add(leaf, nil)
		if err := gm.Append(leaf[:], nil); err != nil {
			t.Fatal(err)
		}
		want, err := gm.GetRootHash(nil)
		if got := ours.root(); err != nil || !bytes.Equal(got[:], want) {
			t.Fatalf("root of %d leaves is %x, want %x", i+1, got, want)
		}
	}
}

// noteVerifier lets the note package of the Go team judge our notes.
type noteVerifier struct {
	keyHash uint32
	pub     *ecdsa.PublicKey
}

func (n noteVerifier) Name() string    { return testOrigin }
func (n noteVerifier) KeyHash() uint32 { return n.keyHash }
func (n noteVerifier) Verify(msg, sig []byte) bool {
	return sm2.VerifyASN1WithSM2(n.pub, nil, msg, sig)
}

func TestCheckpointsAreSignedNotes(t *testing.T) {
	v := buildVectors(t)
	verifier := noteVerifier{v.KeyHash, vectorKey(t).Public()}
	for _, text := range []string{v.LogJSON, v.Batches[0].Checkpoint, v.Batches[1].Checkpoint} {
		n, err := note.Open([]byte(text), note.VerifierList(verifier))
		if err != nil || len(n.Sigs) != 1 {
			t.Errorf("%v in\n%s", err, text)
		}
	}
}
