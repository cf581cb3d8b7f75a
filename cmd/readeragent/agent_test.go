package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/identity"
)

func TestCardOnTheReaderIsAttested(t *testing.T) {
	g := newGateway(t)
	g.start()
	code := receive(t, g.codes)
	g.expect("connected")
	if shown := g.expect("pairing_code").Code; shown != code || len(code) != 6 || strings.Trim(code, "0123456789") != "" {
		t.Errorf("shown %q, sent %q", shown, code)
	}
	session := g.challenge(g.key, time.Minute, nil)
	g.expect("waiting")
	g.command("put li-yu") // a name beyond the BMP
	v, read := g.verify(receive(t, g.reads))
	if e := g.expect("read"); e.ReadSession != session || v.Challenge.ReadSession != session {
		t.Errorf("read session %q", e.ReadSession)
	}
	if read.Name.Reveal() != "李𬸚" || !v.Attestation.OperatorChecked || !v.Attestation.Simulated || len(read.UID) != 8 {
		t.Errorf("attestation %+v", v.Attestation)
	}

	t.Run("again only after removing it", func(t *testing.T) {
		session := g.challenge(g.key, postSpare+300*time.Millisecond, nil)
		if got := receive(t, g.fails); got != [2]string{session, codeNoCard} {
			t.Errorf("failure %v", got)
		}
		g.command("remove")
		g.command("put li-ming") // laid down before the challenge
		g.challenge(g.key, time.Minute, nil)
		again, read := g.verify(receive(t, g.reads))
		if again.Attestation.Seq <= v.Attestation.Seq || read.Name.Reveal() != "李明" {
			t.Errorf("sequence %d after %d", again.Attestation.Seq, v.Attestation.Seq)
		}
	})

	g.stop()
	for _, secret := range []string{"李", "690102", "1985", "1988", "人民路"} {
		if strings.Contains(g.output.String(), secret) {
			t.Errorf("standard output shows %q:\n%s", secret, g.output)
		}
	}
}

func TestExpiredCardIsRefusedHere(t *testing.T) {
	g := newGateway(t)
	g.start()
	g.command("put zheng-xiaoman")
	session := g.challenge(g.key, time.Minute, nil)
	if got := receive(t, g.fails); got != [2]string{session, codeExpired} {
		t.Errorf("failure %v", got)
	}
	if e := g.expect("failed"); e.Code != codeExpired || !strings.Contains(e.Message, "有效期") || !strings.Contains(e.Message, "expired") {
		t.Errorf("event %+v", e)
	}
}

func TestForeignChallengesGetNoAnswer(t *testing.T) {
	g := newGateway(t)
	g.start()
	g.command("put li-ming")
	g.challenge(newKey(t), time.Minute, nil)
	g.expect("error")
	g.challenge(g.key, time.Minute, func(c *identity.Challenge) { c.Workstation = "ws-02" })
	g.expect("error")
	g.challenge(g.key, time.Minute, func(c *identity.Challenge) { c.ReadSession = "another" })
	g.expect("error")
	g.challenge(g.key, time.Minute, func(c *identity.Challenge) {
		c.IssuedAt, c.Expires = c.IssuedAt-3_600_000, c.IssuedAt-3_500_000
	})
	g.expect("error")
	g.challenge(g.key, time.Minute, nil) // the card is still unread
	g.verify(receive(t, g.reads))
	if len(g.fails) != 0 || len(g.reads) != 0 {
		t.Error("a foreign challenge was answered")
	}
}

func TestRefusedAttestationIsToldApart(t *testing.T) {
	g := newGateway(t)
	g.status = 422
	g.start()
	g.command("put li-ming")
	g.challenge(g.key, time.Minute, nil)
	receive(t, g.reads)
	if e := g.expect("failed"); !strings.Contains(e.Message, "422") {
		t.Errorf("event %+v", e)
	}
}

func TestLostConnectionIsRenewedWithAnotherCode(t *testing.T) {
	g := newGateway(t)
	g.start()
	first := receive(t, g.codes)
	g.expect("connected")
	g.cut <- struct{}{}
	g.expect("disconnected")
	second := receive(t, g.codes)
	g.expect("connected")
	g.events <- message{"unpaired", "{}"}
	g.expect("unpaired")
	if third := receive(t, g.codes); first == second && second == third {
		t.Error("the pairing code stays the same")
	}
}

func TestGatewayWithAnotherKeyIsNotTrusted(t *testing.T) {
	g := newGateway(t)
	g.helloKey = newKey(t)
	g.start()
	g.expect("disconnected")
	g.stop()
	if strings.Contains(g.output.String(), `"connected"`) {
		t.Errorf("connected:\n%s", g.output)
	}
}

func TestGatewayOfAnotherAuthorityIsNotTrusted(t *testing.T) {
	g, other := newGateway(t), newGateway(t)
	g.config.CA = other.config.CA
	g.start()
	g.expect("disconnected")
	if len(g.codes) != 0 {
		t.Error("the agent sent its pairing code")
	}
}

func TestUnknownCommandsAreTold(t *testing.T) {
	g := newGateway(t)
	g.start()
	for _, line := range []string{"put nobody", "put li-xiaohe", "read 690102198503120016"} { // li-xiaohe has no card
		g.command(line)
		if e := g.expect("error"); strings.Contains(e.Message, "690102") {
			t.Errorf("event %+v", e)
		}
	}
	g.command("put li-ming")
	g.command("put wang-fang")
	g.expect("error")
}

func TestEverySampleCardParses(t *testing.T) {
	r, err := newSimulatedReader(testCards)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.cards) < 15 {
		t.Errorf("%d cards", len(r.cards))
	}
	layouts := make(map[identity.Layout]bool)
	for id, c := range r.cards {
		card, err := identity.ParseCard(c.text[:])
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		layouts[card.Layout] = true
		if err := card.CheckValidity(time.Now()); (err != nil) != (id == "zheng-xiaoman") {
			t.Errorf("%s: %v", id, err)
		}
	}
	if len(layouts) != 4 {
		t.Errorf("layouts %v", layouts)
	}
}

func TestSampleFileWithAMistakeNamesTheLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "people.yaml")
	text := "province: {any: thing}\npeople:\n  - id: a\n    layout: resident\n    nummer: \"690102198503120016\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := newSimulatedReader(path)
	if err == nil || !strings.Contains(err.Error(), path+":5:") || strings.Contains(err.Error(), "690102") {
		t.Errorf("error %v", err)
	}
}

func TestSequenceRisesOverRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sequence")
	now := time.Now()
	var last uint64
	for range 3 {
		s, err := openSequence(path, now)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			n, err := s.next()
			if err != nil || n <= last {
				t.Fatalf("%d after %d: %v", n, last, err)
			}
			last = n
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s, err := openSequence(path, now.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.next(); err != nil || n <= last {
		t.Errorf("after the loss of the file %d follows %d: %v", n, last, err)
	}
	if err := os.WriteFile(path, []byte("twelve"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openSequence(path, now); err == nil {
		t.Error("a damaged file was accepted")
	}
	if _, err := openSequence(filepath.Join(t.TempDir(), "missing", "sequence"), now); err == nil {
		t.Error("a file that cannot be written was accepted")
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".sequence-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestConfiguration(t *testing.T) {
	good := `mode: demo
gateway: https://localhost:8443
ca: a
certificate: b
key: c
gateway_key: d
agent_key: e
workstation: ws-01
reader: simulated
sam: f
cards: g
state: h
`
	cases := []struct{ name, text, want string }{
		{"good", good, ""},
		{"unknown key", good + "gatway: x\n", "readeragent.yaml:13:"},
		{"key twice", good + "mode: demo\n", "readeragent.yaml:13:"},
		{"list for a string", strings.Replace(good, "ca: a", "ca: [a]", 1), "readeragent.yaml:3:"},
		{"missing key", strings.Replace(good, "workstation: ws-01\n", "", 1), "workstation"},
		{"plain HTTP", strings.Replace(good, "https:", "http:", 1), "gateway"},
		{"production with the simulated reader", strings.Replace(good, "mode: demo", "mode: production", 1), "production"},
		{"no mode", strings.Replace(good, "mode: demo\n", "", 1), "mode"},
		{"unknown reader", strings.Replace(good, "reader: simulated", "reader: other", 1), "reader"},
		{"unknown operator check", good + "operator_check: sometimes\n", "operator_check"},
		{"empty", "", "mode"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "readeragent.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := loadConfig(path)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if c.want == "" {
				return
			}
			var stderr bytes.Buffer
			if code := run(context.Background(), []string{"-config", path}, strings.NewReader(""), io.Discard, &stderr); code != exitUsage || stderr.Len() == 0 {
				t.Errorf("exit code %d, said %q", code, stderr.String())
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"help":              {[]string{"-h"}, exitOK},
		"nothing":           {nil, exitUsage},
		"unknown flag":      {[]string{"-x"}, exitUsage},
		"no such file":      {[]string{"-config", "does-not-exist.yaml"}, exitUsage},
		"one word too many": {[]string{"-config", "a", "b"}, exitUsage},
	} {
		var stderr bytes.Buffer
		if code := run(context.Background(), c.args, strings.NewReader(""), io.Discard, &stderr); code != c.want {
			t.Errorf("%s: %d, want %d", name, code, c.want)
		}
		if name == "help" && !strings.Contains(stderr.String(), "Example: readeragent -config") {
			t.Errorf("help without example: %s", stderr.String())
		}
	}
	g := newGateway(t)
	g.config.AgentKey = "does-not-exist.pem"
	var stderr bytes.Buffer
	if code := run(context.Background(), []string{"-config", g.writeConfig()}, strings.NewReader(""), io.Discard, &stderr); code != exitFailed {
		t.Errorf("missing key: %d, %s", code, stderr.String())
	}
}

func FuzzReadStream(f *testing.F) {
	f.Add("event: hello\ndata: {}\n\n: hb\n\nevent: challenge\r\ndata: a\r\ndata: b\r\n\r\n")
	f.Add("data")
	f.Fuzz(func(t *testing.T, s string) {
		err := readStream(strings.NewReader(s), func() {}, func(m message) error {
			if m.data == "" || len(m.data) > maxLine {
				t.Errorf("event of %d bytes", len(m.data))
			}
			return nil
		})
		if err == nil {
			t.Error("the stream ended without saying so")
		}
	})
}

func TestEventsOfAStream(t *testing.T) {
	var got []message
	alive := 0
	err := readStream(strings.NewReader(": hb\n\nevent: a\ndata: 1\ndata:2\nid: 7\n\nevent: empty\n\ndata: x\n\nevent: cut"), func() { alive++ },
		func(m message) error { got = append(got, m); return nil })
	if !errors.Is(err, io.EOF) || len(got) != 2 || got[0] != (message{"a", "1\n2"}) || got[1] != (message{"", "x"}) || alive != 12 {
		t.Errorf("%q, %v, %d lines", got, err, alive)
	}
	err = readStream(strings.NewReader("data: "+strings.Repeat("x", 2*maxLine)), func() {}, func(message) error { return nil })
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a huge line: %v", err)
	}
}
