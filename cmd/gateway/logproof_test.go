package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/identity/jose"
	"yizheng/seal"
)

// TestVerifyOnline_HoldsTheAnswerAgainstTheLogsKey: with the key of the log, an answer
// that is not proved speaks against the document, however friendly it is.
func TestVerifyOnline_HoldsTheAnswerAgainstTheLogsKey(t *testing.T) {
	o := newOffice(t)
	key, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: filepath.Join(t.TempDir(), "2026q4"), Origin: "gw00.test/audit/2026q4", Signer: key, SegmentSize: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	told := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // by the gateway
	digest := bytes.Repeat([]byte{1}, 32)
	issue := func(number string, digest []byte) (leaf map[string]any, receipt audit.Receipt) {
		receipts, err := log.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpIssue, Number: number, Digest: base64.StdEncoding.EncodeToString(digest)}})
		if err != nil {
			t.Fatal(err)
		}
		stored, receipt, err := log.Entry(t.Context(), receipts[0].Index)
		if err != nil {
			t.Fatal(err)
		}
		text, err := receipt.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		closed := stored.ClosedHash()
		return map[string]any{"number": someNumber, "state": "valid", "matches": true, "recorded": told,
			"receipt": string(text), "open": string(stored.OpenJSON), "closed": closed[:]}, receipt
	}
	good, first := issue(someNumber, digest)
	ofOther, _ := issue("690100202611220004K7M2XQ9R2", digest)
	ofOtherFile, second := issue(someNumber, bytes.Repeat([]byte{2}, 32))
	with := func(from map[string]any, changes ...any) map[string]any {
		m := maps.Clone(from)
		for i := 0; i < len(changes); i += 2 {
			m[changes[i].(string)] = changes[i+1]
		}
		return m
	}
	file := func(name string, r audit.Receipt) string {
		text, err := r.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(o.dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own, of := pinned(t, o.dir, "log", key), file("first", first)
	stranger, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	other := pinned(t, o.dir, "stranger", stranger)
	for _, tt := range []struct {
		name, keys, kept string
		answer           map[string]any
		result           seal.Result // "": nothing is to be proved
		says             string
	}{
		{"proved", own, "", good, seal.OK, "proved: the issue of this very document"},
		{"under one of two keys", other + "," + own, "", good, seal.OK, "only told: whether it is withdrawn"},
		{"and by the receipt that was kept", own, of, good, seal.OK, "proved"},
		{"no key: only told", "", "", good, "", ""},
		{"withdrawn all the same", own, "", with(good, "state", "withdrawn", "withdrawn", "2026-11-22T01:00:00Z"), seal.OK, "proved"},
		{"another log's key", other, "", good, seal.Fail, "not proved"},
		{"no receipt", own, "", with(good, "receipt", ""), seal.Fail, "no proof was given"},
		{"garbage for a receipt", own, "", with(good, "receipt", "no"), seal.Fail, "not proved"},
		{"no record", own, "", with(good, "open", "", "closed", nil), seal.Fail, "not whole"},
		{"record changed", own, "", with(good, "open", strings.Replace(good["open"].(string), `"ts":`, `"ts": `, 1)), seal.Fail, "not proved"},
		{"receipt of another record", own, "", with(good, "receipt", ofOther["receipt"]), seal.Fail, "not proved"},
		{"record of another number", own, "", ofOther, seal.Fail, "not of the issue of this document"},
		{"record of another file", own, "", ofOtherFile, seal.Fail, "not of the issue of this document"},
		{"issued to another file", own, "", with(good, "matches", false), seal.Fail, "does not say that it issued this very document"},
		{"not issued", own, "", map[string]any{"number": someNumber, "state": "unknown"}, seal.Fail, "does not say that it issued this very document"},
		{"no answer of a gateway", own, "", map[string]any{}, seal.Fail, "could not be asked"},
		{"the receipt that was kept is of another", own, file("second", second), good, seal.Fail, "receipt that was kept is of another"},
	} {
		issuer, err := newIssuer(o.URL, filepath.Join(o.dir, "ca.crt"), tt.keys, tt.kept)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(map[string]any{"record": tt.answer})
		if err != nil {
			t.Fatal(err)
		}
		o.record = string(raw)
		got := issuer.look(t.Context(), someNumber, digest)
		withdrawn := tt.answer["state"] == "withdrawn"
		switch {
		case tt.result == "":
			if got.Log != nil || got.bad() || got.recorded.IsZero() {
				t.Errorf("%s: %+v", tt.name, got)
			}
		case got.Log == nil || got.Log.Result != tt.result || got.bad() != (tt.result != seal.OK || withdrawn) || !strings.Contains(got.Log.Reason.EN, tt.says):
			t.Errorf("%s: %+v %+v", tt.name, got, got.Log)
		case (tt.result == seal.OK) == got.recorded.IsZero(), got.recorded.Equal(told):
			t.Errorf("%s: recorded %v", tt.name, got.recorded)
		}
	}
	issuer, err := newIssuer(o.URL, filepath.Join(o.dir, "ca.crt"), own, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := issuer.look(t.Context(), "", nil); got.Log == nil || got.Log.Result != seal.Fail || !strings.Contains(got.Log.Reason.EN, "no certificate number") {
		t.Errorf("a document without a number: %+v", got.Log)
	}
	if _, err := newIssuer(o.URL, filepath.Join(o.dir, "ca.crt"), filepath.Join(o.dir, "nosuch"), ""); err == nil || !strings.Contains(err.Error(), "-log-key") {
		t.Errorf("no such key: %v", err)
	}
}

// pinned writes the public half of a log's key.
func pinned(t *testing.T, dir, name string, key *jose.Key) string {
	t.Helper()
	text, err := jose.MarshalPublicKeyPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name+".pub.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
