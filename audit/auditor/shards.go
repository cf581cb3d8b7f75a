package auditor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"yizheng/audit"
)

// Shards lists the quarters below dir that have a log, and the further epochs of
// one (2026q4-2), oldest first.
func Shards(dir string) ([]string, error) {
	logs, _, err := quarters(dir)
	return logs, err
}

// Empty lists the quarters below dir whose directory has no log: its making was
// cut short, or it was taken away. Dir may itself be a log.
func Empty(dir string) ([]string, error) {
	_, empty, err := quarters(dir)
	return empty, err
}

func quarters(dir string) (logs, empty []string, err error) {
	entries, err := os.ReadDir(dir) // sorts by name
	if err != nil {
		return nil, nil, fmt.Errorf("审计目录读不了 / audit directory cannot be read: %w", err)
	}
	for _, e := range entries {
		if audit.EpochQuarter(e.Name()) == "" {
			continue
		}
		there, err := isShard(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, nil, fmt.Errorf("audit directory: %w", err)
		}
		if there {
			logs = append(logs, e.Name())
		} else {
			empty = append(empty, e.Name())
		}
	}
	return logs, empty, nil
}

// isShard tells a log from a directory whose making was cut short: log.json
// comes first of all. A log that has lost it is still one, and damaged.
func isShard(dir string) (bool, error) {
	for _, name := range []string{"log.json", "checkpoint", "checkpoints.log", "heads/last"} {
		_, err := os.Lstat(filepath.Join(dir, name))
		if !errors.Is(err, os.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, nil
}
