package spool

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm3"
)

func sample() *File {
	m := Message{ID: "x1/leg-2", Headers: map[string]string{"kind": "request", "to": "police"}, Body: []byte{0, 1, 2}, NotAfter: time.UnixMilli(1_800_000_000_000)}
	return &File{Kind: Data, Channel: "CITY_POLICE", Epoch: 1_790_000_000_000, Seq: 7, Previous: sm3.Sum([]byte("before")),
		Created: 1_790_000_000_123, NotAfter: 1_800_000_000_000, Count: 1, Body: appendRecord(nil, m)}
}

func TestAFileReadsBackAsItWasWritten(t *testing.T) {
	f := sample()
	data, err := f.Marshal(keyA)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		data  []byte
		parse func([]byte) (*File, []byte, error)
	}{"bare": {data, ParseFile}, "in XML": {f.wrap(data), parseWrapped}} {
		got, signature, err := c.parse(c.data)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !reflect.DeepEqual(got, f) {
			t.Errorf("%s: %+v, want %+v", what, got, f)
		}
		if err := got.Verify(signature, only(keyA)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := got.Verify(signature, only(keyB)); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: another key's Verify: %v", what, err)
		}
	}
	if n := len(f.wrap(data)); n > wrappedSize(len(data)) || unwrappedSize(wrappedSize(len(data))) < len(data) {
		t.Errorf("wrapped: %d bytes, bound %d", n, wrappedSize(len(data)))
	}
}

func TestAnyChangedByteOfAFileIsFound(t *testing.T) {
	data, err := sample().Marshal(keyA)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x20
		f, signature, err := ParseFile(bad)
		if err == nil {
			err = f.Verify(signature, only(keyA))
		}
		if err == nil {
			t.Errorf("byte %d changed: accepted", i)
		}
	}
	for i := range data {
		if _, _, err := ParseFile(data[:i]); err == nil {
			t.Errorf("cut off at %d: accepted", i)
		}
	}
}

func TestFilesThatTheFormatForbidsAreRefused(t *testing.T) {
	for what, change := range map[string]func(*File){
		"unknown kind":           func(f *File) { f.Kind = 9 },
		"no epoch":               func(f *File) { f.Epoch = 0 },
		"no sequence":            func(f *File) { f.Seq = 0 },
		"sequence beyond int64":  func(f *File) { f.Seq = 1 << 63 },
		"channel in lower case":  func(f *File) { f.Channel = "city" },
		"channel like a control": func(f *File) { f.Channel = "CITY_ACK" },
		"not-after before birth": func(f *File) { f.NotAfter = f.Created - 1 },
		"no records":             func(f *File) { f.Count = 0 },
		"too many records":       func(f *File) { f.Count = MaxRecords + 1 },
		"control with records":   func(f *File) { f.Kind = Ack },
	} {
		f := sample()
		change(f)
		data, err := f.Marshal(keyA)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ParseFile(data); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNames(t *testing.T) {
	const good = "CITY_POLICE-1790000000000-00000000000000000007.dat"
	n, ok := parseName(good, "dat")
	if want := (name{"CITY_POLICE", Data, 1_790_000_000_000, 7}); !ok || n != want || n.file("dat") != good {
		t.Errorf("%+v, %v", n, ok)
	}
	for kind, file := range map[Kind]string{
		Ack: "C_ACK-1790000000000-00000000000000000001.xml", Nack: "C_NACK-1790000000000-00000000000000000001.xml",
		Account: "C_ACCOUNT-1790000000000-00000000000000000001.xml",
	} {
		if n, ok := parseName(file, "xml"); !ok || n.kind != kind || n.channel != "C" {
			t.Errorf("%s: %+v, %v", file, n, ok)
		}
	}
	for _, bad := range []string{
		"", "dat", ".dat", "C-1-2.dat", "C-1790000000000-7.dat", "c-1790000000000-00000000000000000007.dat",
		"C-1790000000000-00000000000000000007.txt", "C-1790000000000-00000000000000000000.dat",
		"C-01790000000000-00000000000000000007.dat", "C-1790000000000-00000000000000000007.dat.dat",
		"C_-1790000000000-00000000000000000007.dat", "../C-1790000000000-00000000000000000007.dat",
		"C-1790000000000--0000000000000000007.dat", "C-+790000000000-00000000000000000007.dat",
	} {
		if n, ok := parseName(bad, "dat"); ok {
			t.Errorf("%q: %+v", bad, n)
		}
	}
}

func TestAcknowledgementsSayExactlyWhatWasReceived(t *testing.T) {
	for what, got := range map[string][]uint64{
		"nothing": {}, "the first": {1}, "not the first": {2}, "with gaps": {1, 2, 3, 5, 8, 13, 14, 15, 16, 17, 100}, "the window's end": {Window},
	} {
		w := newWindow(1)
		for _, seq := range got {
			w.mark(seq, &received{})
		}
		body, err := parseAck(ackBody{w.ack()}.marshal())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for seq := uint64(1); seq <= Window+1; seq++ {
			if body[0].has(seq) != slices.Contains(got, seq) {
				t.Errorf("%s: has(%d) is %v", what, seq, body[0].has(seq))
			}
		}
		if highest := body[0].highest(); len(got) > 0 && highest != slices.Max(got) {
			t.Errorf("%s: highest %d", what, highest)
		}
	}
}

func TestControlBodiesReadBackAndRefuseNonsense(t *testing.T) {
	nack := nackBody{5, []Range{{1, 1}, {3, 9}}}
	void := voidBody{5, Range{3, 4}, Expired, sm3.Sum(nil)}
	beat := beatBody{5, 6, 7, 8, 9, -1}
	k := reckoning{5, 1000, 2000, 3, 4, 2, 512, sm3.Sum(nil), []Range{{3, 3}}}
	for what, c := range map[string]struct {
		body  []byte
		want  any
		parse func([]byte) (any, error)
	}{
		"nack":      {nack.marshal(), nack, func(b []byte) (any, error) { return parseNack(b) }},
		"void":      {void.marshal(), void, func(b []byte) (any, error) { return parseVoid(b) }},
		"beat":      {beat.marshal(), beat, func(b []byte) (any, error) { return parseBeat(b) }},
		"reckoning": {k.marshal(), k, func(b []byte) (any, error) { return parseReckoning(b) }},
	} {
		if got, err := c.parse(c.body); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		for i := range c.body {
			if _, err := c.parse(c.body[:i]); !errors.Is(err, ErrFormat) {
				t.Errorf("%s cut off at %d: %v", what, i, err)
			}
		}
		if _, err := c.parse(append(bytes.Clone(c.body), 0)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s with a byte more: %v", what, err)
		}
	}
	for what, body := range map[string][]byte{
		"ranges that overlap":  nackBody{5, []Range{{1, 3}, {3, 4}}}.marshal(),
		"a range backwards":    nackBody{5, []Range{{3, 1}}}.marshal(),
		"a question for none":  nackBody{5, nil}.marshal(),
		"a question for zero":  nackBody{5, []Range{{0, 1}}}.marshal(),
		"a question, no epoch": nackBody{0, []Range{{1, 1}}}.marshal(),
	} {
		if _, err := parseNack(body); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestJournalSurvivesACutAndRefusesDamage(t *testing.T) {
	path := t.TempDir() + "/j"
	read := func() (seqs []uint64, err error) {
		j, err := openJournal(path, false, func(e entry) error { seqs = append(seqs, e.Seq); return nil })
		if err == nil {
			j.close()
		}
		return seqs, err
	}
	j, err := openJournal(path, true, func(entry) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(3) {
		if err := j.append(entry{Op: opSent, Epoch: 1, Seq: seq + 1}, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.rewrite([]entry{{Op: opCursor, Epoch: 1, Seq: 9}}, func(e *entry) bool { return e.Seq > 1 }); err != nil {
		t.Fatal(err)
	}
	j.close()
	whole, _ := os.ReadFile(path)
	for cut := range whole {
		if err := os.WriteFile(path, whole[:len(whole)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		seqs, err := read()
		if want := []uint64{9, 2, 3}[:len(seqs)]; err != nil || !slices.Equal(seqs, want) || cut == 0 && len(seqs) != 3 {
			t.Fatalf("cut by %d: %v, %v", cut, seqs, err)
		}
	}
	whole[12] ^= 1
	os.WriteFile(path, whole, 0o600)
	if _, err := read(); !errors.Is(err, ErrState) {
		t.Errorf("damage in the middle: %v", err)
	}
}

func FuzzParseFile(f *testing.F) {
	data, err := sample().Marshal(keyA)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:40])
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, signature, err := ParseFile(b)
		if err != nil {
			return
		}
		// What was accepted has exactly one spelling.
		again := append(file.appendUnsigned(nil), file.Digest[:]...)
		again = append(append(again, byte(len(signature))), signature...)
		if !bytes.Equal(again, b) {
			t.Errorf("two spellings:\n%s\n%s", hex.EncodeToString(b), hex.EncodeToString(again))
		}
		if messages, err := parseRecords(file.Body, file.Count); err == nil {
			var body []byte
			for _, m := range messages {
				if err := checkMessage(m); err != nil {
					t.Error(err)
				}
				body = appendRecord(body, m)
			}
			if !bytes.Equal(body, file.Body) {
				t.Error("records have two spellings")
			}
		}
	})
}

func FuzzParseRecords(f *testing.F) {
	f.Add(sample().Body, 1)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		messages, err := parseRecords(b, n)
		if err != nil {
			return
		}
		var again []byte
		for _, m := range messages {
			again = appendRecord(again, m)
		}
		if len(messages) != n || !bytes.Equal(again, b) {
			t.Error("records have two spellings")
		}
	})
}

func FuzzParseWrapped(f *testing.F) {
	s := sample()
	data, err := s.Marshal(keyA)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.wrap(data))
	f.Add([]byte(`<?xml version="1.0"?><file xmlns="urn:yizheng:gap:1"><body/></file>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if file, _, err := parseWrapped(b); err == nil && !ValidChannel(file.Channel) {
			t.Error("invalid channel accepted")
		}
	})
}

func FuzzParseControl(f *testing.F) {
	w := newWindow(5)
	for _, seq := range []uint64{1, 4, 9} {
		w.mark(seq, &received{})
	}
	f.Add(ackBody{w.ack()}.marshal())
	f.Add(nackBody{5, []Range{{1, 1}, {3, 9}}}.marshal())
	f.Add(voidBody{5, Range{3, 4}, Expired, sm3.Sum(nil)}.marshal())
	f.Add(beatBody{5, 6, 7, 8, 9, -1}.marshal())
	f.Add(reckoning{5, 1000, 2000, 3, 4, 2, 512, sm3.Sum(nil), []Range{{3, 3}}}.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := parseAck(b); err == nil {
			if !bytes.Equal(a.marshal(), b) {
				t.Error("an ack has two spellings")
			}
			for _, e := range a {
				if e.highest() > 0 && !e.has(e.highest()) || e.has(e.highest()+1) {
					t.Error("an ack contradicts itself")
				}
			}
		}
		if n, err := parseNack(b); err == nil && !bytes.Equal(n.marshal(), b) {
			t.Error("a nack has two spellings")
		}
		if v, err := parseVoid(b); err == nil && !bytes.Equal(v.marshal(), b) {
			t.Error("a void has two spellings")
		}
		if v, err := parseBeat(b); err == nil && !bytes.Equal(v.marshal(), b) {
			t.Error("a beat has two spellings")
		}
		if k, err := parseReckoning(b); err == nil && !bytes.Equal(k.marshal(), b) {
			t.Error("a reckoning has two spellings")
		}
	})
}

func FuzzParseName(f *testing.F) {
	f.Add("CITY_POLICE-1790000000000-00000000000000000007.dat")
	f.Add("CITY_POLICE_NACK-1790000000000-00000000000000000007.dat")
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := parseName(s, "dat"); ok && (n.file("dat") != s || strings.ContainsAny(s, "/\\ ")) {
			t.Errorf("%q", s)
		}
	})
}
