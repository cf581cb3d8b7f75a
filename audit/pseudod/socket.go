package pseudod

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Socket is where a service listens. Serve closes it.
type Socket struct {
	*net.UnixListener
	lock *os.File
}

// Close implements net.Listener.
func (s *Socket) Close() error { return errors.Join(s.UnixListener.Close(), s.lock.Close()) }

// Listen makes the socket. Its directory must be closed to others than owner and
// group, who are the service and those that may call it. Only one service has it
// at a time; what an ended one left is replaced.
func Listen(path string) (*Socket, error) {
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("套接字目录须先建好 / the socket's directory has to exist: %w", err)
	}
	if !info.IsDir() || info.Mode().Perm()&0o027 != 0 {
		return nil, fmt.Errorf("%s: 套接字目录只可由属主写、由属组进入，请 chmod 750 / the socket's directory must be closed to others; chmod 750", filepath.Dir(path))
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: 已有假名服务在运行 / a pseudonym service is running already", path), lock.Close())
	}
	l, err := listen(path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Socket{l, lock}, nil
}

func listen(path string) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("old socket: %w", err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), l.Close())
	}
	return l, nil
}

// known is a listener that cuts off every process of another user.
type known struct {
	*Socket
	uids []uint32
	log  *slog.Logger
}

// Accept implements net.Listener.
func (k known) Accept() (net.Conn, error) {
	for {
		c, err := k.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := caller(c)
		if err == nil && slices.Contains(k.uids, uid) {
			return c, nil
		}
		k.log.Warn("caller refused: not among uids", "uid", uid, "err", err)
		_ = c.Close()
	}
}

// caller is the user of the process at the other end, which the kernel noted
// when it connected.
func caller(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, failed); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
