package health

import (
	"context"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
	"yizheng/audit/ship"
	"yizheng/audit/stamp"
	"yizheng/audit/witness"
)

// sound is a gateway in which nothing is wrong.
func sound(now time.Time) Report {
	return Report{
		Log:     Log{Status: audit.Status{Free: 10 << 30, LowWater: 128 << 20, Checkpoint: &audit.Published{Size: 7, At: now.Add(-time.Minute)}, Replica: &audit.ReplicaStatus{Follows: true}}},
		Index:   &Index{},
		Witness: &Witness{Status: witness.Status{Max: 4 * time.Hour, Unwitnessed: 3, Since: now.Add(-10 * time.Second)}},
		Stamps:  &Stamps{Status: stamp.Status{Every: time.Hour, Since: now.Add(-30 * time.Minute)}},
		Copies:  []Copy{{Status: ship.Status{Name: "siem", Behind: 40}}},
		Store:   Store{true}, Pseudonyms: Pseudonyms{Reachable: true}, Authority: &Authority{},
		Lines: []Line{{Name: "front:re", Up: true}}, Ends: []End{{What: "catalogue", Days: 61}},
	}
}

func TestJudge_NamesWhatSomebodyHasToSeeTo(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		change func(*Report)
		code   string
		level  Level
	}{
		"nothing":         {func(*Report) {}, "", ""},
		"poisoned":        {func(r *Report) { r.Log.Failed = true }, "LOG_FAILED", Stop},
		"held":            {func(r *Report) { r.Log.Held = []string{"witness"} }, "LOG_HELD", Stop},
		"disk low":        {func(r *Report) { r.Log.Low = true }, "DISK_LOW", Stop},
		"disk nearly low": {func(r *Report) { r.Log.Free = 200 << 20 }, "DISK_SHRINKING", Alarm},
		"disk unknown":    {func(r *Report) { r.Log.Free = -1 }, "", ""},
		"replica":         {func(r *Report) { r.Log.Replica.Follows = false }, "REPLICA_DOWN", Alarm},
		"index late":      {func(r *Report) { r.Index.Lag = index.Lag{Entries: 9, Since: now.Add(-2 * time.Minute)} }, "INDEX_BEHIND", Warn},
		"index lost":      {func(r *Report) { r.Index.Lost = []string{"gw00/2026q3"} }, "INDEX_LOST", Alarm},
		"index changed": {func(r *Report) {
			r.Index.Changed = []index.Change{{Origin: "gw00/2026q3", File: "live.db", First: 5, Next: 9}}
		}, "INDEX_CHANGED", Alarm},
		"keys were put back":        {func(r *Report) { r.Log.Held = []string{audit.KeyHolder} }, "PSEUDONYM_KEYS", Stop},
		"a shard not read for keys": {func(r *Report) { r.Pseudonyms.Unread = []string{"2026q3"} }, "PSEUDONYM_KEYS", Alarm},
		"half of the witness' time": {func(r *Report) { r.Witness.Since = now.Add(-121 * time.Minute) }, "UNWITNESSED", Alarm},
		"forked":                    {func(r *Report) { r.Witness.Forked = true }, "LOG_FORKED", Alarm},
		"no time stamps":            {func(r *Report) { r.Stamps.Since = now.Add(-3 * time.Hour) }, "UNSTAMPED", Alarm},
		"copy not taken":            {func(r *Report) { r.Copies[0].Error = "refused" }, "COPY_BEHIND", Alarm},
		"pseudonyms":                {func(r *Report) { r.Pseudonyms.Reachable = false }, "PSEUDONYMS_DOWN", Stop},
		"store":                     {func(r *Report) { r.Store.Reachable = false }, "STORE_DOWN", Stop},
		"time stamp authority":      {func(r *Report) { r.Authority.Down = true }, "TSA_DOWN", Warn},
		"one that is required":      {func(r *Report) { *r.Authority = Authority{true, true} }, "TSA_DOWN", Alarm},
		"a department":              {func(r *Report) { r.Lines[0].Up = false }, "LINE_DOWN", Warn},
		"sixty days":                {func(r *Report) { r.Ends[0] = End{Days: 60, Within: 60} }, "ENDS", Warn},
		"seven days":                {func(r *Report) { r.Ends[0] = End{Days: 7, Within: 7} }, "ENDS", Alarm},
		"ended":                     {func(r *Report) { r.Ends[0] = End{Days: -1} }, "ENDED", Alarm},
		"no such parts":             {func(r *Report) { r.Index, r.Witness, r.Stamps, r.Authority, r.Log.Replica = nil, nil, nil, nil, nil }, "", ""},
	} {
		r := sound(now)
		test.change(&r)
		r.judge(now)
		var code string
		var level Level
		if len(r.Findings) == 1 {
			code, level = r.Findings[0].Code, r.Findings[0].Level
		}
		if code != test.code || level != test.level || len(r.Findings) > 1 || r.Ready != (level != Stop) {
			t.Errorf("%s: ready %v, %+v", name, r.Ready, r.Findings)
		}
	}
}

func TestJudge_PutsTheWorstFirst(t *testing.T) {
	r := sound(time.Now())
	r.Lines[0].Up, r.Copies[0].Error, r.Store.Reachable = false, "refused", false
	r.judge(time.Now())
	if len(r.Findings) != 3 || r.Findings[0].Level != Stop || r.Findings[2].Level != Warn {
		t.Errorf("%+v", r.Findings)
	}
}

// Many probes at once cost one look; one that hung up does not spoil it.
func TestWatch_LooksOnceForMany(t *testing.T) {
	looks := 0
	w := NewWatch(func(ctx context.Context) Report {
		looks++
		if ctx.Err() != nil {
			t.Error("the look ends with its caller")
		}
		return sound(time.Now())
	})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if !w.Report(gone).Ready {
				t.Error("not ready")
			}
		})
	}
	all.Wait()
	if looks != 1 {
		t.Errorf("%d looks", looks)
	}
}

func TestMetrics_CountAndReport(t *testing.T) {
	w := NewWatch(func(context.Context) Report {
		r := sound(time.Now())
		r.Ends = append(r.Ends, r.Ends[0]) // two of one name must not spoil all the others
		r.Log.Held = []string{"witness"}
		return r
	})
	m := NewMetrics(w)
	m.Appended(3 * time.Millisecond)
	m.LegEnded("11690100006900026F", "gap", "ANSWERED")
	m.LegEnded("11690100006900026F", "gap", "ANSWERED")
	text, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`yizheng_legs_total{department="11690100006900026F",outcome="ANSWERED",route="gap"} 2`,
		`yizheng_audit_append_seconds_bucket{le="0.002"} 0`, `yizheng_audit_append_seconds_bucket{le="0.005"} 1`,
		`yizheng_ready 0`, `yizheng_audit_held 1`, `yizheng_findings{code="LOG_HELD",level="stop"} 1`,
		`yizheng_audit_unwitnessed_entries 3`, `yizheng_audit_index_lag_seconds 0`, `yizheng_audit_copy_behind_entries{copy="siem"} 40`,
		`yizheng_days_left{name="",what="catalogue"} 61`,
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("lacks %s", line)
		}
	}
	documented(t, regexp.MustCompile(`(?m)^# TYPE (yizheng_\w+) `), string(text))
}

// What is shown is explained.
func TestEveryFindingIsExplained(t *testing.T) {
	source, err := os.ReadFile("judge.go")
	if err != nil {
		t.Fatal(err)
	}
	documented(t, regexp.MustCompile(`r\.find\(\w+, "([A-Z_]+)"`), string(source))
}

func documented(t *testing.T, names *regexp.Regexp, text string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	found := names.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		t.Error("nothing to explain")
	}
	for _, m := range found {
		if !strings.Contains(string(page), "`"+m[1]) {
			t.Errorf("docs/OPERATIONS.md does not explain %s", m[1])
		}
	}
}
