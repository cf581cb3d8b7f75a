package main

import (
	"bytes"
	"crypto/hmac"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const people = `
province:
  services:
    housing:
      key: zjhm
      not_found: {code: "01", time: "{now}"}
      records:
        - number: "690102198503120016"
          answer: {code: "00", time: "{now}", data: [{zjhm: "690102198503120016", xm: 李明, je: "984.00"}]}
        - number: "690102199011250046"
          status: 500
        - number: "69010219700101004X"
          delay: 30ms
          answer: {code: "06"}
        - number: "690103199208170062"
          body: <html>
    other: {key: id, not_found: {code: "01"}}
`

// bench is a platform with a clock of its own and what a requester needs.
type bench struct {
	t   *testing.T
	h   http.Handler
	now time.Time
	log bytes.Buffer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	path := filepath.Join(t.TempDir(), "systems.yaml")
	if err := os.WriteFile(path, []byte(people), 0o600); err != nil {
		t.Fatal(err)
	}
	services, err := loadServices(path)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, now: time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)}
	b.h = newPlatform(platformConfig{
		rid: "R1", appKey: "app", prefix: "gjgxjhpt_", secretLife: 30 * time.Minute, window: 5 * time.Minute,
		services: services, now: func() time.Time { return b.now }, logger: slog.New(slog.NewJSONHandler(&b.log, nil)),
	})
	return b
}

type call struct{ path, rid, sid, rtime, sign, body string }

func (b *bench) call(path, key, body string) call {
	rtime := strconv.FormatInt(b.now.UnixMilli(), 10)
	return call{path, "R1", "housing", rtime, signature(key, "housing", "R1", rtime), body}
}

func (b *bench) send(c call) (int, map[string]any, *httptest.ResponseRecorder) {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, c.path, strings.NewReader(c.body))
	for name, v := range map[string]string{"rid": c.rid, "sid": c.sid, "rtime": c.rtime, "sign": c.sign} {
		r.Header.Set("gjgxjhpt_"+name, v)
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	var m map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &m) // some answers are meant not to be JSON
	return w.Code, m, w
}

func (b *bench) secret() string {
	b.t.Helper()
	status, m, _ := b.send(b.call("/token", "app", "{}"))
	s, _ := m["secret"].(string)
	if status != 200 || s == "" {
		b.t.Fatalf("token: %d %v", status, m["code"])
	}
	if end := m["secretEndTime"].(float64); int64(end) != b.now.Add(30*time.Minute).UnixMilli() {
		b.t.Fatalf("secretEndTime %v", end)
	}
	b.now = b.now.Add(time.Millisecond)
	return s
}

func (b *bench) want(c call, status int, code string) {
	b.t.Helper()
	got, m, _ := b.send(c)
	if got != status || m["code"] != code {
		b.t.Fatalf("got %d %v, want %d %s", got, m["code"], status, code)
	}
}

func TestPlatform_AnswersWhatTheFileSays(t *testing.T) {
	b := newBench(t)
	s := b.secret()
	for number, expected := range map[string]string{
		"690102198503120016": `200 {"code":"00","data":[{"je":"984.00","xm":"李明","zjhm":"690102198503120016"}],"time":"20261122100000"}`,
		"690102199011250046": `500 `,
		"69010219700101004X": `200 {"code":"06"}`,
		"690103199208170062": `200 <html>`,
		"690102194802090015": `200 {"code":"01","time":"20261122100000"}`,
	} {
		c := b.call("/query", s, `{"zjhm":"`+number+`"}`)
		_, _, w := b.send(c)
		if got := fmt.Sprintf("%d %s", w.Code, w.Body); got != expected {
			t.Errorf("got %s, want %s", got, expected)
		}
		mac := signature(s, "housing", "R1", c.rtime, sm3Hex(w.Body.Bytes()))
		if !hmac.Equal([]byte(mac), []byte(w.Header().Get("gjgxjhpt_answer_sign"))) {
			t.Error("answer_sign is wrong")
		}
		b.now = b.now.Add(time.Millisecond)
	}
	if strings.Contains(b.log.String(), "690102") || strings.Contains(b.log.String(), "李") {
		t.Error("the log tells persons")
	}
}

func TestPlatform_RefusesWrongRequests(t *testing.T) {
	for name, test := range map[string]struct {
		change func(b *bench, c *call)
		status int
		code   string
	}{
		"no signature":         {func(_ *bench, c *call) { c.sign = "" }, 401, "HEADER_MISSING"},
		"other requester":      {func(_ *bench, c *call) { c.rid = "R2" }, 403, "RID_UNKNOWN"},
		"unknown service":      {func(_ *bench, c *call) { c.sid = "police" }, 403, "SID_UNKNOWN"},
		"signature of another": {func(_ *bench, c *call) { c.sid = "other" }, 401, "SIGN_INVALID"},
		"time not a number":    {func(_ *bench, c *call) { c.rtime = "+1" }, 401, "RTIME_INVALID"},
		"time too old":         {func(b *bench, c *call) { b.now = b.now.Add(5*time.Minute + time.Second) }, 401, "RTIME_OUTSIDE"},
		"time ahead":           {func(b *bench, c *call) { b.now = b.now.Add(-5*time.Minute - time.Second) }, 401, "RTIME_OUTSIDE"},
		"rid before sid": {func(_ *bench, c *call) {
			c.sign = signature("app", "R1", "housing", c.rtime)
		}, 401, "SIGN_INVALID"},
		"signed with the app key": {func(_ *bench, c *call) {
			c.sign = signature("app", "housing", "R1", c.rtime)
		}, 401, "SIGN_INVALID"},
		"not JSON":        {func(_ *bench, c *call) { c.body = "zjhm=1" }, 400, "BODY_INVALID"},
		"no number":       {func(_ *bench, c *call) { c.body = `{"xm":"a"}` }, 400, "BODY_INVALID"},
		"oversized":       {func(_ *bench, c *call) { c.body = strings.Repeat("x", maxRequest+1) }, 413, "BODY_TOO_LARGE"},
		"token by secret": {func(_ *bench, c *call) { c.path = "/token" }, 401, "SIGN_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c := b.call("/query", b.secret(), `{"zjhm":"690102198503120016"}`)
			test.change(b, &c)
			b.want(c, test.status, test.code)
		})
	}
}

func TestPlatform_RefusesReplays(t *testing.T) {
	b := newBench(t)
	c := b.call("/query", b.secret(), `{"zjhm":"690102194802090015"}`)
	b.want(c, 200, "01")
	b.want(c, 401, "REPLAYED")
	b.now = b.now.Add(4 * time.Minute)
	b.want(c, 401, "REPLAYED")
	token := b.call("/token", "app", "{}")
	b.want(token, 200, "00")
	b.want(token, 401, "REPLAYED")
}

func TestPlatform_SecretsExpireEachByItself(t *testing.T) {
	b := newBench(t)
	old := b.secret()
	b.now = b.now.Add(20 * time.Minute)
	fresh := b.secret()
	b.want(b.call("/query", old, `{"zjhm":"690102194802090015"}`), 200, "01")
	b.now = b.now.Add(10 * time.Minute)
	b.want(b.call("/query", old, `{"zjhm":"690102194802090015"}`), 401, "SECRET_EXPIRED")
	b.want(b.call("/query", fresh, `{"zjhm":"690102194802090015"}`), 200, "01")
}

func TestReplays_ForgetWhatTheClockRefusesAnyway(t *testing.T) {
	r, now := newReplays(10*time.Minute), time.Now()
	for i := range 100 {
		r.add(fmt.Sprint(i), now)
	}
	r.add("later", now.Add(11*time.Minute))
	if len(r.until) != 1 {
		t.Errorf("%d requests remembered", len(r.until))
	}
}

func TestLoadServices_ErrorsTellNoPersons(t *testing.T) {
	for name, text := range map[string]string{
		"not YAML":     "province: [690102198503120016",
		"no services":  "local: {}",
		"bad delay":    `province: {services: {a: {key: k, not_found: {}, records: [{number: "690102198503120016", delay: soon}]}}}`,
		"number twice": `province: {services: {a: {key: k, not_found: {}, records: [{number: "690102198503120016"}, {number: "690102198503120016"}]}}}`,
		"no key":       `province: {services: {a: {not_found: {}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := loadServices(path)
			if err == nil || strings.Contains(err.Error(), "690102198503120016") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestLoadServices_DemoCityLoads(t *testing.T) {
	services, err := loadServices(filepath.Join("..", "..", "..", "configs", "demo", "systems"))
	if err != nil {
		t.Fatal(err)
	}
	for sid, s := range services {
		if len(s.records) == 0 {
			t.Errorf("service %s has no records", sid)
		}
	}
}

func TestParse_NamesWhatIsMissing(t *testing.T) {
	if _, err := parse([]string{"-cert", "a"}); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("error %v", err)
	}
}
