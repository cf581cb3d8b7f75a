//go:build e2e

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"yizheng/cmd/gateway/demo"
)

// TestWithdrawalFromTheCommandLine: a clerk gets a proof, two administrators withdraw
// it, and who holds the file learns so from the command they verify it with.
func TestWithdrawalFromTheCommandLine(t *testing.T) {
	city, home := startCity(t)
	clerk, err := city.Login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var expect expectations
	readYAML(t, "expect.yaml", &expect)
	var readers sync.Mutex
	file, number := filepath.Join(home, "proof.pdf"), ""
	for _, h := range ask(t, clerk, &readers, doorOf(t, city, "clerk-01"), expect.Expect[0], "E2E-WITHDRAW") {
		if h.Document != nil {
			number = h.Number
			if err := os.WriteFile(file, h.Document, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if number == "" {
		t.Fatal("no document")
	}
	step := func(code int, says string, args ...string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), filepath.Join(programs(t), "gateway"), args...).CombinedOutput()
		var exit *exec.ExitError
		got := 0
		if errors.As(err, &exit) {
			got = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if got != code || !strings.Contains(string(out), says) {
			t.Errorf("%s: code %d, want %d and %q\n%s", args[0], got, code, says, out)
		}
	}
	online := []string{"verify", file, "-trust", filepath.Join(city.State, "trust"), "-online", city.URL, "-ca", filepath.Join(city.State, "keys/tls/ca.crt")}
	step(0, "issued by that gateway, not withdrawn", append(online, "-lang", "en")...)
	logKey := []string{"-log-key", filepath.Join(city.State, "keys/audit.pub.pem")}
	step(0, "proved: the issue of this very document", append(append(online, "-lang", "en"), logKey...)...)
	step(0, "security-1 已申请撤回", withdrawAs(city, "security-1", number)...)
	step(1, "somebody else must", withdrawAs(city, "security-1", number)...)
	step(0, "确由该网关签发，未撤回", online...)
	step(0, "withdrawn since", withdrawAs(city, "security-2", number)...)
	step(1, "已由签发机关撤回，自", online...)
	step(1, `"state":"withdrawn"`, append(online, "-json")...)
}

func withdrawAs(city *demo.City, person, number string) []string {
	keys := filepath.Join(city.State, "keys")
	return []string{"withdraw", "-url", city.URL, "-ca", filepath.Join(keys, "tls/ca.crt"), "-cert", filepath.Join(keys, "tls/admin-"+person+".crt"),
		"-cert-key", filepath.Join(keys, "tls/admin-"+person+".key"), "-key", filepath.Join(keys, "admins", person+".key"), "-number", number, "-reason", "WRONG_DATA"}
}
