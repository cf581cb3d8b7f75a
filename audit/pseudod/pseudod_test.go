package pseudod

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

const liMing = "690101199003075114" // fictional: region 69 does not exist

// service is a running one, with its persons and a caller.
type service struct {
	*Client
	t      *testing.T
	dir    string // of the keys
	keys   map[string]*jose.Key
	logged *bytes.Buffer
	stop   func()
}

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.FixedZone("CST", 8*3600))

func start(t *testing.T, uids ...uint32) *service {
	t.Helper()
	s := &service{t: t, dir: filepath.Join(t.TempDir(), "keys"), keys: map[string]*jose.Key{}, logged: &bytes.Buffer{}}
	var persons []staff.Person
	for name, role := range map[string]staff.Role{"auditor-1": staff.Auditor, "approver-1": staff.Approver, "approver-2": staff.Approver, "security-1": staff.Security} {
		k, err := jose.GenerateKey()
		must(t, err)
		s.keys[name] = k
		persons = append(persons, staff.Person{Name: name, Role: role, Key: k.Public()})
	}
	register, err := staff.NewRegister(persons)
	must(t, err)
	keys, err := audit.OpenPseudonyms(s.dir)
	must(t, err)
	clock := func() time.Time { return now }
	socket := filepath.Join(private(t), "s")
	l, err := Listen(socket)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	server := Server{Pseudonyms: search.NewVault(keys, register, clock), UIDs: uids, ResidentsPerHour: 2, Logger: slog.New(slog.NewTextHandler(s.logged, nil)), Now: clock}
	go func() { ended <- server.Serve(ctx, l) }()
	s.Client = NewClient(socket)
	s.stop = sync.OnceFunc(func() {
		must(t, s.Close()) // first: a connection that was never used holds up the end
		cancel()
		must(t, <-ended)
		if strings.Contains(s.logged.String(), "690101") {
			t.Error("the service's messages hold a number")
		}
	})
	t.Cleanup(s.stop)
	return s
}

// files are those of the keys.
func (s *service) files() []string {
	s.t.Helper()
	list, err := filepath.Glob(filepath.Join(s.dir, "*.key"))
	must(s.t, err)
	return list
}

func own() uint32 { return uint32(os.Getuid()) }

// private is a directory with a short name, since a socket's may have 107 bytes.
func private(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "yzp")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// apply has auditor-1 apply for a number in the last two years.
func (s *service) apply(number string) (id, list string) {
	s.t.Helper()
	salt := bytes.Repeat([]byte{7}, 16)
	statement, err := search.Application{Case: "XF-2026-17", Reason: "COMPLAINT", From: now.AddDate(-1, 0, 0), To: now, Max: 10, Persons: 1,
		Subjects: search.Commit(salt, []string{number}), At: now}.Sign(s.keys["auditor-1"])
	must(s.t, err)
	quarters := []time.Time{now, now.AddDate(0, -3, 0), now.AddDate(0, -6, 0), now.AddDate(-1, 0, 0), now.AddDate(-3, 0, 0)}
	held, err := s.Hold(s.t.Context(), search.Sought{Statement: statement, Numbers: []string{number}, Salt: salt, Quarters: quarters})
	must(s.t, err)
	return search.ID(statement), held.List
}

// keyed makes the keys of quarters, as entries of them do; there was none half a year ago.
func (s *service) keyed() {
	s.t.Helper()
	keys, err := audit.OpenPseudonyms(s.dir)
	must(s.t, err)
	for _, at := range []time.Time{now, now.AddDate(0, -3, 0), now.AddDate(-1, 0, 0), now.AddDate(-3, 0, 0)} {
		_, err := keys.Of(audit.SubjectIDNumber, liMing, at)
		must(s.t, err)
	}
}

func (s *service) decision(by string, of, list string, at time.Time) string {
	s.t.Helper()
	d, err := search.Decision{Action: search.Approve, Of: of, List: list, At: at}.Sign(s.keys[by])
	must(s.t, err)
	return d
}

func TestTheServiceGivesWhatTheKeysInProcessWouldGive(t *testing.T) {
	s := start(t, own())
	must(t, s.Check())
	keys, err := audit.OpenPseudonyms(s.dir)
	must(t, err)
	var many sync.WaitGroup
	for range 32 {
		many.Go(func() {
			for _, n := range []string{liMing, "６９０１０１１９９００３０７５１１４"} {
				got, err := s.Of("111", n, now)
				want, wantErr := keys.Of("111", n, now)
				if err != nil || wantErr != nil || got != want {
					t.Errorf("%+v %v, in process %+v %v", got, err, want, wantErr)
				}
			}
		})
	}
	many.Wait()
	if _, err := s.Of("idno", " ", now); !errors.Is(err, audit.ErrNumber) {
		t.Errorf("an empty number: %v", err)
	}
}

func TestAnotherUserIsCutOff(t *testing.T) {
	s := start(t, own()+1)
	if _, err := s.Of("111", liMing, now); !errors.Is(err, ErrUnavailable) || s.Check() == nil {
		t.Errorf("answered a user who is not listed: %v", err)
	}
	s.stop()
	if !strings.Contains(s.logged.String(), "caller refused") {
		t.Error("nothing said about the refused caller")
	}
}

func TestAServiceThatIsGoneGivesNoPseudonym(t *testing.T) {
	s := start(t, own())
	must(t, s.Check())
	s.stop()
	if ref, err := s.Of("111", liMing, now); !errors.Is(err, ErrUnavailable) || ref.P != "" || strings.Contains(err.Error(), "690101") {
		t.Errorf("%+v, %v", ref, err)
	}
}

func TestAnotherQuarterNeedsAnApprovedApplication(t *testing.T) {
	s := start(t, own())
	for name, at := range map[string]time.Time{"the last quarter": now.AddDate(0, -3, 0), "one to come": now.AddDate(0, 3, 0)} {
		if _, err := s.Of("111", liMing, at); err == nil || !strings.Contains(err.Error(), codeQuarter) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if files := s.files(); len(files) > 0 {
		t.Errorf("keys were made: %v", files)
	}
}

func TestTwoApproversSignaturesReleaseAnApplicationsPseudonymsOnce(t *testing.T) {
	s := start(t, own())
	s.keyed()
	before := s.files()
	id, list := s.apply(liMing)
	other, otherList := s.apply("690102198806140030")
	good := func(by string) string { return s.decision(by, id, list, now) }
	stranger, err := jose.GenerateKey()
	must(t, err)
	forged, err := search.Decision{Action: search.Approve, Of: id, List: list, At: now}.Sign(stranger)
	must(t, err)
	rejected, err := search.Decision{Action: search.Reject, Of: id, List: list, At: now}.Sign(s.keys["approver-2"])
	must(t, err)
	elsewhere := func(by string) string { // applied for at another gateway: its list, and this one's among the others
		d, err := search.Decision{Action: search.Approve, Of: id, List: otherList, Others: []string{"third", list}, At: now}.Sign(s.keys[by])
		must(t, err)
		return d
	}
	for name, decisions := range map[string][]string{
		"none":                       nil,
		"one":                        {good("approver-1")},
		"one twice":                  {good("approver-1"), good("approver-1")},
		"the applicant's own":        {good("approver-1"), good("auditor-1")},
		"a security administrator's": {good("approver-1"), good("security-1")},
		"a stranger's":               {good("approver-1"), forged},
		"changed":                    {good("approver-1"), good("approver-2") + "A"},
		"about another application":  {good("approver-1"), s.decision("approver-2", other, otherList, now)},
		"about another list":         {good("approver-1"), s.decision("approver-2", id, otherList, now)},
		"of long ago":                {good("approver-1"), s.decision("approver-2", id, list, now.Add(-time.Hour))},
		"of the future":              {good("approver-1"), s.decision("approver-2", id, list, now.Add(time.Hour))},
		"a rejection":                {good("approver-1"), rejected},
	} {
		if refs, err := s.Release(t.Context(), id, decisions); err == nil || len(refs) > 0 {
			t.Errorf("%s: released %d", name, len(refs))
		}
	}
	refs, err := s.Release(t.Context(), id, []string{good("approver-1"), elsewhere("approver-2")})
	must(t, err)
	epochs := []string{}
	for _, r := range refs {
		epochs = append(epochs, r.Epoch)
	}
	if !slices.Equal(epochs, []string{"2025q4", "2026q3", "2026q4"}) || search.ListDigest(refs) != list {
		t.Errorf("released %v, want the quarters of the application's period", epochs)
	}
	if after := s.files(); !slices.Equal(before, after) {
		t.Errorf("a search made keys: %v, before %v", after, before)
	}
	var r *search.Refusal
	if _, err := s.Release(t.Context(), id, []string{good("approver-1"), good("approver-2")}); !errors.As(err, &r) || r.Status != http.StatusNotFound {
		t.Errorf("a second time: %v", err)
	}
}

func TestHoldIsForAnAuditorsOwnNumbers(t *testing.T) {
	s := start(t, own())
	salt := bytes.Repeat([]byte{7}, 16)
	for name, tt := range map[string]struct {
		by     string
		number string
		at     time.Time
	}{
		"no auditor's":            {"approver-1", liMing, now},
		"for another number":      {"auditor-1", "690102198806140030", now},
		"expired":                 {"auditor-1", liMing, now.Add(-time.Hour)},
		"dated behind the future": {"auditor-1", liMing, now.Add(time.Hour)},
	} {
		statement, err := search.Application{Case: "XF-2026-17", Reason: "COMPLAINT", From: now.AddDate(-1, 0, 0), To: now, Max: 10, Persons: 1,
			Subjects: search.Commit(salt, []string{liMing}), At: tt.at}.Sign(s.keys[tt.by])
		must(t, err)
		var r *search.Refusal
		if _, err := s.Hold(t.Context(), search.Sought{Statement: statement, Numbers: []string{tt.number}, Salt: salt, Quarters: []time.Time{now}}); !errors.As(err, &r) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResidentsMayBeAskedAboutSoManyAnHour(t *testing.T) {
	s := start(t, own())
	s.keyed()
	before := s.files()
	quarters := []time.Time{now, now.AddDate(0, -3, 0), now.AddDate(0, -6, 0)}
	for range 2 {
		if known, err := s.Own(t.Context(), "111", liMing, quarters); err != nil || len(known.Subjects) != 2 {
			t.Fatalf("%v, %v", known, err)
		}
	}
	if after := s.files(); !slices.Equal(before, after) {
		t.Errorf("a look-up made keys: %v, before %v", after, before)
	}
	var r *search.Refusal
	if _, err := s.Own(t.Context(), "111", liMing, quarters); !errors.As(err, &r) || r.Code != codeLimit {
		t.Errorf("a third: %v", err)
	}
	if _, err := s.Own(t.Context(), "111", liMing, []time.Time{now.AddDate(1, 0, 0)}); err == nil {
		t.Error("a quarter to come is answered")
	}
}

func TestTheSocketIsOneServicesAndClosedToOthers(t *testing.T) {
	dir := private(t)
	l, err := Listen(filepath.Join(dir, "s"))
	must(t, err)
	if _, err := Listen(filepath.Join(dir, "s")); err == nil {
		t.Error("a second service took the socket")
	}
	must(t, l.Close())
	must(t, os.Chmod(dir, 0o755))
	if _, err := Listen(filepath.Join(dir, "s")); err == nil {
		t.Error("a directory open to others is accepted")
	}
}

// asked is the status that a raw call gets.
func asked(h http.Handler, path string, body []byte) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
	return w.Code
}

// fixed is a keeper that gives the same answer to everything, so that the parser is all that is tried.
type fixed struct{ search.Pseudonyms }

func (fixed) Of(string, string, time.Time) (audit.SubjectRef, error) { return audit.SubjectRef{}, nil }

func fixedHandler() http.Handler {
	return Server{Pseudonyms: fixed{}, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}.handler()
}

func TestCallsAreReadStrictlyAndBounded(t *testing.T) {
	h := fixedHandler()
	const good = `{"type":"111","number":"1","at":"2026-11-20T12:00:00+08:00"}`
	for name, tt := range map[string]struct {
		body string
		want int
	}{
		"good":                {good, 200},
		"empty":               {"", 400},
		"an unknown field":    {`{"type":"111","number":"1","x":1}`, 400},
		"something behind it": {good + good, 400},
		"too large":           {good + strings.Repeat(" ", maxBody), 400},
	} {
		if got := asked(h, pathOf, []byte(tt.body)); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func FuzzCall(f *testing.F) {
	f.Add([]byte(`{"type":"111","number":"1","at":"2026-11-20T12:00:00+08:00"}`))
	f.Add([]byte(`{"application":"a","decisions":["b"]}`))
	h := fixedHandler()
	f.Fuzz(func(t *testing.T, body []byte) {
		code := asked(h, pathOf, body)
		if code == http.StatusOK && jose.Unmarshal(body, new(ofCall)) != nil || code >= 500 {
			t.Errorf("status %d", code)
		}
	})
}

// BenchmarkOf compares a call over the socket with one in process.
func BenchmarkOf(b *testing.B) {
	keys, err := audit.OpenPseudonyms(filepath.Join(b.TempDir(), "keys"))
	must(b, err)
	dir, err := os.MkdirTemp("", "yzp")
	must(b, err)
	defer os.RemoveAll(dir)
	l, err := Listen(filepath.Join(dir, "s"))
	must(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Server{Pseudonyms: search.NewVault(keys, nil, nil), UIDs: []uint32{own()}, Logger: slog.New(slog.DiscardHandler)}.Serve(ctx, l)
	}()
	client := NewClient(filepath.Join(dir, "s"))
	for name, n := range map[string]audit.SubjectNamer{"in process": keys, "socket": client} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := n.Of("111", liMing, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	cancel()
	must(b, errors.Join(<-ended, client.Close()))
}
