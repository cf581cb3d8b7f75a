package process

import (
	"syscall"
	"testing"
)

func TestKeepInMemory_LeavesNoRoomForACoreFile(t *testing.T) {
	if err := KeepInMemory(); err != nil {
		t.Fatal(err)
	}
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &l); err != nil || l.Cur != 0 || l.Max != 0 {
		t.Errorf("core limit = %+v, %v; want none", l, err)
	}
}
