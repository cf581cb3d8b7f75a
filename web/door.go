package web

import (
	"mime"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/identity/staff"
)

const sessionHeader = "Yizheng-Session"

// forwarded matches headers in which some proxy would name a client
// certificate. TLS ends here and nowhere else, so such a header is a forgery.
var forwarded = regexp.MustCompile(`^(X-)?(Forwarded-|Ssl-|Tls-|Arr-|Amzn-Mtls-)*(Client-?Cert|Client-(Verify|Dn|S-Dn|I-Dn|Serial|Fingerprint)|Clientcert|Amzn-Mtls|(Ssl|Tls)-Cert)`)

// handle characters: what codes, numbers and random handles are made of.
var plainParam = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)

// proper refuses what no honest client sends, before anybody is asked who they are.
func (s *Server) proper(rt route, r *request) error {
	for name := range r.Header {
		if forwarded.MatchString(http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
			return newProblem(http.StatusBadRequest, "FORWARDED_CERTIFICATE", "header", "不接受转发的证书头；TLS 只在网关终止", "forwarded certificate headers are refused; TLS ends at the gateway")
		}
	}
	if s.crossSite(rt, r.Request) {
		return newProblem(http.StatusForbidden, "CROSS_SITE", "Origin", "拒绝来自其他网站的请求", "requests from other web sites are refused")
	}
	if r.URL.RawQuery != "" && !rt.page() {
		return newProblem(http.StatusBadRequest, "UNKNOWN_PARAMETER", "query", "此接口不接受查询参数；查询凭读卡凭据，不凭号码", "this call takes no query parameters; a query needs a subject token, not a number")
	}
	for _, p := range r.params {
		if !plainParam.MatchString(p.Value) {
			return newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", p.Key, "路径中的编号或编码格式不对，请核对", "the number or code in the path is malformed; check it")
		}
	}
	return nil
}

// page reports whether people open the route in a browser, from links that may
// have been decorated with parameters on their way.
func (rt route) page() bool { return rt.door == anyone && !strings.HasPrefix(rt.path, "/v1/") }

// crossSite reports whether another web site's page is behind the request. The
// browser would add the clerk's certificate to it, so what needs a certificate
// is refused whatever the method.
func (s *Server) crossSite(rt route, r *http.Request) bool {
	q := *r
	if rt.door != anyone {
		q.Method = http.MethodPost
	}
	return s.origins.Check(&q) != nil
}

// admit finds out who knocks and whether this door is theirs.
func (s *Server) admit(rt route, r *request) error {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	r.who.Address, r.who.Trace = host, r.number
	if rt.door == anyone {
		return nil
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return newProblem(http.StatusUnauthorized, "CERTIFICATE_REQUIRED", "", "须使用已登记的客户端证书", "a registered client certificate is required")
	}
	certificate := r.TLS.PeerCertificates[0]
	r.who.Certificate = catalog.KeyDigest(certificate.RawSubjectPublicKeyInfo)
	if time.Now().After(certificate.NotAfter) { // it may have ended while the connection was open
		return s.unknownCertificate(r)
	}
	if rt.door == agent {
		w, ok := s.catalogue.WorkstationByCertificate(r.who.Certificate)
		if !ok {
			return s.unknownCertificate(r)
		}
		r.ws = w.ID
		return nil
	}
	if rt.door == monitor {
		if p, ok := s.persons.ByCertificate(r.who.Certificate, time.Now()); !s.monitors[r.who.Certificate] && !(ok && rt.door.opens(p.Role)) {
			return s.unknownCertificate(r)
		}
		return nil
	}
	if rt.door == peer {
		if r.peer = s.peers[r.who.Certificate]; r.peer == "" {
			return s.unknownCertificate(r)
		}
		return nil
	}
	if rt.door == administrator || rt.door == auditor || rt.door == approver {
		p, ok := s.persons.ByCertificate(r.who.Certificate, time.Now())
		if !ok || !rt.door.opens(p.Role) {
			return s.unknownCertificate(r)
		}
		r.who.Operator, r.role = catalog.OperatorID(p.Name), string(p.Role)
		return nil
	}
	if rt.door == supervisor || rt.door == addressee {
		if s.admitStaff(rt, r) {
			return nil
		}
		if rt.door == supervisor {
			return s.unknownCertificate(r)
		}
	}
	o, ok := s.operator(r)
	if !ok {
		return s.unknownCertificate(r)
	}
	r.who.Operator, r.who.Caller = o.ID, o.Caller
	return s.session(rt, r)
}

// opens tells which roles a door is for. Nobody who administers sees the audit log.
func (d door) opens(role staff.Role) bool {
	switch d {
	case auditor:
		return role == staff.Auditor
	case approver:
		return role == staff.Approver || role == staff.Auditor
	case monitor:
		return role == staff.Security || role == staff.Auditor
	default:
		return role.Administers()
	}
}

// session takes over the session the request names, if it is a live one of the operator.
func (s *Server) session(rt route, r *request) error {
	id := r.Header.Get(sessionHeader)
	if id != "" {
		r.who.Workstations = s.desk.Workstations(r.who.Operator, id)
	}
	if len(r.who.Workstations) > 0 {
		r.who.Session = id
		return nil
	}
	if rt.door == desk {
		return newProblem(http.StatusForbidden, "NOT_PAIRED", sessionHeader, "会话未与读卡代理配对或已失效，请输入代理显示的配对码", "the session is not paired with a read agent, or has ended; enter the code the agent shows")
	}
	return nil
}

// operator is the account behind a certificate: a clerk, or a system that acts under its own name.
func (s *Server) operator(r *request) (catalog.Operator, bool) {
	if o, ok := s.catalogue.Operator(r.who.Certificate); ok {
		return o, true
	}
	c, ok := s.catalogue.CallerByCertificate(r.who.Certificate)
	return catalog.Operator{ID: catalog.OperatorID(c.ID), Caller: c.ID, Certificate: r.who.Certificate}, ok
}

// unknownCertificate records a failed login and refuses. An address that knocks
// without end is recorded as far as its allowance goes.
func (s *Server) unknownCertificate(r *request) error {
	if err := s.limits.allow(r.who.Address); err != nil {
		return err
	}
	e := audit.Entry{Open: audit.Open{Op: audit.OpLogin, Phase: audit.PhaseDenied, Outcome: "UNKNOWN_CERTIFICATE"},
		Closed: audit.Closed{CertSN: r.who.Certificate, IP: r.who.Address, Trace: r.number}}
	if err := s.audit.AppendAsync(e); err != nil {
		s.log.Error("failed login not recorded", "request", r.number, "err", err)
	}
	return newProblem(http.StatusForbidden, "UNKNOWN_CERTIFICATE", "", "证书未登记、已过期或不适用于此接口，请联系系统管理员", "the certificate is not registered, has expired, or is not for this call; ask the system administrator")
}

// contentType is the body's media type without parameters, "" if none is said;
// a character set other than UTF-8 makes it unusable.
func (r *request) contentType() string {
	h := r.Header.Get("Content-Type")
	if h == "" {
		return ""
	}
	t, params, err := mime.ParseMediaType(h)
	if err != nil || params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
		return "unusable"
	}
	return t
}

func wrongType(want string) *problem {
	return newProblem(http.StatusUnsupportedMediaType, "CONTENT_TYPE", "Content-Type", "内容类型须为 "+want, "the content type must be "+want)
}
