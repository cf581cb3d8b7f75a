package life_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"yizheng/seal"
	"yizheng/seal/life"
)

// TestReload_MakesTheFilesOfTheOtherSeals: the faulty directory of one seal must not
// keep the loss of another from being taken up.
func TestReload_MakesTheFilesOfTheOtherSeals(t *testing.T) {
	c := newCity(t)
	r := c.register()
	for i, id := range []string{"a", "b", "c"} {
		c.issue(r, id, id, i)
	}
	here := c.register()
	for _, id := range []string{"a", "b"} { // a directory is where a file belongs
		c.ok(os.RemoveAll(filepath.Join(c.dir, id, "status.json")))
		c.ok(os.MkdirAll(filepath.Join(c.dir, id, "status.json", "x"), 0o700))
	}
	for _, id := range []string{"a", "b", "c"} {
		c.clock = c.clock.Add(1)
		if _, err := r.Append(c.sign(r, "applicant", id, life.Suspend)); (err != nil) != (id != "c") || err != nil && !errors.Is(err, life.ErrFiles) {
			t.Errorf("%s suspended elsewhere: %v", id, err)
		}
	}
	fresh, err := here.Reload()
	if len(fresh) != 3 || !errors.Is(err, life.ErrFiles) || !strings.Contains(err.Error(), ": a: ") || !strings.Contains(err.Error(), ": b: ") {
		t.Errorf("%d steps, %v; want 3 and both faulty seals named", len(fresh), err)
	}
	status := func(id string) string {
		b, err := os.ReadFile(filepath.Join(c.dir, id, "status.json"))
		c.ok(err)
		return string(b)
	}
	if !strings.Contains(status("c"), string(seal.Suspended)) {
		t.Errorf("status of the good seal: %s", status("c"))
	}
	c.state(here, "a", life.Suspended)
	for _, id := range []string{"a", "b"} {
		c.ok(os.RemoveAll(filepath.Join(c.dir, id, "status.json")))
	}
	if !here.Unfinished() {
		t.Error("it forgot what is to be done")
	}
	if _, err := here.Reload(); err != nil || here.Unfinished() || !strings.Contains(status("a")+status("b"), string(seal.Suspended)) {
		t.Errorf("tried again: %v", err)
	}
}
