package audit

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
)

// texts are what a code may be, and what it should not but could.
var texts = []string{"", "a", "690100-SUBSIDY", "2026q4", `"`, `\`, "<b>&amp;", "\x00\x1f\b\f\n\r\t\x7f", "养老保险", "\u2028\u2029", "\xff\xc3", "𬸚é"}

// fillRandomly gives every field of a value, whatever fields there will be, a
// value or none.
func fillRandomly(t *testing.T, r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(texts[r.IntN(len(texts))] + texts[r.IntN(len(texts))])
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{0, 1, -7, 1 << 40}[r.IntN(4)])
	case reflect.Uint64:
		v.SetUint([]uint64{0, 3, 1<<64 - 1}[r.IntN(3)])
	case reflect.Pointer:
		if r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fillRandomly(t, r, v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 4))
		for i := range v.Len() {
			fillRandomly(t, r, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(4) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fillRandomly(t, r, key)
			fillRandomly(t, r, value)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fillRandomly(t, r, v.Field(i))
		}
	default:
		t.Fatalf("no random %v", v.Type())
	}
}

func TestEntriesAreWrittenAsEncodingJSONWritesThem(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 8))
	entries := []Entry{{}, benchEntry(1)}
	for _, batch := range vectorEntries() {
		entries = append(entries, batch...)
	}
	for range 3000 {
		var e Entry
		fillRandomly(t, r, reflect.ValueOf(&e).Elem())
		entries = append(entries, e)
	}
	for _, e := range entries {
		open, err := json.Marshal(e.Open)
		if got := e.Open.appendTo([]byte("x")); err != nil || string(got) != "x"+string(open) {
			t.Fatalf("open half, %v:\n%s\n%s", err, got, open)
		}
		closed, err := json.Marshal(e.Closed)
		if got := e.Closed.appendTo([]byte("x")); err != nil || string(got) != "x"+string(closed) {
			t.Fatalf("closed half, %v:\n%s\n%s", err, got, closed)
		}
	}
}

// Two ways to the same paths: the batch's own nodes, and the proofs of
// transparency-dev/merkle out of the tiles.
func TestReceiptsOfABatchAreThoseOfTheWholeTree(t *testing.T) {
	var tree frontier
	store := &tileStore{}
	r := rand.New(rand.NewPCG(5, 9))
	for tree.size < 5000 {
		count := 1 + r.IntN(1+r.IntN(300))
		b := newBatch(&tree, count)
		for range count {
			leaf := leafOf([]byte{byte(tree.size), byte(tree.size >> 8)})
			tree.add(leaf, b.take)
		}
		store.addBatch(b)
		b.head.Size = tree.size
		receipts, err := b.receipts(b.start, count)
		if err != nil {
			t.Fatal(err)
		}
		for _, have := range receipts {
			want, err := inclusionPath(have.Index, tree.size, store.node)
			if err != nil || !reflect.DeepEqual(append([]Hash{}, have.Proof...), want) {
				t.Fatalf("entry %d of %d, batch from %d: %v", have.Index, tree.size, b.start, err)
			}
		}
	}
}
