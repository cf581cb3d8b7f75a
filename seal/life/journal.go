package life

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// patience is how long a process waits for another's step.
const patience = 5 * time.Second

// lock takes the directory for one process at a time.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("seal register: %w", err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil // closing unlocks
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			return nil, errors.Join(ErrBusy, err, f.Close())
		}
	}
}

// appendLine makes one line durable behind the first size bytes.
func appendLine(path string, size int64, line string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("seal register: %w", err)
	}
	_, err = f.WriteAt([]byte(line+"\n"), size)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil && size == 0 {
		err = syncDir(filepath.Dir(path)) // the file is new
	}
	if err != nil {
		return fmt.Errorf("seal register: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
