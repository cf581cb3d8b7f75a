package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/cmd/gateway/setup"
	"yizheng/cmd/internal/assembly"
	"yizheng/identity/jose"
)

// initialise makes keys, CA, administrators and seals for a catalogue.
func initialise(_ context.Context, args []string, out io.Writer) error {
	f := flags("init", "-dir DIR -catalog DIR -font FILE", "gateway init -dir var/city -catalog configs/demo/catalog -font /usr/share/fonts/truetype/babelstone/BabelStoneHan.ttf")
	dir := f.String("dir", "", "放密钥、印章与日志的目录 / directory for keys, seals and logs")
	cat := f.String("catalog", "", "目录 YAML 所在目录 / directory of the catalogue's YAML")
	font := f.String("font", "", "刻章用的 TrueType 字体 / TrueType font for the seals")
	hosts := f.String("hosts", "localhost,127.0.0.1", "网关证书中的主机名，逗号分隔 / host names in the gateway's certificate")
	passphrase := f.String("passphrase", "", "口令文件，用于加密私钥（生产必须） / file with the passphrase that encrypts private keys (needed for production)")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *dir == "" || *cat == "" || *font == "" {
		f.Usage()
		return errUsage
	}
	o := setup.Options{Dir: *dir, Catalog: *cat, Font: *font, Hosts: strings.Split(*hosts, ","), Now: time.Now()}
	if *passphrase != "" {
		p, err := assembly.Text(*passphrase)
		if err != nil {
			return err
		}
		o.Passphrase = []byte(p)
	}
	if err := setup.Make(o); err != nil {
		return err
	}
	fmt.Fprintf(out, "已就绪 / ready: %s（三员 / administrators: keys/admins）\n", *dir)
	return nil
}

// health is the probe: there is no plain HTTP to ask.
func health(ctx context.Context, args []string, out io.Writer) error {
	f := flags("health", "-ca FILE [-url URL]", "gateway health -ca var/demo/keys/tls/ca.crt -url https://localhost:8443")
	url := f.String("url", "https://localhost:8443", "网关地址 / the gateway's address")
	ca := f.String("ca", "var/demo/keys/tls/ca.crt", "CA 证书 / CA certificate")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	pool := x509.NewCertPool()
	b, err := os.ReadFile(*ca)
	if err != nil {
		return err
	}
	pool.AppendCertsFromPEM(b)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, *url+"/v1/audit/checkpoint", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Fprintf(out, "不可用 / down: %v\n", err)
		return errNo
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		fmt.Fprintf(out, "不可用 / down: %s\n", resp.Status)
		return errNo
	}
	fmt.Fprintln(out, "可用 / up")
	return nil
}

// auditCommand holds the auditor's tools.
func auditCommand(ctx context.Context, args []string, out io.Writer) error {
	commands := []struct {
		name string
		run  func(context.Context, []string, io.Writer) error
	}{
		{"verify", auditVerify},
		{"prove", auditProve},
		{"index", auditIndex},
		{"copies", auditCopies},
		{"schema", auditSchema},
	}
	var names []string
	for _, c := range commands {
		if len(args) > 0 && args[0] == c.name {
			return c.run(ctx, args[1:], out)
		}
		names = append(names, c.name)
	}
	fmt.Fprintf(out, "gateway audit %s -h\n", strings.Join(names, "|"))
	if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
		return nil
	}
	return errUsage
}

// keyList reads the pinned keys of a log.
func keyList(files string) ([]*ecdsa.PublicKey, error) {
	var keys []*ecdsa.PublicKey
	for path := range strings.SplitSeq(files, ",") {
		k, err := jose.ReadPublicKey(path)
		if err != nil {
			return nil, fmt.Errorf("日志公钥，请用 -key 指定 / key of the log: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func auditVerify(ctx context.Context, args []string, out io.Writer) error {
	f := flags("audit verify", "-dir DIR -key FILE", "gateway audit verify -dir var/demo/audit -key var/demo/keys/audit.pub.pem -live")
	dir := f.String("dir", "var/demo/audit", "日志目录：一个季度或其上级 / the log's directory: one quarter, or the one above")
	key := f.String("key", "var/demo/keys/audit.pub.pem", "钉住的日志公钥，逗号分隔 / pinned keys, comma separated")
	live := f.Bool("live", false, "日志正在运行 / the log is running")
	minSize := f.Uint64("min-size", 0, "最后一个季度至少的条数 / least number of entries of the last quarter")
	checkpoints := f.String("checkpoint", "", "以前留存的检查点文件，逗号分隔，每季度至多一个；日志必须由它增长而来；也可以是首个季度之前那个季度的最终检查点 / files of checkpoints kept from earlier, comma separated, one a quarter: the log must have grown out of them; or the final one of the quarter before the first")
	partial := f.Bool("partial", false, "更早的季度不在此处，只验其余 / earlier quarters are not here: verify the rest")
	asJSON := f.Bool("json", false, "输出 JSON / print JSON")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	o := auditor.Options{Live: *live, MinSize: *minSize, Partial: *partial}
	var err error
	if o.Keys, err = keyList(*key); err != nil {
		return err
	}
	if o.Known, err = knownCheckpoints(*checkpoints); err != nil {
		return err
	}
	dirs, err := logDirs(*dir)
	if err != nil {
		return err
	}
	good, err := auditor.VerifyChain(ctx, dirs, o, func(dir string, r audit.Report) error {
		if *asJSON {
			return json.NewEncoder(out).Encode(r)
		}
		printAudit(out, dir, r)
		return nil
	})
	if err == nil && !good {
		return errNo
	}
	return err
}

func knownCheckpoints(files string) ([][]byte, error) {
	if files == "" {
		return nil, nil
	}
	var notes [][]byte
	for path := range strings.SplitSeq(files, ",") {
		note, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("已知检查点 / known checkpoint: %w", err)
		}
		notes = append(notes, note)
	}
	return notes, nil
}

func printAudit(out io.Writer, dir string, r audit.Report) {
	verdict := "通过 / ok"
	if !r.OK() {
		verdict = "不通过 / FAILED"
	}
	fmt.Fprintf(out, "%s  %s\n  %s：%d 条 / entries，%d 批 / frames，%d 段 / segments，%d 检查点 / checkpoints，根 / root %s\n",
		dir, verdict, r.Origin, r.Entries, r.Frames, r.Segments, r.Checkpoints, r.Head.Root)
	for _, p := range r.Problems {
		fmt.Fprintf(out, "  ✗ %s\n", p)
	}
	for _, p := range r.Warnings {
		fmt.Fprintf(out, "  ! %s\n", p)
	}
}

// logDirs is dir itself if it is a log, else the logs of all quarters in it.
func logDirs(dir string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(dir, "log.json")); err == nil {
		return []string{dir}, nil
	}
	names, err := auditor.Shards(dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s 里没有审计日志 / holds no audit log", dir)
	}
	for i := range names {
		names[i] = filepath.Join(dir, names[i])
	}
	return names, nil
}

func auditProve(_ context.Context, args []string, out io.Writer) error {
	f := flags("audit prove", "-dir DIR -key FILE -index N", "gateway audit prove -dir var/demo/audit/2026q4 -index 7")
	dir := f.String("dir", "", "一个季度的日志目录 / the directory of one quarter")
	key := f.String("key", "var/demo/keys/audit.pub.pem", "钉住的日志公钥 / pinned key")
	index := f.Uint64("index", 0, "条目序号 / index of the entry")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	keys, err := keyList(*key)
	if err != nil {
		return err
	}
	stored, receipt, err := audit.Prove(*dir, *index, keys...)
	if err != nil {
		return err
	}
	text, err := receipt.MarshalText()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n\n%s", stored.OpenJSON, text)
	return nil
}
