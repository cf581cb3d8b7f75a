package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"yizheng/exchange"
	"yizheng/seal"
	"yizheng/seal/revocation"
)

// verified is one line of JSON; docs/protocol/seal.md describes it.
type verified struct {
	File string `json:"file"`
	seal.Report
	Online *online `json:"online,omitempty"` // with -online only
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
	f := flags("verify", "FILE.pdf… [-json] [-lang en] [-trust DIR] [-online URL [-ca FILE]]", "gateway verify -trust var/demo/trust out/SI-01.pdf")
	trustDir := f.String("trust", "var/demo/trust", "信任目录（roots/*.crt、makers/*.crt、seals-status.json）/ directory of roots, seal makers and status lists")
	asJSON := f.Bool("json", false, "输出 JSON，每个文件一行 / print JSON, a line for each file")
	lang := f.String("lang", "zh", "zh 或 en / language of the report")
	crl := f.String("crl", "", "在线取吊销列表的地址 / address to fetch a revocation list from")
	gateway := f.String("online", "", "另问签发的网关是否已撤回：https 地址；只发送编号与加盐摘要 / also ask the issuing gateway, https, whether it was withdrawn; only number and salted digest are sent")
	ca := f.String("ca", "", "该网关证书的 CA；不给则用系统的 / CA of that gateway's certificate; the machine's if missing")
	files, err := parseMixed(f, args)
	if err != nil {
		return err
	}
	if len(files) == 0 || *lang != "zh" && *lang != "en" {
		f.Usage()
		return errUsage
	}
	trust, err := openTrust(*trustDir, *crl)
	if err != nil {
		return err
	}
	var issuer *remote
	if *gateway != "" {
		if issuer, err = newRemote(*gateway, *ca, "", ""); err != nil {
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

// openTrust opens a trust directory for use offline, but for the list at crl if that is not "".
func openTrust(dir, crl string) (*seal.Trust, error) {
	o := seal.TrustOptions{Revocation: revocation.Config{Policy: revocation.Policy{Grace: 7 * 24 * time.Hour}}}
	if crl != "" {
		o.Revocation.CRLs, o.Revocation.Required = []string{crl}, true
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
	if err := v.WriteText(out, lang); err != nil || v.Online == nil {
		return err
	}
	_, err := fmt.Fprintln(out, v.Online.text().In(lang))
	return err
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
func verifyFile(ctx context.Context, name string, trust *seal.Trust, issuer *remote) (v verified, b []byte, err error) {
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
	return v, b, nil
}
