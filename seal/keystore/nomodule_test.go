//go:build !pkcs11

package keystore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestKeyInAModuleNeedsAProgramBuiltForIt(t *testing.T) {
	own, dir := stored(t)
	must(t, os.Rename(filepath.Join(dir, FileName(own.ID())), filepath.Join(dir, ModuleName(own.ID()))))
	path, err := Find(dir, own.ID())
	must(t, err)
	if _, err := Open(path, "", own.Public()); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("got %v", err)
	}
}
