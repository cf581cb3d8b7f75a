package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"yizheng/audit/search"
)

// rosterSeen reads which roster was the newest that this gateway has used.
func rosterSeen(path string) (seen search.Seen, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return seen, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &seen)
	}
	if err == nil && seen.Number == 0 {
		err = errors.New("no number")
	}
	if err != nil {
		return seen, fmt.Errorf("search.roster_seen: %s: 所记的名册编号读不了；请与安全管理员核对名册后删除此文件 / which roster was used last cannot be read; compare the roster with the security administrators, then delete this file: %w", path, err)
	}
	return seen, nil
}

// rememberRoster notes a roster that is in use from now on.
func rememberRoster(path string, r search.Roster) error {
	seen, err := r.Seen()
	if err != nil {
		return err
	}
	data, err := json.Marshal(seen)
	if err != nil {
		return fmt.Errorf("search.roster_seen: %w", err)
	}
	if err := writeWhole(path, append(data, '\n')); err != nil {
		return fmt.Errorf("search.roster_seen: %w", err)
	}
	return nil
}
