package ship

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// cursor says which entry a sink gets next. It is one line of JSON in NAME.cursor.
type cursor struct {
	Origin string `json:"origin"`
	Next   uint64 `json:"next"`
}

var plainName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func readCursor(dir, name string) (cursor, error) {
	if !plainName.MatchString(name) {
		return cursor{}, fmt.Errorf("audit ship: %q is no name for a sink: want a-z, 0-9 and -", name)
	}
	text, err := os.ReadFile(filepath.Join(dir, name+".cursor"))
	if errors.Is(err, os.ErrNotExist) {
		return cursor{}, nil
	} else if err != nil {
		return cursor{}, fmt.Errorf("audit ship: %w", err)
	}
	var c cursor
	if err := json.Unmarshal(text, &c); err != nil || c.Origin == "" {
		return cursor{}, fmt.Errorf("audit ship: %s.cursor is damaged; remove it to ship everything again: %w", name, err)
	}
	return c, nil
}

// write replaces the file so that a crash leaves the old one or the new one. The
// new one may be lost, which only repeats records.
func (c cursor) write(dir, name string) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("audit ship: cursor: %w", err)
	}
	path := filepath.Join(dir, name+".cursor")
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("audit ship: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("audit ship: %w", err)
	}
	return nil
}

// Cursors says, from the cursors alone, how far each sink is.
func Cursors(dir string) ([]Status, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.cursor"))
	if err != nil {
		return nil, fmt.Errorf("audit ship: %w", err)
	}
	var list []Status
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".cursor")
		c, err := readCursor(dir, name)
		if err != nil {
			return nil, err
		}
		list = append(list, Status{Name: name, Origin: c.Origin, Next: c.Next})
	}
	return list, nil
}
