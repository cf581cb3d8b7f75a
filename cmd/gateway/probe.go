package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"yizheng/web/health"
)

// probeTime is how long a probe waits.
const probeTime = 10 * time.Second

// probe asks a running gateway how it is: there is no plain HTTP to ask. Without a
// certificate it learns yes or no, with one of an administrator or monitor why.
func probe(ctx context.Context, args []string, out io.Writer) error {
	f := flags("health", "-ca FILE [-url URL] [-cert FILE -cert-key FILE [-json]]", "gateway health -ca var/demo/keys/tls/ca.crt -url https://localhost:8443")
	url := f.String("url", "https://localhost:8443", "网关地址 / the gateway's address")
	ca := f.String("ca", "var/demo/keys/tls/ca.crt", "CA 证书 / CA certificate")
	cert := f.String("cert", "", "安全管理员、审计员或监控系统的 TLS 证书；不给则只问能否办理 / TLS certificate of a security administrator, auditor or monitor; without it only yes or no")
	key := f.String("cert-key", "", "其私钥 / its private key")
	plain := f.Bool("json", false, "输出网关给出的 JSON / print the gateway's JSON")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *plain && *cert == "" {
		f.Usage()
		return errUsage
	}
	r, err := newRemote(*url, *ca, *cert, *key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var report health.Report
	switch {
	case *cert == "":
		err = r.call(ctx, http.MethodGet, "/v1/health", nil, &report)
	case *plain:
		err = asSent(ctx, r, out, &report)
	default:
		err = r.call(ctx, http.MethodGet, "/v1/admin/health", nil, &report)
	}
	if err != nil {
		fmt.Fprintf(out, "不可用 / down: %v\n", err)
		return errNo
	}
	if !*plain {
		tell(out, report)
	}
	if !report.Ready {
		return errNo
	}
	return nil
}

// asSent prints the report as the gateway gave it, and reads it.
func asSent(ctx context.Context, r *remote, out io.Writer, into *health.Report) error {
	answer, err := r.fetch(ctx, http.MethodGet, "/v1/admin/health", nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", answer)
	return json.Unmarshal(answer, into)
}

// tell says in lines how a gateway is.
func tell(out io.Writer, r health.Report) {
	words := map[health.Level]string{health.Stop: "停 / stop", health.Alarm: "急 / alarm", health.Warn: "注意 / warn"}
	if r.Ready {
		fmt.Fprintln(out, "可用 / up")
	} else {
		fmt.Fprintln(out, "不可用 / down")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(out, "  %s  %s %s: %s / %s\n", words[f.Level], f.Code, f.About, f.Chinese, f.English)
	}
}
