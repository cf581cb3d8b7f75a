package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// lock takes the state directory for this city. Two cities in one directory
// would write each other's configurations.
func (c *City) lock() error {
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	f, err := os.OpenFile(c.in("LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("目录 %s 正由另一个示例城市使用；请先停止它，或用 -state 另选目录 / another demo city uses this directory; stop it, or choose another with -state", c.State), f.Close())
	}
	c.locked = f
	return nil
}

func (c *City) unlock() error {
	if c.locked == nil {
		return nil
	}
	f := c.locked
	c.locked = nil
	return f.Close() // which releases the lock
}

// Watch returns when ctx ends, or with an error when one of the processes has ended by itself.
func (c *City) Watch(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, p := range c.processes {
			select {
			case <-p.ended:
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("%s 意外退出，城市已停 / %s %w: %w", p.name, p.name, errEnded, p.err)
			default:
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// written is what save names its files, so that an earlier matter's can be told from anybody else's.
var written = regexp.MustCompile(`^([A-Z]{2}-[0-9]{2}(-[a-z]+)?\.(pdf|json|jws|receipt)|exchange\.json)$`)

// clearOut removes the documents of an earlier run: they may be about somebody else.
func clearOut(out string) error {
	entries, err := os.ReadDir(out)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && written.MatchString(e.Name()) {
			if err := os.Remove(filepath.Join(out, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
