// Package process sets what every program that touches residents' data wants of
// its own process.
package process

import (
	"fmt"
	"syscall"
)

// KeepInMemory keeps what the process knows out of core files: residents' data
// exists in memory only, and a crash must not write it to a disk.
func KeepInMemory() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	return nil
}
