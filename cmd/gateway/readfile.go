package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Bounds of what is read into memory.
const (
	maxDocument = 256 << 20
	maxSeal     = 4 << 20
)

// readDocument reads a PDF that somebody names, as readFile does.
func readDocument(name string) ([]byte, error) { return readFile(name, maxDocument) }

// readFile reads a regular file of at most limit bytes into memory of its size.
func readFile(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("没有这个文件 / no such file: %s", name)
	case err != nil:
		return nil, fmt.Errorf("读不了文件 / cannot read: %w", err)
	case !info.Mode().IsRegular(): // opening a pipe or a device could wait for ever
		return nil, fmt.Errorf("不是普通文件 / not a regular file: %s", name)
	case info.Size() > limit:
		return nil, fmt.Errorf("文件超过 %d MiB / larger than that: %s", limit>>20, name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("读不了文件 / cannot read: %w", err)
	}
	defer file.Close() // only read
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(file, b); err != nil {
		return nil, fmt.Errorf("读不了文件 / cannot read: %w", err)
	}
	if n, _ := file.Read(make([]byte, 1)); n > 0 {
		return nil, fmt.Errorf("读取时文件在变长，请稍后再试 / the file is growing, try again: %s", name)
	}
	return b, nil
}
