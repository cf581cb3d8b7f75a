package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/pseudod"
	"yizheng/cmd/internal/assembly"
	"yizheng/identity/jose"
)

// keeper is a front that has its pseudonym keys itself, with two administrators.
func keeper(t *testing.T) (c *Config, persons []*jose.Key) {
	t.Helper()
	dir := t.TempDir()
	c = &Config{Mode: "demo", Front: "hr-front", Audit: assembly.AuditConfig{Dir: filepath.Join(dir, "audit"), Key: filepath.Join(dir, "audit.key"),
		Pseudonyms: filepath.Join(dir, "pseudonyms"), Index: assembly.IndexOff}}
	if err := os.Mkdir(c.Audit.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"audit", "security-1", "security-2"} {
		key, err := jose.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		pem, err := jose.MarshalPublicKeyPEM(key.Public())
		if err = errors.Join(err, key.WriteFile(path+".key", nil), os.WriteFile(path+".pub.pem", pem, 0o600)); err != nil {
			t.Fatal(err)
		}
		if name != "audit" {
			persons = append(persons, key)
			c.Administrators = append(c.Administrators, assembly.KeyAdministrator{Name: name, Key: path + ".pub.pem"})
		}
	}
	return c, persons
}

// rotate takes an emergency step with the front's keys, as gateway pseudod rotate does.
func rotate(t *testing.T, c *Config, person *jose.Key) audit.KeyStep {
	t.Helper()
	register, err := assembly.KeyAdministrators(c.Administrators)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := assembly.OpenPseudonymKeys(c.Audit.Pseudonyms, "", "", register)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	statement, err := pseudod.Step{Action: pseudod.Rotate, Quarter: audit.Quarter(now), Reason: "COMPROMISED", At: now}.Sign(person)
	if err != nil {
		t.Fatal(err)
	}
	done, err := pseudod.Office{Dir: c.Audit.Pseudonyms, Keys: keys, Persons: register, Now: time.Now}.Take(statement)
	if err != nil {
		t.Fatal(err)
	}
	return *done
}

func TestAFrontTakesUpAStepOfItsAdministrators(t *testing.T) {
	c, persons := keeper(t)
	a := &agent{config: c, log: slog.New(slog.DiscardHandler)}
	defer func() { a.Close(a.log) }()
	if err := a.openAudit(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	a.audit.Watch(ctx, &running)
	done := rotate(t, c, persons[0])
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if l := a.audit.Latest(); strings.HasSuffix(l.Origin(), "/"+done.Epoch) && recorded(t, l) == "pseudonyms/"+done.Epoch+" pseudonyms/"+done.Compromised {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log goes on in %s with %q", a.audit.Latest().Origin(), recorded(t, a.audit.Latest()))
		}
	}
}

// recorded is what a shard says of steps with the keys.
func recorded(t *testing.T, l *audit.Log) (object string) {
	t.Helper()
	err := l.Read(t.Context(), 0, l.Head().Size, func(_ uint64, s audit.Stored) error {
		if s.Entry.Open.Op == audit.OpKey {
			object += s.Entry.Closed.Object
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func TestAFrontRefusesAStepThatNoneOfItsAdministratorsHasSigned(t *testing.T) {
	for name, change := range map[string]func(c *Config){
		"of others":       func(c *Config) { c.Administrators = c.Administrators[1:] },
		"who have left":   func(c *Config) { c.Administrators[0].Until = assembly.End{Time: time.Now().Add(-time.Hour)} },
		"there are none":  func(c *Config) { c.Administrators = nil },
		"file was forged": func(c *Config) { forge(c.Audit.Pseudonyms) },
	} {
		t.Run(name, func(t *testing.T) {
			c, persons := keeper(t)
			rotate(t, c, persons[0])
			change(c)
			a := &agent{config: c, log: slog.New(slog.DiscardHandler)}
			defer func() { a.Close(a.log) }()
			if err := a.openAudit(t.Context()); !errors.Is(err, audit.ErrKeyStepUnproven) {
				t.Errorf("%v", err)
			}
			if err := c.checkPseudonyms(); !errors.Is(err, audit.ErrKeyStepUnproven) {
				t.Errorf("frontproc check: %v", err)
			}
		})
	}
}

// forge writes a destruction that nobody has signed.
func forge(dir string) {
	_ = os.WriteFile(filepath.Join(dir, "2023q1.destroyed"), []byte(`{"action":"destroy","epoch":"2023q1","by":["security-1","security-2"],"statements":["a","b"]}`), 0o600) // else the test fails
}

func TestAdministratorsOfTheKeysAreChecked(t *testing.T) {
	const two = "administrators:\n  - {name: security-1, key: keys/security-1.pub.pem}\n  - {name: security-2, key: keys/security-2.pub.pem, until: 2026-10-01T00:00:00Z}\n"
	for name, test := range map[string]struct{ settings, says string }{
		"two":                {two, ""},
		"one":                {"administrators:\n  - {name: security-1, key: keys/security-1.pub.pem}\n", "administrators: 至少两人"},
		"until no time":      {strings.Replace(two, "2026-10-01T00:00:00Z", "2026-10-32", 1), "不是时间"},
		"without a key":      {strings.Replace(two, ", key: keys/security-1.pub.pem", "", 1), "administrators[0].key: 缺少此项"},
		"like an ID number":  {strings.Replace(two, "security-2,", "69010219880614105X,", 1), "administrators[1].name: 其中连续 18 位像居民身份证号码"},
		"a role":             {strings.Replace(two, "name: security-1", "name: security-1, role: auditor", 1), "role"},
		"where keys are not": {two, "administrators: 密钥在假名服务处"},
	} {
		t.Run(name, func(t *testing.T) {
			text := goodConfig + test.settings
			if name == "where keys are not" {
				text = strings.Replace(text, "  pseudonyms: pseudonyms\n", "  pseudonym_socket: socket\n", 1)
			}
			path := configFile(t, text)
			c, err := readConfig(path)
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(filepath.Dir(path), "keys/security-1.pub.pem"); c.Administrators[0].Key != want {
				t.Errorf("key at %s", c.Administrators[0].Key)
			}
			if _, err := assembly.KeyAdministrators(c.Administrators); err == nil || !strings.Contains(fmt.Sprint(err), "security-1") {
				t.Errorf("keys that are not there: %v", err)
			}
		})
	}
}
