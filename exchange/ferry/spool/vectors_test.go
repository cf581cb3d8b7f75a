package spool

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"

	"yizheng/identity/jose"
)

var update = flag.Bool("update", false, "write the test vectors anew: only when a format is meant to change")

const vectorFile = "../../../docs/protocol/vectors/gap-spool.json"

// gapVectors is docs/protocol/vectors/gap-spool.json. Signatures are random;
// everything else is exact.
type gapVectors struct {
	Note       string        `json:"note"`
	PrivateHex string        `json:"private_hex"`
	PublicPEM  string        `json:"public_pem"`
	KeyID      string        `json:"key_id"`
	Files      []fileVector  `json:"files"`
	Tree       treeVector    `json:"tree"`
	Refused    []refusalCase `json:"refused"`
}

type fileVector struct {
	What   string `json:"what"`
	Name   string `json:"name"`
	Body   string `json:"body_hex"`
	Signed string `json:"unsigned_hex"` // all before SM3
	Digest string `json:"sm3_hex"`
	File   string `json:"file_hex"`
	XML    string `json:"xml,omitempty"`
}

type treeVector struct {
	IDs       []string `json:"record_ids"`
	FileRoot  string   `json:"file_root_hex"`
	Seqs      []uint64 `json:"file_sequences"` // all with file_root_hex
	Root      string   `json:"period_root_hex"`
	EmptyRoot string   `json:"empty_root_hex"`
}

type refusalCase struct {
	What string `json:"what"`
	File string `json:"file_hex"`
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile(vectorFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	var old gapVectors
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &old); err != nil {
			t.Fatal(err)
		}
	}
	fresh := computeVectors(t, old)
	got, err := json.MarshalIndent(fresh, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(vectorFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, raw) {
		t.Errorf("%s differs from what the program writes", vectorFile)
	}
	key := vectorKey(t)
	for _, v := range fresh.Files {
		data, _ := hex.DecodeString(v.File)
		f, signature, err := ParseFile(data)
		if err != nil || f.Verify(signature, only(key)) != nil {
			t.Errorf("%s: not believed: %v", v.What, err)
		} else if f.name().file("dat") != v.Name {
			t.Errorf("%s: name %s", v.What, f.name().file("dat"))
		}
		if v.XML != "" {
			if wrapped, _, err := parseWrapped([]byte(v.XML)); err != nil || wrapped.Digest != f.Digest {
				t.Errorf("%s: XML: %v", v.What, err)
			}
		}
	}
	for _, v := range fresh.Refused {
		data, _ := hex.DecodeString(v.File)
		f, signature, err := ParseFile(data)
		if err == nil {
			err = f.Verify(signature, only(key))
		}
		if err == nil {
			t.Errorf("%s: believed", v.What)
		}
	}
}

func vectorKey(t *testing.T) *jose.Key {
	t.Helper()
	private, err := sm2.NewPrivateKey(bytes.Repeat([]byte{0x22}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return jose.NewKey(private)
}

func computeVectors(t *testing.T, old gapVectors) gapVectors {
	key := vectorKey(t)
	pub, err := jose.MarshalPublicKeyPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	v := gapVectors{
		Note:       "The key is for tests only. Signatures are random: verify them; all other members are exact.",
		PrivateHex: hex.EncodeToString(bytes.Repeat([]byte{0x22}, 32)), PublicPEM: string(pub), KeyID: key.ID(),
	}
	for i, s := range samples() {
		unsigned := s.file
		if _, err := unsigned.Marshal(key); err != nil { // sets KeyID and Digest
			t.Fatal(err)
		}
		one := fileVector{What: s.what, Name: unsigned.name().file("dat"), Body: hex.EncodeToString(unsigned.Body),
			Signed: hex.EncodeToString(unsigned.appendUnsigned(nil)), Digest: hex.EncodeToString(unsigned.Digest[:])}
		data := previousSpelling(old, i, one)
		if data == nil {
			if data, err = unsigned.Marshal(key); err != nil {
				t.Fatal(err)
			}
		}
		one.File = hex.EncodeToString(data)
		if s.file.Kind == Data {
			one.XML = string(unsigned.wrap(data))
		}
		v.Files = append(v.Files, one)
	}
	v.Tree = computeTree()
	v.Refused = spoil(t, v.Files[0].File)
	return v
}

// previousSpelling is the signed file of the committed vectors if it is of the
// same content.
func previousSpelling(old gapVectors, i int, v fileVector) []byte {
	if i >= len(old.Files) || old.Files[i].Signed != v.Signed {
		return nil
	}
	data, _ := hex.DecodeString(old.Files[i].File)
	return data
}

type sampleFile struct {
	what string
	file File
}

func samples() []sampleFile {
	const epoch, at = 1_790_000_000_000, 1_790_000_060_000
	body := appendRecord(nil, Message{ID: "20261122-00-000001/L1/1", NotAfter: time.UnixMilli(at + 90_000),
		Headers: map[string]string{"yz-exchange": "20261122-00-000001", "yz-leg": "L1"}, Body: []byte("sealed envelope 1")})
	body = appendRecord(body, Message{ID: "b", NotAfter: time.UnixMilli(at + 60_000)})
	data := func(kind Kind, seq uint64, body []byte) File {
		return File{Kind: kind, Channel: "CITY_POLICE", Epoch: epoch, Seq: seq, Created: at, NotAfter: at + 3_600_000, Body: body}
	}
	first := data(Data, 1, body)
	first.Count, first.NotAfter = 2, at+90_000
	second := data(Data, 2, appendRecord(nil, Message{ID: "c", NotAfter: time.UnixMilli(at + 90_000), Body: []byte{0xff}}))
	second.Count, second.NotAfter, second.Previous = 1, at+90_000, sm3.Sum([]byte("digest of the file before"))
	w := newWindow(epoch)
	for _, seq := range []uint64{1, 2, 3, 5, 12} {
		w.mark(seq, &received{digest: sm3.Sum([]byte{byte(seq)})})
	}
	w.mark(6, &received{void: Expired})
	return []sampleFile{
		{"two records", first}, {"one record, second file", second},
		{"ack: 1 to 3, 5, 6 (voided) and 12", data(Ack, 1, ackBody{w.ack()}.marshal())},
		{"nack: 4 and 7 to 11", data(Nack, 2, nackBody{epoch, []Range{{4, 4}, {7, 11}}}.marshal())},
		{"void: 7 to 9 have expired", data(Void, 3, voidBody{epoch, Range{7, 9}, Expired, sm3.Sum([]byte{9})}.marshal())},
		{"heartbeat", data(Beat, 4, beatBody{epoch, 12, 3, 4096, 1500, -1}.marshal())},
		{"reconciliation", data(Reconcile, 5, reckoning{epoch, epoch, epoch + 3_600_000, 1, 12, 12, 3000, sm3.Sum([]byte("root")), nil}.marshal())},
		{"account: 4 is missing", data(Account, 6, reckoning{epoch, epoch, epoch + 3_600_000, 1, 12, 11, 2900, sm3.Sum([]byte("other")), []Range{{4, 4}}}.marshal())},
	}
}

func computeTree() treeVector {
	v := treeVector{IDs: []string{"a", "b", "c"}, Seqs: []uint64{4, 5, 6, 9, 10}}
	var messages []Message
	for _, id := range v.IDs {
		messages = append(messages, Message{ID: id})
	}
	root := recordsRoot(messages)
	var leaves [][32]byte
	for _, seq := range v.Seqs {
		leaves = append(leaves, fileLeaf(seq, root))
	}
	period, empty := treeRoot(leaves), treeRoot(nil)
	v.FileRoot, v.Root, v.EmptyRoot = hex.EncodeToString(root[:]), hex.EncodeToString(period[:]), hex.EncodeToString(empty[:])
	return v
}

func spoil(t *testing.T, good string) []refusalCase {
	data, err := hex.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	change := func(i int) string {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		return hex.EncodeToString(bad)
	}
	return []refusalCase{
		{"version 0", change(4)}, {"flags", change(7)}, {"a body byte changed", change(150)},
		{"digest changed", change(len(data) - 80)}, {"signature changed", change(len(data) - 1)},
		{"cut off", hex.EncodeToString(data[:len(data)-1])}, {"a byte more", hex.EncodeToString(append(bytes.Clone(data), 0))},
	}
}
