// Package reach tells why a call to a service of others failed, so that who reads it
// knows whom to turn to: the name cannot be resolved, nobody listens, the connection is
// not trusted, no answer in time, a refusal in HTTP.
//
// It says nothing of what was sent or answered, and no address: callers know whom they
// called.
package reach

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
)

// Kind of a failure.
type Kind int

// Kinds. Other is what none of them is.
const (
	Other       Kind = iota
	Name             // the host's name cannot be resolved
	Refused          // nobody listens at the port
	Route            // no way to the host
	Untrusted        // the service's certificate does not hold
	TLS              // no TLS connection for another reason
	Timeout          // no whole answer in time
	Interrupted      // the connection ended before the answer did
	Stopped          // whoever asked has gone
	Status           // HTTP says something else than 200
	kinds            // how many there are
)

// Fault is why a call failed.
type Fault struct {
	Kind   Kind
	Status int // of HTTP, for Status
	cause  error
}

// Of tells what an error of http.Client or of reading its answer is.
func Of(err error) *Fault { return &Fault{Kind: kindOf(err), cause: err} }

// OfStatus is the fault of an answer with another status than 200.
func OfStatus(status int) *Fault { return &Fault{Kind: Status, Status: status} }

func kindOf(err error) Kind {
	var (
		name    *net.DNSError
		chain   *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		op      *net.OpError
		slow    net.Error
	)
	switch {
	case errors.As(err, &name):
		return Name
	case errors.As(err, &chain), errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid):
		return Untrusted
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch),
		errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"): // a TLS alert
		return TLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return Route
	case errors.Is(err, context.Canceled):
		return Stopped
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return Timeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Interrupted
	}
	return Other
}

// sentences say what it is and what to do, in Chinese and in English.
var sentences = [kinds][2]string{
	Other:       {"连接失败；请核对地址与网络", "the connection failed; check address and network"},
	Name:        {"主机名解析不到；请核对地址，并检查本机的 DNS", "the host's name cannot be resolved; check the address, and this machine's DNS"},
	Refused:     {"连接被拒绝，该端口没有服务；请核对地址与端口，或请对方启动服务", "the connection was refused, nothing serves that port; check address and port, or have the service started"},
	Route:       {"网络不通；请检查路由与防火墙", "there is no way to the host; check routes and firewalls"},
	Untrusted:   {"对方的 TLS 证书不受信任、已过期或名称不符；请核对所配置的 CA 与地址，或请对方换证书", "the TLS certificate is not trusted, has expired or is of another name; check the configured CA and the address, or have it renewed"},
	TLS:         {"TLS 连接建立不了；请核对是否为 https 地址、双方的 TLS 版本与所需的客户端证书", "no TLS connection; check that the address is one of https, both sides' TLS versions and any client certificate demanded"},
	Timeout:     {"在时限内没有完整答复；请稍后再试，或检查网络与对方的负载", "no whole answer in time; try again later, or check the network and the other side's load"},
	Interrupted: {"答复未完，连接中断；请稍后再试，或请对方检查", "the connection ended before the answer did; try again later, or have the service checked"},
	Stopped:     {"查询被中止；请再试", "the call was given up; try again"},
}

// Text says it in Chinese and in English.
func (f *Fault) Text() (zh, en string) {
	if f.Kind != Status {
		return sentences[f.Kind][0], sentences[f.Kind][1]
	}
	zh, en = "对方答复 HTTP "+strconv.Itoa(f.Status), "the service answered with HTTP "+strconv.Itoa(f.Status)
	switch {
	case f.Status >= 500:
		return zh + "，其自身有故障；请稍后再试，或请对方检查", en + ", a fault of its own; try again later, or have it checked"
	case f.Status >= 400:
		return zh + "，不受理此请求；请核对地址与路径，以及访问权限", en + ", it refuses the call; check address and path, and whether you may call it"
	case f.Status >= 300:
		return zh + "，转到别处，本系统不跟随；请配置最终的地址", en + ", it points elsewhere, which is not followed; configure the final address"
	}
	return zh + "，没有给出答复；请核对地址", en + ", without an answer; check the address"
}

// Error is both sentences, and the operating system's own words.
func (f *Fault) Error() string {
	zh, en := f.Text()
	if f.cause == nil {
		return zh + " / " + en
	}
	return fmt.Sprintf("%s / %s (%v)", zh, en, f.cause)
}

func (f *Fault) Unwrap() error { return f.cause }
