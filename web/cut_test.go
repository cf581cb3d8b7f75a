package web_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"yizheng/audit"
)

// line is a connection that is cut after so many bytes of the answer.
type line struct {
	net.Conn
	left  int    // bytes of the answer that still pass; under TLS, so of its records
	first func() // called when the first of them is there; nil: nothing was asked yet
	came  int
}

var errCut = errors.New("cut")

func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if l.first == nil || n == 0 {
		return n, err
	}
	if l.came == 0 {
		l.first()
	}
	l.came += n
	if l.left -= n; l.left >= 0 {
		return n, err
	}
	return max(n+l.left, 0), errors.Join(errCut, l.Conn.Close())
}

// cut sends the request over a line that is cut after so many bytes of the
// answer, and returns what could be read until then. first is called when the
// answer begins to arrive.
func (k knock) cut(t *testing.T, after int, first func()) (read []byte, came int) {
	t.Helper()
	raw, err := net.Dial("tcp", k.req.URL.Host)
	ok(t, err)
	ok(t, raw.SetDeadline(time.Now().Add(30*time.Second)))
	l := &line{Conn: raw, left: after}
	conf := k.who.http.Transport.(*http.Transport).TLSClientConfig.Clone()
	conf.ServerName, conf.MaxVersion = "127.0.0.1", tls.VersionTLS12 // which sends nothing of its own after the handshake
	conn := tls.Client(l, conf)
	defer conn.Close()
	ok(t, conn.HandshakeContext(t.Context()))
	l.first = first
	k.req.Close = true
	ok(t, k.req.Write(conn))
	read, err = io.ReadAll(conn)
	if err != nil && !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	return read, l.came
}

// A line that is cut anywhere in an answer leaves a record without a delivery,
// never a delivery without a record; and what was released can be asked for again.
func TestACutLineLeavesARecordWithoutADeliveryNeverTheReverse(t *testing.T) {
	g, clerk, a := desk(t, nil)
	reply := newReplyKey(t)
	var x answer
	var body map[string]any
	exchanges := 0
	exchange := func() knock { // with the body that is there, under the same key
		return clerk.knock(http.MethodPost, "/v1/exchanges", body, "Prefer", "wait=10", "Idempotency-Key", fmt.Sprintf("key-%d", exchanges))
	}
	for _, test := range []struct {
		name string
		op   audit.Op
		ask  func() knock
	}{
		{"an exchange", audit.OpRelease, func() knock {
			exchanges++
			body = question(reply, clerk.read(a).Token)
			return exchange()
		}},
		{"a stored result", audit.OpDocView, func() knock {
			return clerk.knock(http.MethodGet, "/v1/exchanges/"+x.Exchange+"/results/RE-01", nil)
		}},
		{"a print", audit.OpDocReprint, func() knock {
			return clerk.knock(http.MethodPost, "/v1/exchanges/"+x.Exchange+"/parts/RE-01/prints", map[string]string{"reason": "PAPER_JAM"})
		}},
		{"a look-up", audit.OpVerify, func() knock { return g.as("").knock(http.MethodGet, "/v1/verify/"+x.Parts[0].Number, nil) }},
	} {
		length := 1 << 30
		for _, percent := range []int{100, 0, 1, 5, 50, 99} { // of the answer; the whole first, to know its length
			k := test.ask()
			before, early := g.count(""), -1
			read, came := k.cut(t, length*percent/100, func() { early = g.acknowledged(before, test.op) })
			if early != 1 {
				t.Errorf("%s, cut at %d %%: the answer began with %d records %s", test.name, percent, early, test.op)
			}
			switch {
			case percent < 100 && len(read) >= length:
				t.Errorf("%s: not cut at %d %%", test.name, percent)
			case percent == 100 && !bytes.HasPrefix(read, []byte("HTTP/1.1 200 OK")):
				t.Fatalf("%s: %s", test.name, read)
			case percent == 100:
				length = came
			}
			if test.op == audit.OpRelease { // the caller asks again for what was lost
				exchange().send().into(t, &x)
				if n := g.acknowledged(before, audit.OpRelease); n != 1 || x.Results["RE-01"] == "" {
					t.Errorf("asked again after a cut at %d %%: %d releases", percent, n)
				}
			}
		}
	}
}
