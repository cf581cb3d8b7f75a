package ship

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

// SyslogBack is Config.Back for syslog.
const SyslogBack = 1000

// Syslog sends RFC 5424 messages over TLS with octet counting (RFC 5425), facility
// 13 (log audit).
//
// Syslog has no acknowledgement. A batch counts as taken when the other side's
// TCP has confirmed all of it; what a receiver had not yet read when it died is
// covered by going SyslogBack records back after every broken connection. Who
// needs more than that ships over HTTPS or Kafka.
type Syslog struct {
	address string
	tls     *tls.Config
	conn    *tls.Conn
}

// NewSyslog prepares a connection to host:port; it is made by the first Send.
func NewSyslog(address string, f Files) (*Syslog, error) {
	c, err := f.config()
	if err != nil {
		return nil, err
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("audit ship: syslog address: %w", err)
	}
	return &Syslog{address: address, tls: c}, nil
}

// Send writes the records and waits until they have arrived.
func (s *Syslog) Send(ctx context.Context, records []Record) error {
	err := s.send(ctx, records)
	if err != nil {
		_ = s.Close() // the next begins with a new connection
		return fmt.Errorf("syslog %s: %w", s.address, err)
	}
	return nil
}

func (s *Syslog) send(ctx context.Context, records []Record) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	var out bytes.Buffer
	for _, r := range records {
		m := syslogMessage(r)
		fmt.Fprintf(&out, "%d %s", len(m), m)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := s.conn.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := s.conn.Write(out.Bytes()); err != nil {
		return err
	}
	if err := s.arrived(ctx); err != nil {
		return err
	}
	return s.open(time.Millisecond)
}

// connect makes a connection if there is none. A receiver that does not want us
// says so only after its handshake is done for us (TLS 1.3), so it is given time.
func (s *Syslog) connect(ctx context.Context) error {
	if s.conn != nil {
		return s.open(time.Millisecond)
	}
	dialer := tls.Dialer{Config: s.tls}
	c, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	s.conn = c.(*tls.Conn) // what a tls.Dialer makes
	return s.open(refusalTime)
}

const refusalTime = 500 * time.Millisecond

// open looks whether the connection has been closed: a receiver says nothing
// else, and a write into a closed connection succeeds.
func (s *Syslog) open(patience time.Duration) error {
	if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := s.conn.Read(make([]byte, 1))
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return nil
	}
	return fmt.Errorf("the receiver has closed the connection: %w", err)
}

// arrived waits until the other side's TCP has confirmed everything written.
func (s *Syslog) arrived(ctx context.Context) error {
	raw, err := s.conn.NetConn().(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	for {
		var left int
		var failed error
		if err := raw.Control(func(fd uintptr) { left, failed = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
			return err
		}
		switch {
		case failed != nil:
			return failed
		case left == 0:
			return nil
		case !wait(ctx, 2*time.Millisecond):
			return ctx.Err()
		}
	}
}

// Close ends the connection.
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

// enterprise is the private enterprise number of examples (RFC 5612): the
// project has none of its own.
const enterprise = "32473"

// syslogMessage is RFC 5424, section 6, without the frame. Values in the
// structured data need no escaping: origins are host/path/quarter.
func syslogMessage(r Record) string {
	host, _, _ := strings.Cut(r.Origin, "/")
	return fmt.Sprintf("<%d>1 %s %s yizheng-audit - %s [entry@%s origin=\"%s\" index=\"%d\" leaf=\"%x\"] \ufeff%s",
		13*8+severity(r.Entry.Open), r.Time().In(beijing.Zone()).Format("2006-01-02T15:04:05.000000Z07:00"), host, r.Entry.Open.Op,
		enterprise, r.Origin, r.Index, r.Leaf[:], r.JSON)
}

// severity: alarms are warnings, what failed or was denied is a notice.
func severity(o audit.Open) int {
	switch {
	case o.Op == audit.OpAlarm, o.Op == audit.OpLogRecovered, o.Op == audit.OpClockStep:
		return 4
	case o.Phase == audit.PhaseFailed, o.Phase == audit.PhaseDenied:
		return 5
	}
	return 6
}
