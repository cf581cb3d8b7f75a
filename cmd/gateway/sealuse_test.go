package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"yizheng/audit"
)

// TestSealLog_TellsEveryUseOutOfTheAuditLog, whatever else the log holds.
func TestSealLog_TellsEveryUseOutOfTheAuditLog(t *testing.T) {
	d := newSealDesk(t)
	if said := d.seal(0, "log", "", "-seal", "mz"); !strings.Contains(said, "共 0 次") {
		t.Errorf("before any gateway ran: %s", said)
	}
	d.issued()
	d.seal(0, "test", "applicant", "mz")
	d.start()
	log := d.openLog()
	release := func(outcome, object string) audit.Entry {
		return audit.Entry{Open: audit.Open{Op: audit.OpRelease, Phase: audit.PhaseDone, Outcome: outcome}, Closed: audit.Closed{Object: object}}
	}
	issue := func(number string) audit.Entry {
		return audit.Entry{Open: audit.Open{Op: audit.OpIssue, Phase: audit.PhaseDone, Number: number}}
	}
	for _, entries := range [][]audit.Entry{
		{release("FOUND", "seal/mz"), issue("N1")},
		{release("FOUND", "seal/other"), issue("N2")},
		{release("FOUND", "seal/mz-2"), issue("N3")},
		{release("FOUND", "seal/mz")}, // without a number; what follows is another's
		{release("NOT_FOUND", "")}, {issue("N4")},
		{release(audit.OutcomeAnswered, "seal/other seal/mz"), issue("N5")},
		{{Open: audit.Open{Op: audit.OpSeal, Phase: audit.PhaseDone}, Closed: audit.Closed{Object: "seal/mz"}}},
	} {
		_, err := log.Append(t.Context(), entries...)
		d.ok(err)
	}
	d.ok(log.Close())
	var got []string
	for line := range strings.Lines(d.seal(0, "log", "", "-seal", "mz", "-json")) {
		var u sealUse
		d.ok(json.Unmarshal([]byte(line), &u))
		if u.Time.IsZero() || u.Index == 0 || u.Log != d.path("audit/2026q4") {
			t.Errorf("%+v", u)
		}
		got = append(got, u.Use+" "+u.Number+" "+u.Outcome+" "+strings.Join(u.Others, ","))
	}
	want := []string{"test   ", "release N1 FOUND ", "release  FOUND ", "release N5 ANSWERED other", "seal   "}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("uses:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	said := d.seal(0, "log", "", "-seal", "mz")
	for _, line := range []string{`release +N1 +FOUND .*audit/2026q4#\d+`, `ANSWERED .* 或 / or: other`, `test +— `, `共 5 次`} {
		if !regexp.MustCompile(line).MatchString(said) {
			t.Errorf("%q is missing:\n%s", line, said)
		}
	}
}

// TestSealTest_SealsInTheFormOfRealDocuments and is on record before it does.
func TestSealTest_SealsInTheFormOfRealDocuments(t *testing.T) {
	d := newSealDesk(t)
	d.issued()
	config := strings.Replace(sealDeskConfig, "trust: trust}", "trust: trust, modes: {mz: cms}, timestamp: {url: \"https://127.0.0.1:9/\", on_failure: proceed, timeout: 1s}}", 1)
	d.ok(os.WriteFile(d.path("gateway.yaml"), []byte(config), 0o600))
	said := d.seal(0, "test", "applicant", "mz")
	for _, want := range []string{"adbe.pkcs7.detached", "! 未取得时间戳", "test mz，applicant"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing:\n%s", want, said)
		}
	}
	d.ok(os.WriteFile(d.path("gateway.yaml"), []byte(strings.Replace(config, "proceed", "require", 1)), 0o600))
	d.seal(1, "test", "maker-person", "mz")
	if said := d.seal(0, "log", "", "mz"); strings.Count(said, " test ") != 2 || !strings.Contains(said, "maker（maker）") {
		t.Errorf("the register does not tell of both: %s", said)
	}
	d.start()
	tested := 0
	log := d.openLog()
	d.ok(log.Read(t.Context(), 0, log.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Open.Op == audit.OpSealStep && e.Entry.Open.Status == "test" && e.Entry.Closed.Object == "seal/mz" {
			tested++
		}
		return nil
	}))
	d.ok(log.Close())
	if tested != 2 {
		t.Errorf("%d tests in the audit log, want 2", tested)
	}
}
