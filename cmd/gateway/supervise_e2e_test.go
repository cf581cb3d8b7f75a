//go:build e2e

package main

import (
	"crypto/ecdsa"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"yizheng/audit"
	"yizheng/audit/supervise"
	"yizheng/cmd/gateway/demo"
	"yizheng/identity/jose"
)

// await asks until it is so; everything else is slow, not wrong.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !so(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 90 s: %s", what)
		}
	}
}

// at is the city whose gateway listens there, for doors and read agents.
func (s *site) at(addr string) *demo.City {
	return &demo.City{Places: demo.Places{State: s.state}, URL: "https://" + addr}
}

// as runs a command of the gateway that asks the one at addr, with a person's certificate.
func (s *site) as(person, addr string, command []string, args ...string) string {
	s.t.Helper()
	all := append(slices.Clone(command), "-url", "https://"+addr, "-ca", s.in("keys/tls/ca.crt"),
		"-cert", s.in("keys/tls/"+person+".crt"), "-cert-key", s.in("keys/tls/"+person+".key"))
	out, err := exec.CommandContext(s.t.Context(), filepath.Join(programs(s.t), "gateway"), append(all, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %v\n%s", command, err, out)
	}
	return string(out)
}

// configure writes a gateway's configuration: that of the city, changed.
func (s *site) configure(file string, change func(map[string]any)) {
	s.t.Helper()
	b, err := os.ReadFile(s.in("gateway.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	var c map[string]any
	if err := yaml.Unmarshal(b, &c); err != nil {
		s.t.Fatal(err)
	}
	change(c)
	if b, err = yaml.Marshal(c); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.in(file), b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// subscriber is another office's system that takes events.
type subscriber struct {
	*httptest.Server
	t       *testing.T
	gateway *ecdsa.PublicKey // whose signature it asks for

	mu   sync.Mutex
	seen map[string]bool // "number status" of a card or an order
}

func newSubscriber(t *testing.T, gateway *ecdsa.PublicKey) *subscriber {
	t.Helper()
	s := &subscriber{t: t, gateway: gateway, seen: map[string]bool{}}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *subscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest) // the gateway ended in the middle of it; it pushes it again
		return
	}
	var batch struct {
		V      int
		Events []struct {
			Open   audit.Open
			Closed audit.Closed
		}
	}
	payload, _, err := jose.Verify(string(token), "yz-supervision-event+jws", func(string) *ecdsa.PublicKey { return s.gateway })
	if err == nil {
		err = json.Unmarshal(payload, &batch)
	}
	if err != nil || batch.V != 1 {
		s.t.Errorf("what was pushed: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range batch.Events {
		switch e.Open.Op {
		case audit.OpSuperviseCard, audit.OpSuperviseOrder:
			s.seen[e.Open.Number+" "+e.Open.Status] = true
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// gets waits until an event has come: the number of a card or order, and its status.
func (s *subscriber) gets(event string) {
	s.t.Helper()
	await(s.t, "pushed: "+event, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.seen[event]
	})
}

// TestSupervision: a clerk shows a card read where it was not made, three times. Two
// yellow cards and a red one follow, by API and pushed to a subscriber; the clerk
// answers the order about it; the statistics tell of all that, in files that other
// programs read.
func TestSupervision(t *testing.T) {
	s := newSite(t)
	pushed := newSubscriber(t, publicKey(t, s.at(""), "gateway"))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pushed.Certificate().Raw})
	if err := os.WriteFile(s.in("subscriber.crt"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	s.configure("gateway.yaml", func(c map[string]any) {
		c["supervise"].(map[string]any)["events"] = []map[string]string{{"name": "discipline", "url": pushed.URL + "/in", "ca": "subscriber.crt"}}
		delete(c, "kafka") // there are no fronts, and nobody waits for them
	})
	addr, _ := s.launch("serve", "gateway.yaml")
	agent := newRogue(t, s.at(addr), "ws-01")
	agent.connect("111111")
	clerk, supervisor, respondent := doorOf(t, s.at(addr), "clerk-01"), doorOf(t, s.at(addr), "admin-supervisor-1"), doorOf(t, s.at(addr), "admin-respondent-1")
	clerk.login("111111")
	token := clerk.token(agent, ordinary, samplePeople(t)["li-ming"])

	elsewhere := ordinary
	elsewhere.number = "BAD-002"
	for _, key := range []string{"k-1", "k-2", "k-3"} {
		got := clerk.call("POST", "/v1/exchanges", clerk.request(elsewhere, "LOCAL", token, nil), "Idempotency-Key", key)
		expectRefusal(t, got, http.StatusForbidden, "SUBJECT_TOKEN_ELSEWHERE")
	}
	cards := func() []supervise.Card {
		var list struct{ Cards []supervise.Card }
		supervisor.call("POST", "/v1/supervision/cards", supervise.Filter{Rule: "YQ-04"}).into(t, &list)
		return list.Cards
	}
	await(t, "three cards", func() bool { return len(cards()) == 3 })
	list := cards() // newest first
	for i, level := range []supervise.Level{supervise.Red, supervise.Yellow, supervise.Yellow} {
		if c := list[i]; c.Level != level || c.Operator != "clerk-01" || c.Status != supervise.Raised || len(c.Evidence) == 0 {
			t.Errorf("card %d, which should be %s: %+v", i, level, c)
		}
		pushed.gets(list[i].ID + " raised")
	}
	red := list[0]
	if said := s.as("admin-supervisor-1", addr, []string{"supervise", "cards"}, "-level", "red"); !strings.Contains(said, red.ID) {
		t.Errorf("gateway supervise cards does not list the red card %s:\n%s", red.ID, said)
	}

	t.Run("the order is answered by whom it concerns", func(t *testing.T) {
		due := time.Now().AddDate(0, 0, 7).Format(time.DateOnly)
		var o supervise.Order
		supervisor.call("POST", "/v1/supervision/orders", supervise.Demand{Card: red.ID, Person: "clerk-01", Demand: supervise.DemandExplain, Due: due, Text: "请说明情况"}).into(t, &o)
		pushed.gets(o.ID + " issued")
		answer := map[string]string{"answer": supervise.AnswerExplained, "text": "拿错了回执"}
		expectRefusal(t, respondent.call("POST", "/v1/orders/"+o.ID+"/answer", answer), http.StatusForbidden, "NOT_ADDRESSED")
		expectRefusal(t, supervisor.call("POST", "/v1/supervision/orders/"+o.ID+"/close", nil), http.StatusConflict, "SETTLED")
		clerk.of(t).call("POST", "/v1/orders/"+o.ID+"/answer", answer).into(t, &o)
		pushed.gets(o.ID + " answered")
		supervisor.of(t).call("POST", "/v1/supervision/orders/"+o.ID+"/close", nil).into(t, &o)
		pushed.gets(o.ID + " closed")
		if o.Step != supervise.Closed || o.AnsweredBy != "clerk-01" {
			t.Errorf("the order at its end: %+v", o)
		}
		var c supervise.Card
		supervisor.of(t).call("POST", "/v1/supervision/cards/"+red.ID+"/confirm", nil).into(t, &c)
		pushed.gets(red.ID + " confirmed")
	})
	t.Run("the statistics show it", func(t *testing.T) { s.statistics(t, addr) })
	t.Run("a declared relative is looked up", func(t *testing.T) {
		s.declare(t, addr, "clerk-01", "li-ming")
		if got := clerk.of(t).call("POST", "/v1/exchanges", clerk.request(ordinary, "LOCAL", token, nil), "Idempotency-Key", "k-4"); got.status >= 300 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		var list struct{ Cards []supervise.Card }
		await(t, "a card about the relative", func() bool {
			supervisor.of(t).call("POST", "/v1/supervision/cards", supervise.Filter{Rule: "LZ-13"}).into(t, &list)
			return len(list.Cards) == 1
		})
		pushed.gets(list.Cards[0].ID + " raised")
	})
}

// declare enters a sample person as a relative of an account, and has an approver enter it again.
func (s *site) declare(t *testing.T, addr, account, person string) {
	numbers := filepath.Join(t.TempDir(), "numbers")
	if err := os.WriteFile(numbers, []byte(samplePeople(t)[person].Number+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := []string{"supervise", "relatives"}
	said := s.as("admin-supervisor-1", addr, command, "-operator", account, "-numbers", numbers)
	id := regexp.MustCompile(`R[A-Z2-7]{16}`).FindString(said)
	if id == "" {
		t.Fatalf("no list waits:\n%s", said)
	}
	if said := s.as("admin-approver-1", addr, command, "-show", id); !strings.Contains(said, account) {
		t.Errorf("what the approver sees:\n%s", said)
	}
	if said := s.as("admin-approver-1", addr, command, "-approve", id, "-numbers", numbers); !strings.Contains(said, "生效") {
		t.Errorf("it is not in force:\n%s", said)
	}
	if said := s.as("admin-supervisor-1", addr, command); !strings.Contains(said, account) || !strings.Contains(said, "生效") || strings.Contains(said, "待批") {
		t.Errorf("what the supervisor sees:\n%s", said)
	}
}

// statistics reads those of the clerk, from the API, a spreadsheet and a page.
func (s *site) statistics(t *testing.T, addr string) {
	var lines []supervise.Line
	if err := json.Unmarshal([]byte(s.as("admin-supervisor-1", addr, []string{"supervise", "stats"}, "-by", "operator", "-period", "month", "-json")), &lines); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(lines, func(l supervise.Line) bool { return l.Value == "clerk-01" && l.Red > 0 })
	if i < 0 || lines[i].Yellow != 2 || lines[i].Red != 1 || lines[i].Refused < 3 {
		t.Fatalf("the statistics: %+v", lines)
	}
	dir := t.TempDir()
	sheet, page := filepath.Join(dir, "statistics.xlsx"), filepath.Join(dir, "statistics.pdf")
	for _, file := range []string{sheet, page} {
		s.as("admin-supervisor-1", addr, []string{"supervise", "stats"}, "-by", "operator", "-period", "month", "-o", file)
	}
	for _, other := range [][]string{{"python3", "-B", "testdata/read_xlsx.py", sheet}, {"pdftotext", "-layout", page, "-"}} {
		text, err := exec.CommandContext(t.Context(), other[0], other[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", other[0], err, text)
		}
		if !slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
			f := strings.Fields(line)
			n := len(f)
			return n > 3 && slices.Contains(f, "clerk-01") && f[n-2] == "2" && f[n-1] == "1"
		}) || !strings.Contains(string(text), "红牌") {
			t.Errorf("%s does not read the clerk's line with two yellow cards and a red one:\n%s", other[0], text)
		}
	}
}
