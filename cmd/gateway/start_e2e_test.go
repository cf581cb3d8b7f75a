//go:build e2e

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"yizheng/cmd/gateway/demo"
	"yizheng/exchange"
)

// TestGatewayRefusesToStart: with something wrong in what it trusts, the
// gateway ends at once and says what is wrong with which file.
func TestGatewayRefusesToStart(t *testing.T) {
	city, _ := startCity(t)
	if err := city.Stop(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(city.State, "gateway.yaml")
	good, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	release := filepath.Join(city.State, "releases", "000001.release.json")
	signed, err := os.ReadFile(release)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	corrupt := filepath.Join(dir, "corrupt.ttf")
	if err := os.WriteFile(corrupt, bytes.Repeat([]byte("no font "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	replace := func(old, changed string) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			if !bytes.Contains(good, []byte(old)) {
				t.Fatalf("the configuration has no %q:\n%s", old, good)
			}
			return bytes.ReplaceAll(good, []byte(old), []byte(changed))
		}
	}
	var font string
	for line := range strings.Lines(string(good)) {
		if s, ok := strings.CutPrefix(strings.TrimSpace(line), "body: "); ok {
			font = s
		}
	}
	releaseWith := func(change func(map[string]any)) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			var r map[string]any
			if err := json.Unmarshal(signed, &r); err != nil {
				t.Fatal(err)
			}
			change(r)
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(release, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return good
		}
	}
	for _, tt := range []struct {
		name string
		make func(*testing.T) []byte // the configuration; may spoil the release too
		says []string
	}{
		{"unknown key", replace("slot:", "slto: 1\nslot:"), []string{"gateway.yaml", "slto", "[", "]"}},
		{"unsigned release", releaseWith(func(r map[string]any) { r["signatures"] = []any{} }), []string{"release 1", "unsigned", "签名"}},
		{"release with one signature", releaseWith(func(r map[string]any) { r["signatures"] = r["signatures"].([]any)[:1] }), []string{"release 1", "enough", "签名不足"}},
		{"changed release", releaseWith(func(r map[string]any) { p := r["payload"].(string); r["payload"] = p[:100] + "A" + p[101:] }), []string{"release 1", "changed"}},
		{"older release", replace("min_number: 1", "min_number: 2"), []string{"release 1", "too low", "编号过低"}},
		{"one administrator", replace("  - keys/admins/security-2.pub.pem\n", ""), []string{"catalog.administrators", "two", "两名"}},
		{"administrators who did not sign", replace("security-2", "audit"), []string{"release 1"}},
		{"corrupt font", replace("body: "+font, "body: "+corrupt), []string{"corrupt.ttf", "字体"}},
		{"missing font", replace("body: "+font, "body: "+filepath.Join(dir, "none.ttf")), []string{"none.ttf", "字体"}},
		{"corrupt fallback font", replace("HanaMinA.ttf", "../../../../.."+corrupt), []string{"corrupt.ttf", "字体"}},
		{"no audit directory", replace("dir: audit", "dir: nowhere"), []string{"nowhere"}},
		{"connection missing", replace("housing-fund:", "housing-fnud:"), []string{"housing-fund", "connections"}},
		{"token key of a wrong size", replace("token: keys/token.key", "token: keys/store.key"), []string{"store.key", "16"}},
		{"production", replace("mode: demo", "mode: production"), []string{"gateway.key", "audit.key", "keys/tls/gateway.crt", "roots", "demo_tables"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(config, tt.make(t), 0o600); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := errors.Join(os.WriteFile(config, good, 0o600), os.WriteFile(release, signed, 0o600)); err != nil {
					t.Fatal(err)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, filepath.Join(programs(t), "gateway"), "serve", "-config", config)
			out, err := cmd.CombinedOutput()
			if err == nil || ctx.Err() != nil || cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("it started, or ended otherwise: %v %v", err, ctx.Err())
			}
			for _, s := range tt.says {
				if !strings.Contains(string(out), s) {
					t.Errorf("it does not say %q:\n%s", s, out)
				}
			}
			if bytes.Contains(out, []byte("goroutine ")) {
				t.Errorf("it panicked:\n%s", out)
			}
		})
	}
}

// TestNoAnswerLeavesWithoutAuditLog takes the log away from a running gateway
// in several ways. Within a second nothing is answered any more that had to
// be recorded, and the process ends by itself, not with 0.
func TestNoAnswerLeavesWithoutAuditLog(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(shard string) error
	}{
		{"directory moved away", func(shard string) error { return os.Rename(shard, shard+".moved") }},
		{"directory replaced by an empty one", func(shard string) error {
			return errors.Join(os.Rename(shard, shard+".moved"), os.Mkdir(shard, 0o700))
		}},
		{"directory removed", os.RemoveAll},
		{"segment removed", func(shard string) error { return os.Remove(filepath.Join(shard, "wal", "000000000000.seg")) }},
		{"file system read-only", readOnly},
	} {
		t.Run(tt.name, func(t *testing.T) {
			city, _ := startCity(t)
			clerk, err := city.Login(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c := demo.Case{Item: "PRH", Situation: "LOCAL", Purpose: "P-PRH", Cards: []demo.Card{{Role: "applicant", Person: "li-yu"}}}
			tokens, err := clerk.Read(t.Context(), c, "AUDIT-001")
			if err != nil {
				t.Fatal(err)
			}
			a, err := clerk.Begin(t.Context(), c, "AUDIT-001", tokens)
			if err != nil {
				t.Fatal(err)
			}
			if err := clerk.Follow(t.Context(), a.Exchange, func(string, exchange.PartView) {}); err != nil {
				t.Fatal(err)
			}
			if _, err := clerk.Result(t.Context(), a.Exchange, "SI-01"); err != nil {
				t.Fatalf("before: %v", err)
			}
			shard := shardOf(t, city)
			t.Cleanup(func() { _ = syscall.Unmount(shard, syscall.MNT_DETACH) }) // only one case mounts
			if err := tt.spoil(shard); err != nil {
				t.Fatal(err)
			}
			spoiled := time.Now()
			time.Sleep(time.Second)
			d := doorOf(t, city, "clerk-01")
			d.client.Timeout = 5 * time.Second
			for _, path := range []string{"/v1/exchanges/" + a.Exchange + "/results/SI-01", "/v1/verify/1"} {
				if got, err := d.try("GET", path, nil); err == nil && got.status != 503 {
					t.Errorf("%s: answered %d after the log was gone", path, got.status)
				}
			}
			if _, err := clerk.Read(t.Context(), c, "AUDIT-002"); err == nil {
				t.Error("a card was read without a log")
			}
			code, err := city.Gateway(t.Context())
			if err != nil || code == 0 || code == -1 {
				t.Errorf("the gateway ended with %d, %v", code, err)
			}
			t.Logf("the gateway had ended %v after its log", time.Since(spoiled).Round(10*time.Millisecond))
		})
	}
}

// readOnly puts a read-only mount over a directory. Who may not mount is not
// root, and permissions do for them.
func readOnly(dir string) error {
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err == nil {
		return syscall.Mount(dir, dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	}
	return os.Chmod(dir, 0o500)
}
