package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// ErrNoRelease is returned by Latest for a directory without releases, or none
// at all. It comes with fs.ErrNotExist.
var ErrNoRelease = errors.New("no catalogue release / 没有目录发布包")

// ErrChain is returned by Publish for a release that does not continue the last one.
var ErrChain = errors.New("release does not name the last one as its previous / 目录发布包未接续上一次发布")

var releaseFile = regexp.MustCompile(`^([0-9]{6,})\.release\.json$`)

// FileName is the name of a release in its directory: 000001.release.json.
func FileName(number uint64) string { return fmt.Sprintf("%06d.release.json", number) }

// Numbers lists the numbers of the releases in a directory; none if there is no directory.
func Numbers(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("catalogue releases: %w", err)
	}
	var numbers []uint64
	for _, e := range entries { // sorted by name, hence by number up to 999999
		m := releaseFile.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		n, err := strconv.ParseUint(m[1], 10, 64)
		if err != nil || FileName(n) != e.Name() {
			return nil, fmt.Errorf("catalogue releases: %s is not a release's name", e.Name())
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// Latest reads the file of the highest number, unverified: give it to Open.
func Latest(dir string) (data []byte, number uint64, err error) {
	numbers, err := Numbers(dir)
	if err != nil {
		return nil, 0, err
	}
	if len(numbers) == 0 {
		return nil, 0, fmt.Errorf("%s: %w: %w", dir, ErrNoRelease, fs.ErrNotExist)
	}
	for _, n := range numbers {
		number = max(number, n)
	}
	data, err = os.ReadFile(filepath.Join(dir, FileName(number)))
	if err != nil {
		return nil, 0, fmt.Errorf("catalogue release: %w", err)
	}
	return data, number, nil
}

// Publish verifies a release file and adds it to the directory's history. Its
// number must be above the last one's (ErrOlder) and its previous must be the
// last one (ErrChain). The file appears whole or not at all, and never
// replaces another. A missing directory is made.
func Publish(dir string, data []byte, t Trust) (*Release, error) {
	previous := ""
	last, number, err := Latest(dir)
	switch {
	case err == nil:
		before := t
		before.AnyTime, before.MinNumber = true, 0
		r, err := Open(last, before)
		if err != nil {
			return nil, fmt.Errorf("publish: the last release %d: %w", number, err)
		}
		previous = r.Digest()
		t.MinNumber = max(t.MinNumber, number+1)
	case !errors.Is(err, ErrNoRelease):
		return nil, fmt.Errorf("publish: %w", err)
	}
	r, err := Open(data, t)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if r.Previous != previous {
		return nil, fmt.Errorf("publish: %w", ErrChain)
	}
	if err := writeOnce(dir, FileName(r.Number), data); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	return r, nil
}

// writeOnce makes the file appear with its whole, durable content. A link
// fails where a rename would replace: two publishers cannot both win.
func writeOnce(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".release-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), filepath.Join(dir, name)); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s is there already", ErrOlder, name)
	} else if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
