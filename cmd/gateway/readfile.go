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
		return nil, fmt.Errorf("没有这个文件，请核对路径 / no such file, check the path: %s", name)
	case err != nil:
		return nil, refused(name, err)
	case !info.Mode().IsRegular(): // opening a pipe or a device could wait for ever
		return nil, fmt.Errorf("不是普通文件，请给出文件而不是目录或设备 / not a regular file, give a file and no directory or device: %s", name)
	case info.Size() > limit:
		return nil, fmt.Errorf("文件超过 %[1]d MiB，不予读取，请核对是否选对了文件 / larger than %[1]d MiB, not read, check that it is the right file: %[2]s", limit>>20, name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, refused(name, err)
	}
	defer file.Close() // only read
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(file, b); err != nil {
		return nil, refused(name, err)
	}
	if n, _ := file.Read(make([]byte, 1)); n > 0 {
		return nil, fmt.Errorf("读取时文件在变长，请稍后再试 / the file is growing, try again: %s", name)
	}
	return b, nil
}

// refused says why the operating system does not give a file out; its own words are
// English.
func refused(name string, err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("没有权限读取，请换有权限的用户 / no permission to read it, ask somebody who has: %s", name)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("读取时文件变短了，请稍后再试 / the file is shrinking, try again: %s", name)
	}
	return fmt.Errorf("读不了文件，请检查磁盘或路径：%s / cannot read it, check disk and path: %w", name, err)
}
