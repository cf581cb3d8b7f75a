//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
)

// startPseudod moves the gateway's pseudonym keys into a service of their own, a
// process as the gateway is one.
func (s *site) startPseudod() {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "yzp") // a socket's name may have 107 bytes
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what is left says nothing
	admins := s.in("keys/admins")
	text := fmt.Sprintf("mode: demo\nsocket: %s/s\ndir: %s\nkey: %s\nuids: [%d]\nadministrators:\n", dir, s.in("pseudonyms"), s.in("keys/pseudonyms.key"), os.Getuid())
	for _, name := range []string{"security-1", "security-2"} {
		text += fmt.Sprintf("  - {name: %s, role: security, key: %s/%s.pub.pem}\n", name, admins, name)
	}
	if err := os.WriteFile(s.in("pseudod.yaml"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.launch("pseudod", "pseudod.yaml")
	s.edit("gateway.yaml", "  pseudonym_key:", `""`)
	s.edit("gateway.yaml", "  pseudonyms:", "\"\"\n  pseudonym_socket: "+dir+"/s")
}

// step has a security administrator take a step with the pseudonym keys.
func (s *site) step(person string, args ...string) {
	s.t.Helper()
	args = append(append([]string{"pseudod"}, args...), "-config", s.in("pseudod.yaml"), "-key", s.in("keys/admins/"+person+".key"))
	if out, err := exec.CommandContext(s.t.Context(), filepath.Join(programs(s.t), "gateway"), args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// recorded counts the entries of an operation in the newest shard, read from its files.
func (s *site) recorded(op audit.Op, about string) (n int) {
	s.t.Helper()
	key, err := audit.ReadKey(s.in("keys/audit.pub.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	shards, err := auditor.Shards(s.in("audit"))
	if err != nil || len(shards) == 0 {
		s.t.Fatalf("no shard: %v", err)
	}
	err = audit.Find(s.t.Context(), s.in("audit/"+shards[len(shards)-1]), []audit.Op{op}, func(e audit.Stored) error {
		text, err := json.Marshal(e.Entry)
		if strings.Contains(string(text), about) {
			n++
		}
		return err
	}, key)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// soon waits until an entry is there.
func (s *site) soon(op audit.Op, about string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); s.recorded(op, about) == 0; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("no entry %s about %s", op, about)
		}
	}
}

// Old keys that somebody puts back, from before two persons destroyed a quarter's
// or one has rotated them: no business, an alarm, and why.
func TestPseudonymKeysThatArePutBackEndBusiness(t *testing.T) {
	s := newSite(t)
	s.startWitness()
	s.startPseudod()
	backup := s.in("backup")
	putBack := func() {
		t.Helper()
		if err := os.RemoveAll(s.in("pseudonyms")); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(s.in("pseudonyms"), os.DirFS(backup)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(s.in("pseudonyms"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(backup, os.DirFS(s.in("pseudonyms"))); err != nil {
		t.Fatal(err)
	}
	addr, stop := s.launch("serve", "gateway.yaml")
	s.until(addr, http.StatusOK)
	s.step("security-1", "destroy", "-quarter", "2022q4")
	s.step("security-2", "destroy", "-quarter", "2022q4")
	s.soon(audit.OpKey, "pseudonyms/2022q4")
	stop()
	putBack()
	addr, stop = s.launch("serve", "gateway.yaml")
	if body := s.until(addr, http.StatusServiceUnavailable); !strings.Contains(body, "AUDIT_HELD") {
		t.Errorf("it says %s", body)
	}
	s.soon(audit.OpAlarm, "PSEUDONYM_KEYS")
	// Taken again, it goes on by itself.
	s.step("security-1", "destroy", "-quarter", "2022q4")
	s.step("security-2", "destroy", "-quarter", "2022q4")
	s.until(addr, http.StatusOK)
	// A rotation: what was put back has another epoch than the log.
	epoch := audit.Quarter(time.Now()) + "-2"
	s.step("security-1", "rotate", "-emergency", "-reason", "COMPROMISED")
	s.soon(audit.OpKey, "pseudonyms/"+epoch)
	stop()
	putBack()
	if said := s.refuses(); !strings.Contains(said, "假名密钥目录退回到了以前的状态") || !strings.Contains(said, "rotate "+epoch) {
		t.Errorf("it does not say why:\n%s", said)
	}
}
