package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"yizheng/exchange"
	"yizheng/seal"
	"yizheng/seal/revocation"
)

// verified is one line of JSON; docs/protocol/seal.md describes it.
type verified struct {
	File string `json:"file"`
	seal.Report
	Revocation []seal.Standing `json:"revocation,omitempty"`
	Online     *online         `json:"online,omitempty"` // with -online only
}

// unread is the line of JSON for a file that could not be read.
type unread struct {
	File    string `json:"file"`
	Overall bool   `json:"overall"` // false
	Error   string `json:"error"`
}

func (v verified) good() bool { return v.Overall && (v.Online == nil || !v.Online.bad()) }

// verify runs the eight checks of GB/T 39047 5.2.3.3 e) on files. It uses no network
// unless addresses are given, and sends no document anywhere.
func verify(ctx context.Context, args []string, out io.Writer) error {
	f := flags("verify", "FILE.pdf… [-json] [-lang en] [-trust DIR] [-crl URL] [-ocsp named|URL] [-online URL [-ca FILE] [-log-key FILE [-receipt FILE]]]", "gateway verify -trust var/demo/trust out/SI-01.pdf")
	trustDir := f.String("trust", "var/demo/trust", "信任目录（roots/*.crt、makers/*.crt、seals-status.json）/ directory of roots, seal makers and status lists")
	asJSON := f.Bool("json", false, "输出 JSON，每个文件一行 / print JSON, a line for each file")
	lang := f.String("lang", "zh", "zh 或 en / language of the report")
	crl := f.String("crl", "", "在线取吊销列表的地址 / address to fetch a revocation list from")
	var ocsp responders
	f.Var(&ocsp, "ocsp", "在线问吊销服务（OCSP）：其地址，或 named 即各证书自己写明的；可给多次。每次至多等 3 秒，没有答复就不算有效 / ask responders about revocation: an address, or named for those that the certificates name; may be repeated. Each has 3 s, and without an answer nothing counts as valid")
	gateway := f.String("online", "", "另问签发的网关是否已撤回：https 地址；只发送编号与加盐摘要。问不到就不算通过 / also ask the issuing gateway, https, whether it was withdrawn; only number and salted digest are sent. Without an answer nothing passes")
	ca := f.String("ca", "", "该网关证书的 CA；不给则用系统的 / CA of that gateway's certificate; the machine's if missing")
	logKey := f.String("log-key", "", "与 -online 一起：钉住的审计日志公钥，逗号分隔；验证签发记录的包含证明，不必听信网关；没有证明就不算通过 / with -online: pinned keys of the audit log, comma separated; the record of the issue must then be proved")
	kept := f.String("receipt", "", "与 -log-key 一起：签发时所存的回执（issue_receipt）；须是同一条记录 / with -log-key: the receipt kept from the issue; must be of the same record")
	files, err := parseMixed(f, args)
	if err != nil {
		return err
	}
	rule := ""
	switch {
	case len(files) == 0:
		f.Usage()
		return errUsage
	case *crl != "" && !callable(*crl):
		rule = fmt.Sprintf("-crl %q 不是 http 或 https 地址 / is not an http or https address", *crl)
	case ocsp.wrong != "":
		rule = fmt.Sprintf("-ocsp %q 既不是 named，也不是 http 或 https 地址 / is neither named nor an http or https address", ocsp.wrong)
	case *gateway == "" && *logKey != "":
		rule = "-log-key 须与 -online 一起给 / -log-key needs -online beside it"
	case *kept != "" && *logKey == "":
		rule = "-receipt 须与 -log-key 一起给 / -receipt needs -log-key beside it"
	case *kept != "" && len(files) > 1:
		rule = "-receipt 是一份文件的回执，请只给这一份文件 / -receipt is of one document, give that file alone"
	case *lang != "zh" && *lang != "en":
		rule = "-lang 只能是 zh 或 en / -lang is zh or en"
	}
	if rule != "" {
		fmt.Fprintf(f.Output(), "gateway verify: %s（-h）\n", rule)
		return errUsage
	}
	trust, err := openTrust(*trustDir, *crl, ocsp)
	if err != nil {
		return err
	}
	var issuer *issuer
	if *gateway != "" {
		if issuer, err = newIssuer(*gateway, *ca, *logKey, *kept); err != nil {
			return err
		}
	}
	good := true
	for _, name := range files {
		v, _, err := verifyFile(ctx, name, trust, issuer)
		good = good && err == nil && v.good()
		if err != nil { // the others can be verified all the same
			err = printUnread(out, name, err, *asJSON)
		} else {
			err = printReport(out, v, *asJSON, *lang)
		}
		if err != nil {
			return err
		}
	}
	if !good {
		return errNo
	}
	return nil
}

// responders of -ocsp.
type responders struct {
	addresses []revocation.Responder
	named     bool   // those that certificates name
	wrong     string // what was given and is no address
}

func (r *responders) String() string { return "" }

func (r *responders) Set(s string) error {
	if s == "named" {
		r.named = true
		return nil
	}
	if !callable(s) {
		r.wrong = s
	}
	r.addresses = append(r.addresses, revocation.Responder{URL: s})
	return nil
}

// callable reports whether revocation can be asked about at an address.
func callable(address string) bool {
	_, err := revocation.New(revocation.Config{CRLs: []string{address}})
	return err == nil
}

// openTrust opens a trust directory for use offline, but for the list at crl if that is
// not "", and the responders.
func openTrust(dir, crl string, ask responders) (*seal.Trust, error) {
	o := seal.TrustOptions{Revocation: revocation.Config{Policy: revocation.Policy{Grace: 7 * 24 * time.Hour}}}
	if crl != "" {
		o.Revocation.CRLs, o.Revocation.Required = []string{crl}, true
	}
	if ask.named || len(ask.addresses) > 0 {
		o.Revocation.Responders, o.Revocation.Named = ask.addresses, ask.named
		o.Revocation.Answered, o.Revocation.Required = true, true
	}
	trust, err := seal.OpenTrust(dir, o)
	if err != nil {
		return nil, fmt.Errorf("信任目录不可用，请用 -trust 指定 / trust directory: %w", err)
	}
	return trust, nil
}

func printReport(out io.Writer, v verified, asJSON bool, lang string) error {
	if asJSON {
		return json.NewEncoder(out).Encode(v)
	}
	fmt.Fprintln(out, v.File)
	if err := v.WriteText(out, lang); err != nil {
		return err
	}
	for _, s := range v.Revocation {
		if _, err := fmt.Fprintln(out, asked(s).In(lang)); err != nil {
			return err
		}
	}
	if v.Online == nil {
		return nil
	}
	if _, err := fmt.Fprintln(out, v.Online.text().In(lang)); err != nil || v.Online.Log == nil {
		return err
	}
	_, err := fmt.Fprintln(out, v.Online.Log.Reason.In(lang))
	return err
}

// asked says whom an answer about revocation is from.
func asked(s seal.Standing) seal.Text {
	name, from := s.Name(), strconv.QuoteToGraphic(s.From)
	if s.From == "" {
		return seal.Text{ZH: "吊销：" + name.ZH + "：" + s.Text.ZH, EN: "revocation: " + name.EN + ": " + s.Text.EN}
	}
	return seal.Text{ZH: "吊销：" + name.ZH + "，问 " + from + "：" + s.Text.ZH, EN: "revocation: " + name.EN + ", asked of " + from + ": " + s.Text.EN}
}

// printUnread says why a file could not be read.
func printUnread(out io.Writer, name string, why error, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(unread{name, false, why.Error()})
	}
	_, err := fmt.Fprintf(out, "%s\n%v\n", name, why)
	return err
}

// verifyFile gives the network, if it is used at all, ten seconds. issuer is nil without -online.
// It returns the file besides.
func verifyFile(ctx context.Context, name string, trust *seal.Trust, issuer *issuer) (v verified, b []byte, err error) {
	if b, err = readDocument(name); err != nil {
		return verified{}, nil, err
	}
	checks, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	v = verified{File: name, Report: seal.VerifyContext(checks, b, trust, time.Now())}
	if issuer != nil {
		v.Online = issuer.look(ctx, v.Number, exchange.DocumentDigest(v.Seed(), b))
		if v.Unproven && !v.Online.recorded.IsZero() {
			v.Report = seal.VerifyWitnessed(checks, b, trust, time.Now(), v.Online.recorded)
		}
	}
	v.Revocation = v.Report.Revocation
	return v, b, nil
}
